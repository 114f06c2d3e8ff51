//! From flows to verdicts: rules, each a small pure function over one flow, one file each, in one
//! list.

pub mod budget;
pub mod datapath;
mod finding;
mod fragments;
pub mod hook;
mod matter;
pub mod netfilter;
mod next;
pub mod ofproto;
mod pipeline;
mod reasons;
mod related;
mod routing;
mod rules;
mod service;
mod symbols;
mod tally;
mod window;
pub mod words;

use crate::reconstruct::flow::Flow;
use crate::reconstruct::{Story, Way};
use crate::record::{Outcome, Verdict};

pub use budget::Budget;
pub use finding::Finding;
pub use matter::{Matter, named};
pub use next::{Spot, commands};
pub use tally::{Tally, exit_code};

/// A rule: what it finds in a flow, if it is its case.
pub type Rule = fn(&Flow) -> Option<Finding>;

/// All rules, the gravest first: the first that finds something gives the verdict.
pub const RULES: &[Rule] = &[
    rules::reply_not_translated,
    rules::black_hole,
    rules::dropped_by_ovs,
    rules::dropped,
    rules::upcall_lost,
    rules::misaddressed,
    rules::vanished,
    rules::unanswered,
    rules::unsent,
    rules::unknown,
    rules::in_flight,
    rules::forwarded,
    rules::delivered,
];

/// What became of a flow; `None` for one of which no packet is settled.
pub fn judge(flow: &Flow) -> Option<Verdict> {
    let found = RULES.iter().find_map(|rule| rule(flow))?;
    let mut text = found.text;
    let also = rules::besides(flow, &found.evidence);
    let mut next = found.next;
    for command in rules::commands_besides(flow, &found.evidence) {
        if !next.contains(&command) {
            next.push(command);
        }
    }
    next.extend(window::commands(flow).filter(|command| !next.contains(command)));
    text.push_str(&window::told(flow));
    text.push_str(&service::passed_by(flow));
    text.push_str(&related::told(flow));
    if flow.incomplete && found.outcome != Outcome::Unknown {
        text.push_str(" Events were lost meanwhile, so this may not be the whole story.");
    }
    Some(Verdict {
        ts: 0,
        flow: flow.number,
        outcome: found.outcome,
        packets: flow.packets(),
        delivered: flow.delivered(),
        related: flow.related.iter().map(|r| r.count).sum(),
        forward: flow.forward,
        translated: flow.translated,
        r#where: Some(found.place),
        due: found.due,
        reason: found.reason,
        text,
        next,
        evidence: found.evidence,
        also,
        rule: found.rule,
        incomplete: flow.incomplete,
    })
}

impl Story {
    /// The trace is over: the fate of every packet still open, and a verdict for each flow. `end`
    /// is when the last probe was detached, in nanoseconds since the trace began.
    pub fn finish(&mut self, end: u64) -> (Vec<Way>, Vec<Verdict>) {
        let (ways, flows) = self.end(end);
        (ways, self.judge_all(flows))
    }

    /// A verdict for each of the flows, with what is known about it by now.
    pub fn judge_all(&self, flows: Vec<Flow>) -> Vec<Verdict> {
        let informed = flows.into_iter().map(|mut flow| {
            self.inform(&mut flow);
            related::doubt_discovery(&mut flow);
            self.tell_missing(&mut flow);
            flow
        });
        informed.filter_map(|flow| judge(&flow)).collect()
    }

    /// The verdicts of flows that had to make room for others since the last call.
    pub fn retired(&mut self) -> Vec<Verdict> {
        let flows = self.take_retired();
        self.judge_all(flows)
    }
}

#[cfg(test)]
mod tests;
