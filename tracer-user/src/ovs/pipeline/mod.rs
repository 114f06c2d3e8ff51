//! What `ofproto/trace` prints, read: which rules a packet meets, in which tables and bridges, and
//! what becomes of it.
//!
//! The text is a tree drawn by indentation, as `oftrace_node_print_details` of Open vSwitch's
//! `ofproto/ofproto-dpif-trace.c` prints it since 2.8: tables below bridges, actions below tables,
//! and a table that an action went on to after that action, deeper or not. One such tree for each
//! pass through the datapath, that is, one more after each recirculation.

/// Everything that one `ofproto/trace` printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The passes through the datapath, in order.
    pub passes: Vec<Pass>,
}

/// One pass through the datapath.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The connection tracking state that was assumed for it, as OVS prints it (`trk|new`).
    pub ct_state: Option<String>,
    /// The tables, in order.
    pub steps: Vec<Step>,
    /// `Datapath actions`.
    pub actions: Option<String>,
    /// Why the translation failed as a whole, which drops the packet.
    pub failed: Option<String>,
}

/// One table of one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bridge.
    pub bridge: String,
    /// Table, by number.
    pub table: u8,
    /// What matched.
    pub met: Met,
    /// What was done, in order.
    pub lines: Vec<Line>,
}

/// What a packet met in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// A rule.
    Rule(Rule),
    /// No rule: the packet is dropped, or goes to a controller.
    Nothing,
    /// The bridge drops fragments (`ovs-ofctl set-frags BRIDGE drop`).
    NoFragments,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its match, in OVS's words; empty where it matches everything.
    pub matching: String,
    /// Its priority.
    pub priority: u16,
    /// Its cookie; 0 where it has none.
    pub cookie: u64,
}

/// What is printed below a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An action of the rule.
    Action(String),
    /// What came of it.
    Detail(String),
    /// What could not be done.
    Warning(String),
}

/// How many lines of a text are read: OVS itself stops after 4096 resubmits.
const MAX_LINES: usize = 65_536;

impl Trace {
    /// Reads the text; `None` where it is none of this kind.
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::default();
        text.lines().take(MAX_LINES).for_each(|line| reader.line(line));
        let passes = reader.passes;
        passes.iter().any(|pass| pass.actions.is_some()).then_some(Self { passes })
    }
}

impl Pass {
    /// Nothing of the packet goes on.
    pub fn drops(&self) -> bool {
        self.failed.is_some() || self.actions.as_deref().is_some_and(leads_nowhere)
    }
}

/// Whether the datapath actions of this text end the packet: none, or none that sends it on. What is
/// sampled for a collector does not go on.
pub fn leads_nowhere(actions: &str) -> bool {
    !sends_out(actions) && !leads_to(actions, &|name| name == "recirc")
}

/// Whether the datapath actions of this text send something out of a port, or up to `ovs-vswitchd` to
/// be seen to there.
pub fn sends_out(actions: &str) -> bool {
    leads_to(actions, &|_| false)
}

/// `more`: names of actions that lead on, besides those that send the packet out.
fn leads_to(actions: &str, more: &dyn Fn(&str) -> bool) -> bool {
    words(actions).any(|action| {
        let (name, inside) = action.split_once('(').unwrap_or((action, ""));
        match name {
            "tnl_push" | "tnl_pop" | "lb_output" => true,
            "userspace" => {
                !SAMPLES.iter().any(|sample| inside.contains(sample)) && !inside.contains(TTL_OVER)
            }
            "clone" | "check_pkt_len" | "gt" | "le" => leads_to(inside.trim_end_matches(')'), more),
            port if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => true,
            other => more(other),
        }
    })
}

/// What goes up to `ovs-vswitchd` only to be reported to a collector.
const SAMPLES: &[&str] = &["sFlow(", "flow_sample(", "ipfix("];

/// What goes up to `ovs-vswitchd` since its TTL is over: a controller may be told (`OFPR_INVALID_TTL`,
/// `compose_dec_ttl` of `ofproto/ofproto-dpif-xlate.c`), but the packet goes no further.
pub const TTL_OVER: &str = "controller(reason=2,";

