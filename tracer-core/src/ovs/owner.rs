//! From what `ofproto/trace` printed to the rule that ended the packet. Pure: the asking is done by
//! [`super::asking`].

use crate::ovs::pipeline::{End, Line, Met, Pass, Reason, Step, Trace, cut, sends_out, words};
use crate::reconstruct::owner::Question;
use crate::record::{OvsTrace, TraceKind};
use crate::verdict::ofproto;

/// What was asked, and what came back.
#[derive(Clone, Debug, Default)]
pub struct Traced {
    /// From the packet's first pass on, told the connection tracking states that it had live.
    pub live: Option<Trace>,
    /// The same, told nothing: as somebody does who traces by hand.
    pub plain: Option<Trace>,
    /// Only its last pass, with the headers that it had there.
    pub last: Option<Trace>,
}

/// Why nothing is said of a packet's end.
const STRAYS: &str = "ovs-vswitchd has forgotten the recirculation in which the packet ended, and \
                      ofproto/trace, given the packet as it came in, takes another way";

/// The same, where the datapath's own notes on the packet cannot be read.
const BLIND: &str = "its tables go on by what conntrack made of the packet, which cannot be read without the \
                     openvswitch module's BTF; ofproto/trace can only assume trk|new";

const UNFOLLOWED: &str = "ofproto/trace does not follow the packet to its end";

/// How much of an action list goes into a sentence, characters.
const QUOTED: usize = 160;
/// How much of one goes on record, bytes.
const MAX_ACTIONS: usize = 8192;

/// The record of what was found out about a packet.
pub fn conclude(question: &Question, traced: &Traced) -> OvsTrace {
    let mut found = OvsTrace {
        packet: question.packet,
        ct_states: question.ct_states.clone(),
        asked: Some(ofproto::asked(&arguments(question, &question.key, true))),
        ..OvsTrace::default()
    };
    // The live last pass is the packet as it was; a simulation knows only the first address of a
    // range that it is translated to, and nothing of connections that exist.
    let last = traced.last.as_ref();
    // The pass in which it died is forgotten: a simulation of the whole way that strays from what the
    // packet met tells of another end than its own.
    let strays = |t: &&Trace| last.is_none() && question.last_key.is_some() && t.strays(question);
    let live = traced.live.as_ref();
    let assumes = |t: &Trace| t.passes.iter().any(|pass| pass.ct_state.is_some());
    if question.blind && live.is_some_and(assumes) {
        found.lacks = Some(BLIND.to_owned());
        return found;
    }
    if live.is_some_and(|t| strays(&t)) {
        found.lacks = Some(STRAYS.to_owned());
        return found;
    }
    let ended = [last, live].into_iter().flatten().find_map(Trace::end);
    let Some(trace) = last.or(live) else {
        return found;
    };
    found.datapath_actions = last_actions(trace);
    let Some(end) = ended else {
        if !trace.sends_out() {
            found.lacks = Some(UNFOLLOWED.to_owned());
            // The last pass goes on amid the rule's actions, and does not show it.
            let sender = [Some(trace), live].into_iter().flatten().find_map(Trace::sender);
            if let Some(step) = sender.filter(|_| trace.hashes()) {
                name_rule(&mut found, step);
                found.show = ofproto::show(&found);
            }
            return found;
        }
        found.kind = TraceKind::Passes;
        if let Some(step) = trace.sender() {
            name_rule(&mut found, step);
            found.words = switched_how(&found, step);
            found.show = ofproto::show(&found);
        } else if let Some(end) = trace.mirrored() {
            name_rule(&mut found, end);
            found.kind = TraceKind::Mirrored;
            found.show = ofproto::show(&found);
        }
        found.disagrees = unlike_live(question, trace);
        return found;
    };
    name(&mut found, &end);
    let ended = [live, last].into_iter().flatten().find(|trace| trace.end().is_some());
    found.datapath_actions = ended.and_then(last_actions);
    found.passes_simulated = traced.plain.as_ref().is_some_and(Trace::sends_out);
    found.disagrees = found.passes_simulated.then(|| unlike_plain(question));
    found
}

