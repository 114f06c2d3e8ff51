//! Whether what wants an answer got one.

use super::Story;
use crate::reconstruct::Way;
use crate::reconstruct::flow::Flow;
use crate::reconstruct::question;
use crate::reconstruct::sight::Sight;

impl Story {
    /// Only packets of one direction match: that no answer was seen says nothing.
    pub fn sees_one_way(&mut self) {
        self.one_way = true;
    }

    /// A packet may be the answer to those of another flow.
    pub(super) fn take_answer(&mut self, first: &Sight) {
        if let Some((asked_by, group)) = question::advertised(first) {
            self.flows.answered(asked_by, group, first.ts);
        }
    }

    /// All packets of a flow have their fate, the trace having ended at `end`, nanoseconds since it
    /// began: what is to be told anew, because it stayed without an answer.
    pub(super) fn miss_answers(&mut self, flow: &mut Flow, end: u64) -> Vec<Way> {
        let missed = if self.one_way { Vec::new() } else { flow.miss_answers(end) };
        flow.arrange();
        let missed = missed.into_iter();
        missed.filter_map(|(number, outcome)| self.settled.retell(number, outcome)).collect()
    }
}
