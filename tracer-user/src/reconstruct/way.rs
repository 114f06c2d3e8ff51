//! One packet's whole way, once its fate is told.

use std::rc::Rc;

use crate::model::{Journey, Outcome};
use crate::reconstruct::sight::Sight;

/// One packet's whole way. What it takes to put it on record is made only where somebody reads it:
/// in a flood that is most of the work.
#[derive(Clone, Debug)]
pub struct Way {
    /// Number of the packet.
    pub packet: u64,
    /// Number of its flow.
    pub flow: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// How many hops it made.
    pub hops: u32,
    /// Where it was seen first.
    pub first: Rc<Sight>,
    /// Where it was seen last, or where it died.
    pub last: Rc<Sight>,
}

impl Way {
    /// As a record shows it.
    pub fn to_record(&self) -> Journey {
        Journey {
            packet: self.packet,
            flow: self.flow,
            outcome: self.outcome,
            hops: self.hops,
            first: self.first.place(),
            last: self.last.place(),
        }
    }
}