/// The arguments of `ofproto/trace` for a flow key; with the live states, or without.
pub fn arguments(question: &Question, key: &str, live: bool) -> Vec<String> {
    let mut words: Vec<String> = question.dp.iter().cloned().collect();
    words.push(key.to_owned());
    for state in question.ct_states.iter().filter(|_| live) {
        words.extend(["--ct-next".to_owned(), state.replace('|', ",")]);
    }
    words
}

impl Trace {
    /// Where the packet ends; `None` when some of it goes out.
    pub fn end(&self) -> Option<End<'_>> {
        if self.sends_out() {
            return None;
        }
        self.passes.iter().rev().find_map(Pass::end)
    }

    /// Some of the packet goes out. A trace may tell neither: it does not follow a hash, as select
    /// groups want it.
    fn sends_out(&self) -> bool {
        let out = |pass: &Pass| pass.actions.as_deref().is_some_and(sends_out);
        self.passes.iter().any(out)
    }

    /// Its last actions choose by a hash how to go on.
    fn hashes(&self) -> bool {
        let last = self.passes.last().and_then(|pass| pass.actions.as_deref());
        last.is_some_and(|actions| names(actions).contains(&"hash"))
    }

    /// The table whose rule sends the packet on in the end.
    fn sender(&self) -> Option<&Step> {
        // With two ways, one for long packets, the trace shows both.
        let last = self.passes.last()?;
        if last.actions.as_deref().is_some_and(|actions| actions.contains("check_pkt_len(")) {
            return None;
        }
        last.steps.iter().rfind(|step| step.sends())
    }

    /// The table that ends the packet, where none of the rules on its way sends it on and yet there are
    /// outputs, which are a mirror's (`mirror_packet` of `ofproto/ofproto-dpif-xlate.c`).
    fn mirrored(&self) -> Option<&Step> {
        let last = self.passes.last()?;
        let is_sent = self.passes.iter().flat_map(|pass| &pass.steps).any(Step::sends);
        let is_port =
            |action: &str| !action.is_empty() && action.bytes().all(|b| b.is_ascii_digit());
        let outputs_alone = last.actions.as_deref().is_some_and(|all| words(all).all(is_port));
        last.steps.last().filter(|_| !is_sent && outputs_alone)
    }

    /// Whether it ends with other actions than the packet did; a hash, as select groups want it, is
    /// not followed at all.
    fn strays(&self, question: &Question) -> bool {
        let Some(now) = self.passes.last().and_then(|pass| pass.actions.as_deref()) else {
            return true;
        };
        let live = question.actions.as_deref();
        live.is_some_and(|live| names(live) != names(now)) || names(now).contains(&"recirc")
    }
}

/// The names of the actions of a list, in order; what does nothing has none.
fn names(actions: &str) -> Vec<&str> {
    let named = words(actions).map(|action| action.split('(').next().unwrap_or(action));
    named.filter(|name| !matches!(*name, "" | "drop")).collect()
}

fn last_actions(trace: &Trace) -> Option<String> {
    let actions = trace.passes.last()?.actions.as_deref()?;
    Some(recorded(actions))
}

/// A list as it goes on record.
fn recorded(actions: &str) -> String {
    cut(actions, MAX_ACTIONS).unwrap_or_else(|| actions.to_owned())
}

fn name(found: &mut OvsTrace, end: &End<'_>) {
    name_rule(found, end.step);
    found.kind = match &end.reason {
        Reason::Rule => TraceKind::Rule,
        Reason::NoMatch => TraceKind::NoMatch,
        Reason::MissingPort(port) => {
            found.port = Some(port.clone()).filter(|port| !port.is_empty());
            TraceKind::MissingPort
        }
        Reason::Refused(why) => {
            found.words = Some(why.clone());
            TraceKind::Refused
        }
        Reason::Fragment => TraceKind::Fragment,
    };
    if found.kind == TraceKind::Rule {
        found.words = switched_how(found, end.step);
    }
    found.show = ofproto::show(found);
    found.fix = ofproto::fix(found);
}

