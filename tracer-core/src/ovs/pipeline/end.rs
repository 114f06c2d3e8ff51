//! Where in a pipeline a packet ends, when it ends there.

use super::{Line, Met, Pass, Step, TTL_OVER, words};

/// Where a packet ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The table.
    pub step: &'a Step,
    /// Why it goes no further.
    pub reason: Reason,
}

/// Why a packet goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The rule says so: its action is `drop`, or nothing that sends the packet on.
    Rule,
    /// No rule of the table matches.
    NoMatch,
    /// The rule sends it to a port that the bridge does not have; its number.
    MissingPort(String),
    /// Something that the rule wants cannot be done, in OVS's words.
    Refused(String),
    /// It is a fragment, and the bridge drops those.
    Fragment,
}

impl Pass {
    /// Where and why the packet ends in this pass; `None` when it goes on, or where there are no
    /// tables to be seen.
    pub fn end(&self) -> Option<End<'_>> {
        if !self.drops() {
            return None;
        }
        if let Some(why) = &self.failed {
            let step = self.steps.last()?;
            return Some(End { step, reason: Reason::Refused(why.clone()) });
        }
        // A rule without actions says `drop`: of this one none was run (`may_receive`, `xlate_actions`).
        if let [step @ Step { met: Met::Rule(_), lines, .. }] = self.steps.as_slice()
            && lines.is_empty()
        {
            return Some(End { step, reason: Reason::Refused(NOT_RECEIVING.to_owned()) });
        }
        if self.actions.as_deref().is_some_and(|actions| actions.contains(TTL_OVER)) {
            let step = self.steps.iter().rfind(|step| step.takes_ttl()).or(self.steps.last())?;
            return Some(End { step, reason: Reason::Refused(NO_TTL.to_owned()) });
        }
        // A pipeline may try several things, each of which fails. What was meant to be sent and
        // could not tells most, then what was dropped in so many words; of equals the last.
        let ends = self.steps.iter().flat_map(|step| reasons(step).map(move |r| (step, r)));
        let (step, (_, reason)) = ends.max_by_key(|(_, (weight, _))| *weight)?;
        Some(End { step, reason })
    }
}

/// Why a packet goes no further that came to a `dec_ttl` with a TTL of 1 or 0.
const NO_TTL: &str = "its TTL is used up, which ends it";

/// Why nothing is done with a packet that came by a port which takes none.
const NOT_RECEIVING: &str = "the port that it came in by takes nothing, since STP or RSTP keeps it blocked or it \
                             is set to no-receive";

/// Why nothing goes out where a rule says so and Open vSwitch does not say why
/// (`compose_output_action__`, `xlate_group_action`).
const NOTHING_GOES: &str = "nothing goes out by it, as with a patch port whose peer is missing, a port that is \
                            set to no-forward or that STP or RSTP keeps blocked, or a group without a live bucket";

impl Step {
    /// It takes one from the TTL (`dec_ttl`, `dec_mpls_ttl`, `dec_nsh_ttl`).
    fn takes_ttl(&self) -> bool {
        self.actions().any(|action| action.starts_with("dec_"))
    }

    /// It sends the packet on: out of a port, to a group, or to a controller.
    pub fn sends(&self) -> bool {
        const SENDS: &[&str] = &[
            "output",
            "normal",
            "flood",
            "all",
            "local",
            "in_port",
            "enqueue",
            "bundle",
            "bundle_load",
            "group",
            "controller",
            "clone",
            "write_actions",
        ];
        let name = |action: &str| action.split([':', '(']).next().map(str::to_ascii_lowercase);
        matches!(self.met, Met::Rule(_))
            && self.actions().filter_map(name).any(|name| SENDS.contains(&name.as_str()))
    }

    /// It leaves it to the bridge where to.
    fn switches(&self) -> bool {
        self.actions().any(|action| action.eq_ignore_ascii_case("normal"))
    }

    fn actions(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|line| match line {
            Line::Action(text) => words(text).collect(),
            Line::Detail(_) | Line::Warning(_) => Vec::new(),
        })
    }
}

/// What in a table could have ended the packet, each with its weight.
fn reasons(step: &Step) -> impl Iterator<Item = (u8, Reason)> {
    let met = match step.met {
        Met::Nothing => (2, Reason::NoMatch),
        Met::NoFragments => (2, Reason::Fragment),
        Met::Rule(_) if step.lines.iter().any(|l| *l == Line::Action("drop".to_owned())) => {
            (2, Reason::Rule)
        }
        Met::Rule(_) if step.sends() && !step.switches() => {
            (0, Reason::Refused(NOTHING_GOES.to_owned()))
        }
        Met::Rule(_) => (0, Reason::Rule),
    };
    let mut named = None;
    let refused = step.lines.iter().filter_map(move |line| {
        if let Line::Warning(why) = line {
            return Some(refused(why, named));
        }
        named = port(line).or(named);
        None
    });
    std::iter::once(met).chain(refused)
}

/// `named`: the port that was named last before the warning.
fn refused(why: &str, named: Option<&str>) -> (u8, Reason) {
    if why.contains("Nonexistent output port") {
        return (3, Reason::MissingPort(named.unwrap_or_default().to_owned()));
    }
    // `skipping output to input port` and the like are said of each of many ports.
    let weight = if why.contains("skipping") { 1 } else { 3 };
    (weight, Reason::Refused(why.to_owned()))
}

/// The port that a line names: `output:775`, or ` -> output port is 775` where a register has it.
fn port(line: &Line) -> Option<&str> {
    let found = match line {
        Line::Detail(text) => text.strip_prefix("output port is ")?,
        Line::Action(text) => {
            let port = text.strip_prefix("output:").or_else(|| text.strip_prefix("output("))?;
            let port = port.strip_prefix("port=").unwrap_or(port);
            port.split([',', ')']).next()?
        }
        Line::Warning(_) => return None,
    };
    Some(found.trim())
}
