//! What `ofproto/trace` prints, read: which rules a packet meets, in which tables and bridges, and
//! what becomes of it.
//!
//! The text is a tree drawn by indentation, as `oftrace_node_print_details` of Open vSwitch's
//! `ofproto/ofproto-dpif-trace.c` prints it since 2.8: tables below bridges, actions below tables,
//! and a table that an action went on to after that action, deeper or not. One such tree for each
//! pass through the datapath, that is, one more after each recirculation.

use std::collections::HashMap;
use std::sync::Arc;

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
    pub bridge: Arc<str>,
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
    /// A rule. What a group's buckets do is done by the same.
    Rule(Arc<Rule>),
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
/// How much of a line is kept, bytes.
const MAX_LINE: usize = 8192;
/// How long a list of datapath actions may be, bytes: an output to each of some thousand ports. What
/// is cut of one could be what sends the packet out.
const MAX_ACTIONS: usize = 1 << 18;

impl Trace {
    /// Reads the text.
    ///
    /// # Errors
    /// Why it is none of this kind.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut reader = Reader::default();
        for (i, line) in text.lines().enumerate() {
            if i == MAX_LINES {
                return Err("it has more than 65,536 lines");
            }
            reader.line(line);
        }
        let passes = reader.passes;
        let lists = || passes.iter().filter_map(|pass| pass.actions.as_deref());
        if lists().any(|actions| actions.len() > MAX_ACTIONS) {
            return Err("a list of actions in it is longer than 256 KiB");
        }
        if lists().next().is_none() {
            return Err("it has no datapath actions");
        }
        Ok(Self { passes })
    }
}

/// The beginning of a text, with a sign at its end; `None` where it is no longer than that.
pub fn cut(text: &str, limit: usize) -> Option<String> {
    (text.len() > limit).then(|| {
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        format!("{}…", text.get(..end).unwrap_or_default())
    })
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

/// `more`: names of actions that lead on, besides those that send the packet out. One pass over the
/// text, however deep its lists are nested.
fn leads_to(actions: &str, more: &dyn Fn(&str) -> bool) -> bool {
    // Of each bracket that is open: whether what is inside is a list of actions that are run.
    let mut open: Vec<bool> = Vec::new();
    // Where the action begins that is being read; `None` within one that was seen.
    let mut start = Some(0);
    let mut bytes = actions.bytes().enumerate().chain([(actions.len(), b',')]);
    while let Some((i, byte)) = bytes.next() {
        let is_run = open.last().is_none_or(|is_run| *is_run);
        let begun = |start: Option<usize>| start.and_then(|at| actions.get(at..i));
        match byte {
            b'(' | b'{' => {
                let name = begun(start.take()).filter(|_| is_run && byte == b'(');
                let is_list = matches!(name, Some("clone" | "check_pkt_len" | "gt" | "le"));
                match name {
                    Some("userspace") => {
                        let inside = argument(actions.get(i + 1..).unwrap_or_default());
                        if is_seen_to(inside) {
                            return true;
                        }
                        // What is inside was read; its end is read as that of any other.
                        open.push(false);
                        for _ in 0..inside.len() {
                            bytes.next();
                        }
                        continue;
                    }
                    Some(name) if !is_list && leads(name, more) => return true,
                    _ => {}
                }
                open.push(is_list);
                start = is_list.then_some(i + 1);
            }
            b')' | b'}' | b',' => {
                if is_run && begun(start).is_some_and(|name| leads(name, more)) {
                    return true;
                }
                if byte != b',' {
                    open.pop();
                    start = None;
                } else if is_run {
                    start = Some(i + 1);
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether an action of this name leads on, whatever its arguments.
fn leads(name: &str, more: &dyn Fn(&str) -> bool) -> bool {
    let is_port = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    is_port || matches!(name, "tnl_push" | "tnl_pop" | "lb_output" | "userspace") || more(name)
}

/// What is inside of a bracket that was opened just before: up to where it is closed.
fn argument(text: &str) -> &str {
    let mut depth = 1_u32;
    let end = text.bytes().position(|byte| {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Whether what goes up to `ovs-vswitchd` with this is seen to there.
fn is_seen_to(userspace: &str) -> bool {
    !SAMPLES.iter().any(|sample| userspace.contains(sample)) && !userspace.contains(TTL_OVER)
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
    /// By how far actions are indented: the last step of this pass whose are.
    indents: HashMap<usize, usize>,
    /// Nothing has been read yet below the last step.
    is_fresh: bool,
    /// The bridge that was named since the last action.
    bridge: Option<Arc<str>>,
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
            self.pass().failed = Some(kept(why.split(')').next().unwrap_or(why)));
        } else if text.starts_with("Final flow: ") || text.starts_with("Megaflow: ") {
            self.over = true;
        } else if !self.over {
            self.inside(line, text);
        }
    }

    fn begin(&mut self) {
        self.passes.push(Pass::default());
        self.indents.clear();
        (self.bridge, self.owner, self.over, self.is_fresh) = (None, None, false, false);
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
            self.pass().ct_state = Some(kept(state));
        }
    }

    fn inside(&mut self, line: &str, text: &str) {
        let indent = line.len() - text.len();
        if let Some(name) = text.strip_prefix("bridge(\"") {
            self.bridge = Some(kept(name.split('"').next().unwrap_or(name)).into());
        } else if let Some((table, met)) = table(text) {
            let bridge = self.bridge.take().or_else(|| self.owning_bridge());
            let bridge = bridge.unwrap_or_else(|| Arc::from(""));
            self.step(Step { bridge, table, met, lines: Vec::new() });
        } else if is_bucket(text) {
            // What a bucket does is done by the rule that named the group, as far indented as that.
            let owner = self.indents.get(&indent).copied();
            if let Some(owner) = owner.and_then(|i| self.pass().steps.get(i)) {
                let (bridge, table, met) = (owner.bridge.clone(), owner.table, owner.met.clone());
                self.step(Step { bridge, table, met, lines: Vec::new() });
            }
        } else if let Some(detail) = text.strip_prefix("-> ") {
            self.tell(indent.saturating_sub(1), Line::Detail(kept(detail)));
        } else if let Some(warning) = text.strip_prefix(">> ") {
            self.tell(indent.saturating_sub(1), Line::Warning(kept(warning)));
        } else if let Some(error) = text.strip_prefix(">>>> ") {
            let error = error.trim_end().trim_end_matches("<<<<").trim_end();
            self.tell(indent.saturating_sub(1), Line::Warning(kept(error)));
        } else {
            self.tell(indent, Line::Action(kept(text.trim_end())));
        }
    }

    fn owning_bridge(&mut self) -> Option<Arc<str>> {
        let owner = self.owner?;
        self.pass().steps.get(owner).map(|step| step.bridge.clone())
    }

    fn step(&mut self, step: Step) {
        let steps = &mut self.pass().steps;
        steps.push(step);
        self.owner = Some(steps.len() - 1);
        self.is_fresh = true;
    }

    /// A line below a table belongs to the last one whose lines are indented as far; a table's
    /// first line follows it at once.
    fn tell(&mut self, indent: usize, line: Line) {
        if std::mem::take(&mut self.is_fresh) {
            let last = self.pass().steps.len() - 1;
            self.indents.insert(indent, last);
        }
        let found = self.indents.get(&indent).copied();
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
    let matching = kept(rest[..at].trim_end().trim_end_matches(','));
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
        _ => Met::Rule(Arc::new(rule)),
    }
}

/// A line as far as it is kept.
fn kept(line: &str) -> String {
    cut(line, MAX_LINE).unwrap_or_else(|| line.to_owned())
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
