//! ICMP errors about a flow: they are part of its story, and none of its packets.

use std::rc::Rc;

use crate::reconstruct::fate::Fate;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;
use crate::record::Outcome;

/// How many kinds are told apart in one flow (the rest count with the last of them), and how many
/// packets of each are named.
const MAX_KINDS: usize = 8;
const MAX_EVIDENCE: usize = 8;

/// Errors of one type and code that came to the same.
#[derive(Clone, Debug)]
pub struct Related {
    /// Type and code.
    pub kind: (u8, u8),
    /// Next-hop MTU that it tells, bytes.
    pub mtu: Option<u32>,
    /// What became of them.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// Some of them, by number.
    pub evidence: Vec<u64>,
    /// Where the first of them was seen first.
    pub first: Rc<Sight>,
    /// Where it ended.
    pub at: Rc<Sight>,
    /// The device that it entered or left before.
    pub before: Option<Rc<Sight>>,
}

impl Related {
    /// It tells the sender that its packets are too big.
    pub fn is_too_big(&self) -> bool {
        self.mtu.is_some()
    }

    /// Its end is a loss.
    pub fn is_lost(&self) -> bool {
        use Outcome::{Delivered, Forwarded, InFlight, Unknown};
        !matches!(self.outcome, Delivered | Forwarded | InFlight | Unknown)
    }

    /// Counts a settled one.
    pub fn fold(all: &mut Vec<Self>, packet: &Packet, fate: &Fate) {
        let Some(icmp) = &packet.first.icmp else { return };
        let kind = (icmp.r#type, icmp.code);
        let same = |r: &Self| (r.kind, r.outcome) == (kind, fate.outcome);
        let full = all.len() >= MAX_KINDS;
        let place = all.iter().position(same).or_else(|| full.then_some(MAX_KINDS - 1));
        if let Some(known) = place.and_then(|at| all.get_mut(at)) {
            known.count += 1;
            if known.evidence.len() < MAX_EVIDENCE {
                known.evidence.push(packet.number);
            }
        } else {
            all.push(Self {
                kind,
                mtu: icmp.mtu,
                outcome: fate.outcome,
                count: 1,
                evidence: vec![packet.number],
                first: packet.first.clone(),
                at: fate.at.clone(),
                before: fate.before.clone(),
            });
        }
    }

    /// Takes back one that turns out not to be settled; whether it was one of these.
    pub fn unfold(all: &mut Vec<Self>, number: u64) -> bool {
        let Some(known) = all.iter_mut().find(|r| r.evidence.contains(&number)) else {
            return false;
        };
        known.count -= 1;
        known.evidence.retain(|n| *n != number);
        all.retain(|r| r.count > 0);
        true
    }
}
