//! Packets that want an answer, and those that never got one: neighbours asked for by ARP or neighbour
//! discovery, and the SYN that a listener does not answer.
//!
//! What becomes of the packet does not tell. A broadcast reaches many who have no use for it, and who
//! owns the address shows only in the answer; a listener whose queue is full consumes the SYN as it
//! does any other (`tcp_conn_request`, `net/ipv4/tcp_input.c`).

use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use crate::reconstruct::fate::{self, End, Fate};
use crate::reconstruct::flow::Direction;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;
use crate::record::{ArpOp, HookName, Outcome, Proto, TcpFlags};

/// How many are held open of one flow.
const MAX_OPEN: usize = 64;
/// How long an answer may take, nanoseconds: after that neighbours are asked again (`retrans_time`).
const PATIENCE: u64 = 1_000_000_000;

/// `ICMPv6` types of RFC 4861.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// What kind of answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A neighbour's link-layer address.
    Neighbour,
    /// A connection.
    Connection,
}

/// One packet that arrived and wants an answer.
#[derive(Clone, Debug)]
pub struct Question {
    /// The packet.
    pub number: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Where it was seen first.
    pub first: Rc<Sight>,
    /// What it was counted as.
    pub counted: Outcome,
    /// What became of it, where it stays without an answer.
    pub fate: Fate,
    /// A copy of it was refused on its way, which tells more than that nobody answered.
    pub is_refused: bool,
    kind: Kind,
}

impl Question {
    /// A packet that arrived; `None` where it wants no answer, or none that would be seen here.
    fn of(packet: &Packet, fate: &Fate, direction: Direction) -> Option<Self> {
        let kind = kind_of(packet, fate)?;
        let outcome = match kind {
            Kind::Connection => Outcome::Dropped,
            Kind::Neighbour => Outcome::Vanished,
        };
        let mut question = Self {
            number: packet.number,
            direction,
            first: packet.first.clone(),
            counted: fate.outcome,
            fate: Fate { outcome, ..fate.clone() },
            // Before Linux 6.3, and of some messages after, a host that takes an `ICMPv6` message frees
            // it as a drop.
            is_refused: kind == Kind::Connection && fate.at.hook == HookName::Drop,
            kind,
        };
        // Who has no use for a broadcast takes his copy all the same: one that was refused on its way
        // tells more.
        let refused = packet.lives.iter().rfind(|life| fate::end_of(life).0 == End::Dropped);
        if let Some(life) = refused.filter(|_| kind == Kind::Neighbour) {
            let (at, before) = (fate::end_of(life).1.clone(), life.port.clone());
            let passage = packet.passage.of(life.id);
            question.is_refused = at.hook == HookName::Drop;
            let outcome = fate::dropped_by(&at);
            question.fate = Fate { outcome, at, before, passage, pieces: None, doubt: None };
        }
        Some(question)
    }
}

fn kind_of(packet: &Packet, fate: &Fate) -> Option<Kind> {
    let (first, tuple) = (&packet.first, packet.first.tuple?);
    if first.tcp.is_some_and(TcpFlags::is_syn) {
        // It was taken by a socket, or by TCP itself; which socket answers is seen.
        let is_taken = fate.outcome == Outcome::Delivered
            && (fate.at.hook == HookName::Deliver
                || fate.at.symbol().is_some_and(|symbol| symbol.starts_with("tcp_")));
        // Its answer leaves as it came; where that device has no hook, it would not be seen.
        let netns = |sight: &Sight| sight.site.netns.as_ref().map(|n| n.inode);
        let came_by =
            |port: &Sight| port.hook == HookName::TcIngress && netns(port) == netns(&fate.at);
        let is_seen = packet.lives.iter().filter_map(|l| l.port.as_deref()).any(came_by);
        return (is_taken && is_seen).then_some(Kind::Connection);
    }
    // Others ask each other within earshot of this node, and are answered out of it.
    if first.hook != HookName::TcEgress || tuple.src.is_unspecified() || tuple.src == tuple.dst {
        return None;
    }
    let is_answered_in_place = packet.lives.iter().any(|life| life.last.arp == Some(ArpOp::Reply));
    let is_request = first.arp == Some(ArpOp::Request) && !is_answered_in_place;
    (is_request || is_type(first, SOLICITATION)).then_some(Kind::Neighbour)
}

fn is_type(sight: &Sight, r#type: u8) -> bool {
    sight.tuple.is_some_and(|t| t.proto == Proto::Icmp6)
        && sight.icmp.as_ref().is_some_and(|icmp| icmp.r#type == r#type)
}

/// Whether this packet answers one that went the other way.
fn is_answer(sight: &Sight) -> bool {
    match sight.tuple.map(|t| t.proto) {
        Some(Proto::Arp) => sight.arp == Some(ArpOp::Reply),
        Some(Proto::Tcp) => true,
        _ => is_type(sight, ADVERTISEMENT),
    }
}

/// An advertisement: who is told, and the group at which its sender is asked (RFC 4291, 2.7.1). The
/// question and the answer have no address in common but the one who asks.
pub fn advertised(sight: &Sight) -> Option<(IpAddr, IpAddr)> {
    let tuple = sight.tuple.filter(|_| is_type(sight, ADVERTISEMENT))?;
    let IpAddr::V6(owner) = tuple.src else { return None };
    let [.., a, b] = owner.segments();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b);
    Some((tuple.dst, IpAddr::V6(group)))
}

/// A flow's packets that want answers.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    open: Vec<Question>,
    /// The latest answers: to the first packet's direction, and to the other.
    answered: [Option<u64>; 2],
}

fn side(direction: Direction) -> usize {
    match direction {
        Direction::Forward => 0,
        Direction::Reply => 1,
    }
}

impl Questions {
    /// One more packet, whatever became of it: it may be an answer.
    pub fn see(&mut self, packet: &Packet, direction: Direction) {
        if is_answer(&packet.first) {
            let to = match direction {
                Direction::Forward => Direction::Reply,
                Direction::Reply => Direction::Forward,
            };
            self.answer(to, packet.first.ts);
        }
    }

    /// Those that went this way until now have their answer.
    pub fn answer(&mut self, direction: Direction, ts: u64) {
        let latest = &mut self.answered[side(direction)];
        *latest = (*latest).max(Some(ts));
    }

    /// A packet arrived.
    pub fn arrive(&mut self, packet: &Packet, fate: &Fate, direction: Direction) {
        let Some(question) = Question::of(packet, fate, direction) else { return };
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(question);
    }

    /// What was said of a packet does not hold.
    pub fn forget(&mut self, number: u64) {
        self.open.retain(|q| q.number != number);
    }

    /// Those that stayed without an answer, the trace having ended at `end`, nanoseconds since it began.
    /// A connection was asked for again before it is said that nobody answers.
    pub fn unanswered(&mut self, end: u64) -> Vec<Question> {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|q| self.answered[side(q.direction)].is_none_or(|ts| ts < q.first.ts));
        open.sort_by_key(|q| q.number);
        let is_again = open.len() > 1;
        open.retain(|q| match q.kind {
            Kind::Connection => is_again,
            Kind::Neighbour => is_again || q.first.ts.saturating_add(PATIENCE) <= end,
        });
        open
    }
}

#[cfg(test)]
mod tests;