/// The bridge and the table, and the rule that was met there.
fn name_rule(found: &mut OvsTrace, step: &Step) {
    found.bridge = Some(step.bridge.to_string());
    found.table = Some(step.table);
    let Met::Rule(rule) = &step.met else { return };
    found.priority = Some(rule.priority);
    found.r#match = Some(rule.matching.clone());
    found.cookie = Some(format!("{:#x}", rule.cookie));
    let actions = step.lines.iter().filter_map(|line| match line {
        Line::Action(action) => Some(action.as_str()),
        _ => None,
    });
    found.rule_actions = Some(recorded(&actions.collect::<Vec<_>>().join(",")));
}

/// What the bridge made of a frame that a rule leaves it to switch, in Open vSwitch's words.
fn switched_how(found: &OvsTrace, step: &Step) -> Option<String> {
    let mut details = step.lines.iter().filter_map(|line| match line {
        Line::Detail(detail) => Some(detail.as_str()),
        _ => None,
    });
    let last = details.next_back().filter(|_| is_normal(found.rule_actions.as_deref()))?;
    Some(last.to_owned())
}

/// Whether a rule leaves it to the bridge to switch the frame.
fn is_normal(actions: Option<&str>) -> bool {
    actions.is_some_and(|actions| words(actions).any(|a| a.eq_ignore_ascii_case("normal")))
}

/// Where a frame found no port on a bridge that switches normally: the bridge, the port by which it came
/// in, and its tag. `None` where it is not known to be as it came in.
pub fn switched<'a>(
    question: &'a Question,
    traced: &Traced,
    found: &'a OvsTrace,
) -> Option<(&'a str, &'a str, Option<u16>)> {
    let is_normal = found.kind == TraceKind::Rule && is_normal(found.rule_actions.as_deref());
    let trace = traced.live.as_ref().filter(|_| is_normal && question.last_key.is_none())?;
    let lines = || trace.passes.iter().flat_map(|pass| &pass.steps).flat_map(|step| &step.lines);
    let is_retagged = lines().any(|l| matches!(l, Line::Action(action) if action.contains("vlan")));
    let tag =
        question.key.split_once("vlan(vid=").and_then(|(_, rest)| rest.split([',', ')']).next());
    let tag = tag.map(|tag| tag.parse::<u16>().ok());
    if is_retagged || tag == Some(None) {
        return None;
    }
    Some((found.bridge.as_deref()?, question.in_port.as_deref()?, tag.flatten()))
}

fn unlike_plain(question: &Question) -> String {
    let live: Vec<_> =
        question.ct_states.iter().map(String::as_str).filter(|s| !is_assumed(s)).collect();
    match live.last() {
        Some(state) => format!(
            "a simulated trace would have passed it: without --ct-next, ofproto/trace takes every \
             packet that comes out of conntrack for new|trk, and this one came out {state}"
        ),
        None => {
            "a trace that is not told the live connection tracking states sends it on".to_owned()
        }
    }
}

/// What `ofproto/trace` takes a packet for that has been through conntrack.
pub fn is_assumed(state: &str) -> bool {
    let mut words: Vec<_> = state.split('|').collect();
    words.sort_unstable();
    words == ["new", "trk"]
}

/// The tables send on what died in the datapath: what it ran is not what they say now. Where it is, the
/// datapath could not do what they say (a `ct` that failed, a port that is down).
fn unlike_live(question: &Question, trace: &Trace) -> Option<String> {
    let live = question.actions.as_deref()?;
    let lists = || trace.passes.iter().filter_map(|pass| pass.actions.as_deref());
    let plain_live = plain(live);
    if lists().any(|now| plain(now) == plain_live) {
        return None;
    }
    let now = lists().next_back()?;
    Some(format!(
        "the tables would send it on now, with the datapath actions {}, and the datapath flow that it \
         met says {}: that flow is stale, or the tables were changed since",
        short(now),
        short(live)
    ))
}

/// A list without the numbers of recirculations, which differ from one trace to the next: two that are
/// alike do the same.
fn plain(actions: &str) -> String {
    let mut parts = actions.split("recirc(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "recirc" + part.split_once(')').map_or("", |p| p.1))
}

fn short(actions: &str) -> String {
    let cut: String = actions.chars().take(QUOTED).collect();
    let dots = if cut.len() < actions.len() { "…" } else { "" };
    format!("`{cut}{dots}`")
}

#[cfg(test)]
mod tests;
