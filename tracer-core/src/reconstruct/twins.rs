//! Segments that TCP sent again although they had arrived: what the receiver does with the second is
//! no loss (RFC 9293, 3.10.7.4: a duplicate is answered with an ACK and discarded). And segments that
//! carry nothing but an acknowledgement, which every other that acknowledges as much makes up for: what
//! the receiver minds about one of them (its timestamp, say, once a proxy has spoken for the client) is
//! no loss either.
//!
//! Both orders are taken: packets are settled when their time has come, which need not be the order in
//! which they arrived.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::reconstruct::everyday;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::flow::Direction;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::segment::{Segment as Numbers, after};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome, TcpFlags};

/// How many segments that arrived, and how many that were discarded, are remembered of a flow.
const MAX_REMEMBERED: usize = 64;
/// Of how many hosts it is remembered what they were told to have arrived.
const MAX_HOSTS: usize = 4;

/// What a segment tells its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Bytes (or a SYN, or a FIN): the first sequence number, and the one behind the last.
    Bytes(u32, u32),
    /// Only that what comes before this was received.
    Received(u32),
}

/// One segment that came to its end at a socket.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Its packet.
    number: u64,
    direction: Direction,
    told: Told,
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
    at: Rc<Sight>,
}

impl Discarded {
    /// Whether what arrived with this one makes it none.
    fn is_none_for(&self, arrived: &Segment) -> bool {
        self.segment.repeats(arrived)
            || (is_before_accepting(&self.at) && arrived.covers(&self.segment))
    }
}

/// TCP minds the timestamp that it echoes, on a connection that is not accepted yet: behind a proxy for
/// handshakes that is a part of every other one's beginning, until the server repeats its SYN-ACK.
fn is_before_accepting(at: &Sight) -> bool {
    at.raw_reason() == Some("TCP_RFC7323_TSECR")
}

impl Segment {
    /// `None` for what tells nothing (an RST).
    fn of(packet: &Packet, fate: &Fate, direction: Direction) -> Option<Self> {
        let numbers = numbers(packet, fate)?;
        let told = match numbers.ack {
            _ if numbers.seq != numbers.end => Told::Bytes(numbers.seq, numbers.end),
            Some(ack) if !packet.first.tcp?.is_reset() => Told::Received(ack),
            _ => return None,
        };
        let number = packet.number;
        Some(Self { number, direction, told, ts: fate.at.ts, netns: netns(fate) })
    }

    /// Whether this one's bytes had arrived with `other`, at the same host.
    fn repeats(&self, other: &Self) -> bool {
        self.number != other.number
            && self.direction == other.direction
            && self.told == other.told
            && other.ts < self.ts
            && is_same(self.netns, other.netns)
    }

    /// Whether all that `other` would have told arrived later, with this one, at the same host.
    fn covers(&self, other: &Self) -> bool {
        let (Told::Bytes(seq, end), Told::Bytes(from, to)) = (self.told, other.told) else {
            return false;
        };
        other.ts < self.ts
            && self.direction == other.direction
            && is_same(self.netns, other.netns)
            && !after(seq, from)
            && !after(to, end)
    }
}

/// Its numbers as its receiver saw them: a proxy for handshakes moves them on the way.
fn numbers(packet: &Packet, fate: &Fate) -> Option<Numbers> {
    fate.at.segment.or(packet.first.segment)
}

/// In which namespace it ended.
fn netns(fate: &Fate) -> Option<u32> {
    let netns = |s: &Sight| s.site.netns.as_ref().map(|n| n.inode);
    netns(&fate.at).or_else(|| fate.before.as_deref().and_then(netns))
}

