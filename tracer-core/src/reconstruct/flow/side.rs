//! What the packets of one direction came to.

use std::rc::Rc;

use crate::reconstruct::fate::Fate;
use crate::reconstruct::kinds::{Kind, Kinds};
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;
use crate::record::Outcome;

/// The packets of one direction.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Packets whose fate is known.
    pub packets: u64,
    /// Those delivered or forwarded.
    pub good: u64,
    /// Those forwarded.
    pub left: u64,
    /// Where the latest good one arrived or left.
    pub arrived: Option<Rc<Sight>>,
    /// When the latest good one was first seen.
    pub last_good_ts: u64,
    /// What they were.
    pub kinds: Kinds,
    /// Where the first RST that arrived was seen first.
    pub reset: Option<Rc<Sight>>,
}

impl Side {
    /// Openings (SYN without ACK) among the packets.
    pub fn syns(&self) -> u64 {
        self.kinds.of(Kind::Syn)
    }

    /// One more that arrived, or left.
    pub(super) fn arrive(&mut self, packet: &Packet, fate: &Fate) {
        self.good += 1;
        self.left += u64::from(fate.outcome == Outcome::Forwarded);
        if self.arrived.is_none() || packet.first.ts >= self.last_good_ts {
            self.last_good_ts = packet.first.ts;
            self.arrived = Some(fate.at.clone());
        }
        if self.reset.is_none() && Kind::of(&packet.first) == Kind::Reset {
            self.reset = Some(packet.first.clone());
        }
    }
}
