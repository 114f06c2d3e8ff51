//! Segments that TCP sent again although they had arrived: what the receiver does with the second is
//! no loss (RFC 9293, 3.10.7.4: a duplicate is answered with an ACK and discarded).
//!
//! Both orders are taken: packets are settled when their time has come, which need not be the order in
//! which they arrived.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{HookName, Outcome};
use crate::reconstruct::everyday;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::flow::Direction;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;

/// How many segments that arrived, and how many that were discarded, are remembered of a flow.
const MAX_REMEMBERED: usize = 64;

/// One segment with bytes (or a SYN, or a FIN) that came to its end at a socket.
#[derive(Clone, Debug)]
struct Segment {
    /// Its packet.
    number: u64,
    direction: Direction,
    /// Its first sequence number, and the one behind its last.
    bytes: (u32, u32),
    /// When it came to its end, nanoseconds since the trace began.
    ts: u64,
    /// In which namespace, as far as it is known.
    netns: Option<u32>,
}

/// One that TCP discarded.
#[derive(Clone, Debug)]
struct Discarded {
    segment: Segment,
    /// Where.
    at: Arc<Sight>,
}

impl Segment {
    /// `None` for what occupies no sequence numbers: one ACK is like another, and no twin.
    fn of(packet: &Packet, fate: &Fate, direction: Direction) -> Option<Self> {
        let numbers = packet.first.segment.as_ref()?;
        let netns = |s: &Sight| s.netns.as_ref().map(|n| n.inode);
        (numbers.seq != numbers.end).then(|| Self {
            number: packet.number,
            direction,
            bytes: (numbers.seq, numbers.end),
            ts: fate.at.ts,
            netns: netns(&fate.at).or_else(|| fate.before.as_deref().and_then(netns)),
        })
    }

    /// Whether this one's bytes had arrived with `other`, at the same host.
    fn repeats(&self, other: &Self) -> bool {
        self.number != other.number
            && self.direction == other.direction
            && self.bytes == other.bytes
            && other.ts < self.ts
            && self.netns.zip(other.netns).is_none_or(|(own, others)| own == others)
    }
}

/// A segment that was taken for a loss, and is a duplicate.
#[derive(Debug)]
pub struct Duplicate {
    /// Its packet.
    pub number: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Where it was discarded.
    pub at: Arc<Sight>,
}

/// The latest segments of a flow that came to their end at a socket.
#[derive(Clone, Debug, Default)]
pub struct Twins {
    arrived: VecDeque<Segment>,
    discarded: VecDeque<Discarded>,
}

impl Twins {
    /// A packet arrived; gives back those that were counted as lost and only repeated it.
    pub fn arrive(&mut self, packet: &Packet, fate: &Fate, direction: Direction) -> Vec<Duplicate> {
        let Some(segment) = Segment::of(packet, fate, direction) else { return Vec::new() };
        let (repeating, kept): (VecDeque<_>, _) =
            self.discarded.drain(..).partition(|d| d.segment.repeats(&segment));
        self.discarded = kept;
        put(&mut self.arrived, segment);
        let duplicate = |Discarded { segment, at }| Duplicate {
            number: segment.number,
            direction: segment.direction,
            at,
        };
        repeating.into_iter().map(duplicate).collect()
    }

    /// A packet was lost: whether it repeats what had arrived at the same host, and was discarded by
    /// TCP there.
    pub fn discard(&mut self, packet: &Packet, fate: &Fate, direction: Direction) -> bool {
        if fate.outcome != Outcome::Dropped || !is_by_tcp(&fate.at) {
            return false;
        }
        let Some(segment) = Segment::of(packet, fate, direction) else { return false };
        let is_duplicate = self.arrived.iter().any(|arrived| segment.repeats(arrived));
        if !is_duplicate {
            put(&mut self.discarded, Discarded { segment, at: fate.at.clone() });
        }
        is_duplicate
    }

    /// What was said of a packet does not hold.
    pub fn forget(&mut self, number: u64) {
        self.arrived.retain(|s| s.number != number);
        self.discarded.retain(|d| d.segment.number != number);
    }
}

fn put<T>(list: &mut VecDeque<T>, segment: T) {
    if list.len() >= MAX_REMEMBERED {
        list.pop_front();
    }
    list.push_back(segment);
}

/// TCP itself let go of it. A SYN that a full listener refuses is not had for having come before.
fn is_by_tcp(at: &Sight) -> bool {
    at.hook == HookName::Drop
        && at.symbol().is_some_and(|symbol| symbol.starts_with("tcp_"))
        && !everyday::is_refused_by_listener(at)
}

#[cfg(test)]
mod tests;
