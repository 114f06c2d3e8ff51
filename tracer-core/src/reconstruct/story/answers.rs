//! Whether what wants an answer got one.

use super::Story;
use crate::reconstruct::flow::Flow;
use crate::reconstruct::question;
use crate::reconstruct::sight::Sight;

impl Story {
    /// Only packets of one direction match: that no answer was seen says nothing.
    pub fn sees_one_way(&mut self) {
        self.one_way = true;
    }

    /// All probes were attached at `ts`, nanoseconds since the trace began: the end of what came before
    /// may not have been seen.
    pub fn sees_all_from(&mut self, ts: u64) {
        self.ready = ts;
    }

    /// A packet may be the answer to those of another flow.
    pub(super) fn take_answer(&mut self, first: &Sight) {
        if let Some((asked_by, group)) = question::advertised(first) {
            self.flows.answered(asked_by, group, first.ts);
        }
    }

    /// All packets of a flow have their fate, the trace having ended at `end`, nanoseconds since it
    /// began: what stayed without an answer is a loss of the flow's. The packets' journeys are told
    /// already, and stand: each ended where it says.
    pub(super) fn miss_answers(&self, flow: &mut Flow, end: u64) {
        self.doubt_flow(flow);
        if !self.one_way {
            flow.miss_answers(end);
        }
        flow.arrange();
    }
}