/// The actions of a list: split at the commas that are outside of all parentheses.
pub fn words(actions: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    actions.split(move |c| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// The text half read.
#[derive(Default)]
struct Reader {
    passes: Vec<Pass>,
    /// How far the actions of each step of this pass are indented, once the first has been seen.
    indents: Vec<Option<usize>>,
    /// The bridge that was named since the last action.
    bridge: Option<String>,
    /// The step that the last action belongs to.
    owner: Option<usize>,
    /// Between the lines of `=` that stand around a recirculation's heading.
    heading: bool,
    /// After `Final flow:` there are no more tables.
    over: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let text = line.trim_start();
        if text.starts_with("====") {
            self.heading = !self.heading;
            if self.heading {
                self.begin();
            }
        } else if self.heading {
            self.resume(text);
        } else if text.starts_with("Flow: ") {
            if self.passes.is_empty() {
                self.begin();
            }
        } else if text.is_empty() || text.starts_with("----") {
        } else if let Some(actions) = text.strip_prefix("Datapath actions: ") {
            self.pass().actions = Some(actions.trim_end().to_owned());
        } else if let Some(why) = text.strip_prefix("Translation failed (") {
            self.pass().failed = Some(why.split(')').next().unwrap_or(why).to_owned());
        } else if text.starts_with("Final flow: ") || text.starts_with("Megaflow: ") {
            self.over = true;
        } else if !self.over {
            self.inside(line, text);
        }
    }

    fn begin(&mut self) {
        self.passes.push(Pass::default());
        self.indents.clear();
        (self.bridge, self.owner, self.over) = (None, None, false);
    }

    fn pass(&mut self) -> &mut Pass {
        if self.passes.is_empty() {
            self.passes.push(Pass::default());
        }
        let last = self.passes.len() - 1;
        &mut self.passes[last]
    }

    /// `recirc(0x1) - resume conntrack with ct_state=inv|trk`, or `… with default ct_state=trk|new
    /// (use --ct-next to customize)`.
    fn resume(&mut self, text: &str) {
        if let Some((_, state)) = text.split_once("ct_state=") {
            let state = state.split_whitespace().next().unwrap_or(state);
            self.pass().ct_state = Some(state.to_owned());
        }
    }

    fn inside(&mut self, line: &str, text: &str) {
        let indent = line.len() - text.len();
        if let Some(name) = text.strip_prefix("bridge(\"") {
            self.bridge = Some(name.split('"').next().unwrap_or(name).to_owned());
        } else if let Some((table, met)) = table(text) {
            let bridge = self.bridge.take().or_else(|| self.owning_bridge()).unwrap_or_default();
            self.step(Step { bridge, table, met, lines: Vec::new() });
        } else if is_bucket(text) {
            // What a bucket does is done by the rule that named the group, as far indented as that.
            let owner = self.indents.iter().rposition(|known| *known == Some(indent));
            if let Some(owner) = owner.and_then(|i| self.pass().steps.get(i).cloned()) {
                self.step(Step { lines: Vec::new(), ..owner });
            }
        } else if let Some(detail) = text.strip_prefix("-> ") {
            self.tell(indent.saturating_sub(1), Line::Detail(detail.to_owned()));
        } else if let Some(warning) = text.strip_prefix(">> ") {
            self.tell(indent.saturating_sub(1), Line::Warning(warning.to_owned()));
        } else if let Some(error) = text.strip_prefix(">>>> ") {
            let error = error.trim_end().trim_end_matches("<<<<").trim_end();
            self.tell(indent.saturating_sub(1), Line::Warning(error.to_owned()));
        } else {
            self.tell(indent, Line::Action(text.trim_end().to_owned()));
        }
    }

    fn owning_bridge(&mut self) -> Option<String> {
        let owner = self.owner?;
        self.pass().steps.get(owner).map(|step| step.bridge.clone())
    }

    fn step(&mut self, step: Step) {
        self.pass().steps.push(step);
        self.indents.push(None);
        self.owner = Some(self.indents.len() - 1);
    }

    /// A line below a table belongs to the last one whose lines are indented as far; a table's
    /// first line follows it at once.
    fn tell(&mut self, indent: usize, line: Line) {
        if let Some(fresh @ None) = self.indents.last_mut() {
            *fresh = Some(indent);
        }
        let found = self.indents.iter().rposition(|known| *known == Some(indent));
        let Some(owner) = found.or(self.owner) else {
            // `thaw` and what else comes before the first table of a pass.
            return;
        };
        self.owner = Some(owner);
        if let Some(step) = self.pass().steps.get_mut(owner)
            && !is_inside_ct(step, &line)
        {
            step.lines.push(line);
        }
    }
}

/// ` 0. in_port=1, priority 10, cookie 0x1`, `30. No match.`: the table and what was met there.
fn table(text: &str) -> Option<(u8, Met)> {
    let (number, rest) = text.split_once(". ")?;
    let table = number.parse().ok()?;
    let rest = rest.trim_end();
    if rest.starts_with("No match") {
        return Some((table, Met::Nothing));
    }
    if rest.starts_with("Packets are IP fragments") {
        return Some((table, Met::NoFragments));
    }
    // The match may have any words in it, but it comes first.
    let at = rest.rfind("priority ")?;
    let matching = rest[..at].trim_end().trim_end_matches(',').to_owned();
    let mut parts = rest[at + "priority ".len()..].split(", cookie ");
    let priority = parts.next()?.trim().parse().ok()?;
    let cookie = match parts.next() {
        Some(cookie) => u64::from_str_radix(cookie.trim().strip_prefix("0x")?, 16).ok()?,
        None => 0,
    };
    Some((table, own_rules(Rule { matching, priority, cookie })))
}

/// A bridge's own rules for packets that match none (`add_internal_flows` of `ofproto-dpif.c`) are
/// told by a match on `reg0`. Behind a patch port `ofproto/trace` shows them like any other rule.
fn own_rules(rule: Rule) -> Met {
    match (rule.matching.as_str(), rule.priority, rule.cookie) {
        ("reg0=0x1" | "reg0=0x2", 0, 0) => Met::Nothing,
        ("reg0=0x3", 0, 0) => Met::NoFragments,
        _ => Met::Rule(rule),
    }
}

/// Below a `ct` action come those inside of it (`compose_conntrack_action`), which it names already; where
/// there are none that is printed as `drop`, and drops nothing.
fn is_inside_ct(step: &Step, line: &Line) -> bool {
    let (Line::Action(inner), Some(Line::Action(outer))) = (line, step.lines.last()) else {
        return false;
    };
    let is_ct = outer == "ct" || outer.starts_with("ct(");
    is_ct && (inner == "drop" || outer.contains(inner.as_str()))
}

fn is_bucket(text: &str) -> bool {
    let number = text.trim_end().strip_prefix("bucket ");
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

mod end;

pub use end::{End, Reason};

#[cfg(test)]
mod tests;
