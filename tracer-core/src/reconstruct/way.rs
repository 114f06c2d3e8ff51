//! One packet's whole way, once its fate is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::LocalKey;

use serde::{Serialize, Serializer};

use crate::reconstruct::sight::{Sight, Stop};
use crate::record::{HookName, Journey, Outcome, written};

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
    pub fn to_record(&self) -> Journey<Stop> {
        Journey {
            packet: self.packet,
            flow: self.flow,
            outcome: self.outcome,
            hops: self.hops,
            first: self.first.stop(),
            last: self.last.stop(),
        }
    }
}

impl Serialize for Stop {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.place().serialize(to)
    }
}

impl written::Repeats for Stop {
    type Key = (usize, HookName, Option<usize>);

    fn key(&self) -> Self::Key {
        let cause = self.cause.as_ref().map(|cause| Rc::as_ptr(cause).addr());
        (Rc::as_ptr(&self.site).addr(), self.hook, cause)
    }

    fn known() -> &'static LocalKey<written::Known<Self>> {
        thread_local!(static KNOWN: written::Known<Stop> = RefCell::default());
        &KNOWN
    }
}
