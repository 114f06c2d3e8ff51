//! How long more is awaited of a packet.

use crate::reconstruct::fate;
use crate::reconstruct::identity::SAME_WITHIN;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::pieces::{LONGEST_WAIT, Pieces};
use crate::record::Outcome;

/// How long after its end a packet is held open for what may still overrule it, nanoseconds.
const GRACE: u64 = 1_000_000_000;
/// How long a packet that the kernel may still hold (in a tap's or a socket's queue, say) is held
/// open after its last sign of life, nanoseconds.
const HELD: u64 = 60_000_000_000;
/// How long a packet may be silent before it counts as vanished, nanoseconds. Longer than the 3 s
/// for which neighbour resolution holds one (`mcast_solicit` × `retrans_time`).
const SILENCE: u64 = 5_000_000_000;
/// How long `ovs-vswitchd` may take to hand a packet back, nanoseconds: a handler answers within
/// milliseconds, unless it is starved.
const ANSWER: u64 = SAME_WITHIN;

/// When a packet is settled unless something more is seen of it.
pub fn due(packet: &Packet) -> u64 {
    let wait = match fate::is_over(packet) {
        true if packet.awaits_answer() => ANSWER,
        true => GRACE,
        false if Pieces::are_waiting(packet) => LONGEST_WAIT,
        false => HELD,
    };
    packet.last_ts.saturating_add(wait)
}

/// What to call a packet that nothing has ended.
pub fn unended(packet: &Packet, now: u64) -> Outcome {
    let patience = match packet.awaits_answer() {
        true => ANSWER,
        false if Pieces::are_waiting(packet) => LONGEST_WAIT,
        false => SILENCE,
    };
    if packet.last_ts.saturating_add(patience) <= now {
        Outcome::Vanished
    } else {
        Outcome::InFlight
    }
}