/// As far as they are known.
fn is_same(a: Option<u32>, b: Option<u32>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

/// The latest acknowledgement that arrived at one host.
#[derive(Clone, Copy, Debug)]
struct Acked {
    direction: Direction,
    netns: Option<u32>,
    ack: u32,
    /// When it came, nanoseconds since the trace began.
    ts: u64,
}

impl Acked {
    /// Whether it said later what this one would have said: the connection went on.
    fn makes_up_for(&self, own: &Segment) -> bool {
        matches!(own.told, Told::Received(ack) if !after(ack, self.ack))
            && own.ts < self.ts
            && own.direction == self.direction
            && own.netns == self.netns
    }
}

/// A segment that was taken for a loss, and is none.
#[derive(Debug)]
pub struct Duplicate {
    /// Its packet.
    pub number: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Where it was discarded.
    pub at: Rc<Sight>,
    /// What it told had arrived before. (Otherwise it came later: this one was discarded all the same.)
    pub is_repetition: bool,
}

/// The latest segments of a flow that came to their end at a socket.
#[derive(Clone, Debug, Default)]
pub struct Twins {
    arrived: VecDeque<Segment>,
    discarded: VecDeque<Discarded>,
    /// One for each host that took some. (Proxies for handshakes have numbers of their own.)
    acked: Vec<Acked>,
}

impl Twins {
    /// A packet arrived; gives back those that were counted as lost and only repeated it.
    pub fn arrive(&mut self, packet: &Packet, fate: &Fate, direction: Direction) -> Vec<Duplicate> {
        self.acknowledge(packet, fate, direction);
        let Some(segment) = Segment::of(packet, fate, direction) else { return Vec::new() };
        let is_none =
            |d: &Discarded| d.is_none_for(&segment) || made_up_for(&self.acked, &d.segment);
        let (repeating, kept): (VecDeque<_>, _) = self.discarded.drain(..).partition(is_none);
        self.discarded = kept;
        if matches!(segment.told, Told::Bytes(..)) {
            put(&mut self.arrived, segment);
        }
        let duplicate = |lost: Discarded| Duplicate {
            number: lost.segment.number,
            direction: lost.segment.direction,
            is_repetition: lost.segment.repeats(&segment),
            at: lost.at,
        };
        repeating.into_iter().map(duplicate).collect()
    }

    /// What the packet acknowledges arrived.
    fn acknowledge(&mut self, packet: &Packet, fate: &Fate, direction: Direction) {
        let Some(ack) = numbers(packet, fate).and_then(|n| n.ack) else { return };
        let new = Acked { direction, netns: netns(fate), ack, ts: fate.at.ts };
        let same = |a: &&mut Acked| (a.direction, a.netns) == (new.direction, new.netns);
        let has_room = self.acked.len() < MAX_HOSTS;
        match self.acked.iter_mut().find(same) {
            Some(known) if after(ack, known.ack) || (ack == known.ack && known.ts < new.ts) => {
                *known = new;
            }
            None if has_room => self.acked.push(new),
            _ => {}
        }
    }

    /// A packet was lost: whether it repeats what had arrived at the same host, and was discarded by
    /// TCP there.
    pub fn discard(&mut self, packet: &Packet, fate: &Fate, direction: Direction) -> bool {
        if fate.outcome != Outcome::Dropped || !is_by_tcp(&fate.at) {
            return false;
        }
        let Some(segment) = Segment::of(packet, fate, direction) else { return false };
        let lost = Discarded { segment, at: fate.at.clone() };
        let is_duplicate = made_up_for(&self.acked, &lost.segment)
            || self.arrived.iter().any(|arrived| lost.is_none_for(arrived));
        if !is_duplicate {
            put(&mut self.discarded, lost);
        }
        is_duplicate
    }

    /// What was said of a packet does not hold.
    pub fn forget(&mut self, number: u64) {
        self.arrived.retain(|s| s.number != number);
        self.discarded.retain(|d| d.segment.number != number);
    }
}

/// Whether a segment that ended like this may be one that repeats another, as far as it shows by
/// itself. (To whom no socket listens, nothing had arrived before its SYN.)
pub fn may_be_one(first: &Sight, at: &Sight) -> bool {
    let is_refused =
        at.raw_reason() == Some("NO_SOCKET") && first.tcp.is_some_and(TcpFlags::is_syn);
    is_by_tcp(at) && !is_refused
}

fn made_up_for(acked: &[Acked], lost: &Segment) -> bool {
    acked.iter().any(|acked| acked.makes_up_for(lost))
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
