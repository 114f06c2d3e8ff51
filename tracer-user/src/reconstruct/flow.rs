//! One flow: what its packets came to, folded so that it stays small however long it lives.

use std::sync::Arc;

use crate::model::{Conntrack, HookName, Netfilter, Outcome, OvsTrace, Routing, TcpFlags};
use crate::reconstruct::fate::Fate;
use crate::reconstruct::nat::Nat;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::related::Related;
use crate::reconstruct::segment::{Misfit, Numbers};
use crate::reconstruct::services::Passed;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::{FlowKey, FlowTuple};

/// How many packets are named as evidence of one kind of loss.
const MAX_EVIDENCE: usize = 8;
/// How many kinds of loss are told apart in one flow; the rest count with the last of them.
const MAX_LOSSES: usize = 16;
/// How many tuples one flow is known by; past that a translation is shown but not followed.
const MAX_KEYS: usize = 8;

/// Which way a packet goes, seen from the flow's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet.
    Forward,
    /// Against it.
    Reply,
}

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
    pub arrived: Option<Arc<Sight>>,
    /// When the latest good one was first seen.
    pub last_good_ts: u64,
    /// Openings (SYN without ACK) among the packets.
    pub syns: u64,
}

/// One kind of harm that befell packets of the flow: same outcome, place, reason and direction.
#[derive(Clone, Debug)]
pub struct Loss {
    /// In the terms of a record.
    pub outcome: Outcome,
    /// Which way they went.
    pub direction: Direction,
    /// How many.
    pub count: u64,
    /// How many of them ended in `ovs-vswitchd`, whose answer the others met.
    pub asked: u64,
    /// Some of them, by number.
    pub evidence: Vec<u64>,
    /// Where the first of them was seen first.
    pub first: Arc<Sight>,
    /// How the first one's numbers did not fit those before.
    pub misfit: Option<Misfit>,
    /// Where it came to harm.
    pub at: Arc<Sight>,
    /// The device that it entered or left before.
    pub before: Option<Arc<Sight>>,
    /// Its hops in Open vSwitch's datapath.
    pub passage: Vec<Arc<Sight>>,
    /// What Open vSwitch's tables do with it, where they were asked.
    pub owner: Option<Arc<OvsTrace>>,
    /// When the latest of them was first seen.
    pub last_ts: u64,
}

/// What counting a packet came to.
#[derive(Debug)]
pub struct Folded {
    /// Its outcome, in the light of the flow's other packets.
    pub outcome: Outcome,
    /// Packets counted before whose outcome is now this one's.
    pub retold: Vec<u64>,
}

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its number in the trace, from 1.
    pub number: u64,
    /// As its first packet showed it.
    pub forward: Option<FlowTuple>,
    /// As it was after translation, in the direction of `forward`.
    pub translated: Option<FlowTuple>,
    /// The first packet's first place, by which the flow is called.
    pub opening: Arc<Sight>,
    /// The first packet's direction.
    pub out: Side,
    /// The replies.
    pub back: Side,
    /// What went wrong.
    pub losses: Vec<Loss>,
    /// When it was seen first, nanoseconds since the trace began.
    pub first_ts: u64,
    /// When it was seen last.
    pub last_ts: u64,
    /// Events were lost while it was traced.
    pub incomplete: bool,
    /// How many of its packets are not settled.
    pub open: u64,
    /// The keys by which its packets are found.
    pub keys: Vec<FlowKey>,
    /// The key that it shares with a flow that looks the same behind its translation.
    pub direct: Option<FlowKey>,
    /// Its translations.
    pub nat: Box<Nat>,
    /// ICMP errors about it.
    pub related: Vec<Related>,
    /// What conntrack answered when it was asked about it.
    pub answers: Vec<Arc<Conntrack>>,
    /// The translation that others to the same address underwent, and this flow did not.
    pub passed: Option<Box<Passed>>,
    /// The rules that may have dropped packets of it.
    pub rules: Vec<Arc<Netfilter>>,
    /// What was said of the destinations of packets that were not sent on.
    pub routing: Vec<Arc<Routing>>,
    /// What its sides have sent, of TCP.
    pub numbers: Numbers,
}

impl Flow {
    /// A flow at its first packet's first readable place.
    pub fn new(number: u64, opening: Arc<Sight>) -> Self {
        Self {
            number,
            forward: opening.tuple,
            translated: None,
            out: Side::default(),
            back: Side::default(),
            losses: Vec::new(),
            first_ts: opening.ts,
            last_ts: opening.ts,
            opening,
            incomplete: false,
            open: 0,
            keys: Vec::new(),
            direct: None,
            nat: Box::default(),
            related: Vec::new(),
            answers: Vec::new(),
            passed: None,
            rules: Vec::new(),
            routing: Vec::new(),
            numbers: Numbers::default(),
        }
    }

    /// Packets whose fate is known.
    pub fn packets(&self) -> u64 {
        self.out.packets + self.back.packets
    }

    /// Packets delivered or forwarded.
    pub fn delivered(&self) -> u64 {
        self.out.good + self.back.good
    }

    /// The packets of one direction.
    pub fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Forward => &self.out,
            Direction::Reply => &self.back,
        }
    }

    /// Whether it may be known by one more tuple.
    pub fn has_room(&self) -> bool {
        self.keys.len() < MAX_KEYS
    }

    /// Which way a packet goes that shows this tuple first.
    pub fn direction(&self, tuple: Option<&FlowTuple>) -> Direction {
        let Some(t) = tuple else {
            return Direction::Forward;
        };
        let back = |own: &FlowTuple| own.reversed() == *t && *own != *t;
        let forward = [self.forward, self.translated].iter().flatten().any(|own| own == t);
        if forward {
            return Direction::Forward;
        }
        if [self.forward, self.translated].iter().flatten().any(back) {
            return Direction::Reply;
        }
        if let Some(direction) = self.nat.direction(t) {
            return direction;
        }
        // A tuple of a half-way translation (DNAT done, SNAT not): the ends tell.
        let from_client = self.forward.is_none_or(|own| t.src == own.src || t.dst == own.dst);
        if from_client { Direction::Forward } else { Direction::Reply }
    }

    /// One copy of a packet of this flow shows `now` where it showed `was` before: a translation.
    pub fn translate(&mut self, direction: Direction, now: FlowTuple) {
        if direction == Direction::Forward && self.forward.is_some_and(|own| own != now) {
            self.translated = Some(now);
        }
    }

    /// What became of a packet, seen as one of this flow: a reply that arrived is lost all the same
    /// where it was not translated back.
    pub fn judge(&self, packet: &Packet, mut fate: Fate) -> Fate {
        if self.direction_of(packet) == Direction::Reply
            && self.nat.untranslated(packet, &self.opening, &fate).is_some()
        {
            fate.outcome = Outcome::ReplyNotTranslated;
        }
        fate
    }

    /// Counts a settled packet.
    pub fn fold(&mut self, packet: &Packet, fate: &Fate) -> Folded {
        if packet.first.about().is_some() && self.opening.about().is_none() {
            Related::fold(&mut self.related, packet, fate);
            return Folded { outcome: fate.outcome, retold: Vec::new() };
        }
        let direction = self.direction_of(packet);
        let ts = packet.first.ts;
        let side = self.side_mut(direction);
        side.packets += 1;
        side.syns += u64::from(packet.first.tcp.is_some_and(TcpFlags::is_syn));
        if matches!(fate.outcome, Outcome::Delivered | Outcome::Forwarded) {
            side.good += 1;
            side.left += u64::from(fate.outcome == Outcome::Forwarded);
            side.last_good_ts = side.last_good_ts.max(ts);
            side.arrived = Some(fate.at.clone());
            return Folded { outcome: fate.outcome, retold: Vec::new() };
        }
        if let Some(decided) = self.decided_alike(direction, fate) {
            let loss = &mut self.losses[decided];
            loss.add(packet, true);
            return Folded { outcome: loss.outcome, retold: Vec::new() };
        }
        let at = self.fold_loss(packet, fate, direction);
        Folded { outcome: fate.outcome, retold: self.absorb_unanswered(at) }
    }

    /// Takes back what [`Flow::fold`] counted, for a packet that turns out not to be settled.
    pub fn unfold(&mut self, number: u64, direction: Direction, outcome: Outcome, was_syn: bool) {
        if Related::unfold(&mut self.related, number) {
            return;
        }
        let side = self.side_mut(direction);
        side.packets = side.packets.saturating_sub(1);
        side.syns = side.syns.saturating_sub(u64::from(was_syn));
        if matches!(outcome, Outcome::Delivered | Outcome::Forwarded) {
            side.good = side.good.saturating_sub(1);
            side.left = side.left.saturating_sub(u64::from(outcome == Outcome::Forwarded));
            return;
        }
        let same = |l: &&mut Loss| l.outcome == outcome && l.direction == direction;
        let by_evidence =
            self.losses.iter_mut().filter(same).find(|l| l.evidence.contains(&number));
        // Past MAX_EVIDENCE the packet is not named; it is one of those counted.
        if let Some(loss) = match by_evidence {
            Some(loss) => Some(loss),
            None => self.losses.iter_mut().filter(same).find(|l| l.count > l.evidence.len() as u64),
        } {
            loss.count -= 1;
            loss.evidence.retain(|n| *n != number);
        }
        self.losses.retain(|l| l.count > 0);
    }

    /// Which way a packet goes.
    pub fn direction_of(&self, packet: &Packet) -> Direction {
        self.direction(packet.first.tuple.or(packet.last.tuple).as_ref())
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Forward => &mut self.out,
            Direction::Reply => &mut self.back,
        }
    }

    /// Counts a loss; gives back which of the losses it is counted with.
    fn fold_loss(&mut self, packet: &Packet, fate: &Fate, direction: Direction) -> usize {
        let same = |l: &Loss| {
            l.outcome == fate.outcome && l.direction == direction && is_same_place(&l.at, &fate.at)
        };
        let asked = fate.at.hook == HookName::OvsUpcall;
        let full = self.losses.len() >= MAX_LOSSES;
        let known = self.losses.iter().position(same);
        if let Some(known) = known.or_else(|| full.then_some(MAX_LOSSES - 1)) {
            self.losses[known].add(packet, asked);
            return known;
        }
        self.losses.push(Loss {
            outcome: fate.outcome,
            direction,
            count: 1,
            asked: u64::from(asked),
            evidence: vec![packet.number],
            first: packet.first.clone(),
            misfit: packet.misfit,
            at: fate.at.clone(),
            before: fate.before.clone(),
            passage: fate.passage.clone(),
            owner: None,
            last_ts: packet.first.ts,
        });
        self.losses.len() - 1
    }
}

impl Loss {
    fn add(&mut self, packet: &Packet, asked: bool) {
        self.count += 1;
        self.asked += u64::from(asked);
        self.last_ts = self.last_ts.max(packet.first.ts);
        if packet.first.ts < self.first.ts {
            self.first = packet.first.clone();
            self.misfit = packet.misfit;
        }
        if self.evidence.len() < MAX_EVIDENCE {
            self.evidence.push(packet.number);
            self.evidence.sort_unstable();
        }
    }

    /// Counts with it what another counted of the same end. What was seen of it in the datapath tells
    /// more than that it went up to `ovs-vswitchd`.
    pub fn join(&mut self, mut other: Self) {
        if self.at.hook == HookName::OvsUpcall && other.at.hook != HookName::OvsUpcall {
            std::mem::swap(self, &mut other);
        }
        let asked = self.asked + other.asked;
        self.take_over(&other);
        self.asked = asked;
    }

    /// Takes over what another counted.
    pub fn take_over(&mut self, other: &Self) {
        self.count += other.count;
        self.asked += other.asked;
        self.last_ts = self.last_ts.max(other.last_ts);
        self.evidence.extend(&other.evidence);
        self.evidence.sort_unstable();
        self.evidence.truncate(MAX_EVIDENCE);
        if other.first.ts < self.first.ts {
            self.first = other.first.clone();
            self.misfit = other.misfit;
        }
    }
}

fn is_same_place(a: &Sight, b: &Sight) -> bool {
    let netns = |s: &Sight| s.netns.as_ref().map(|n| n.inode);
    let ifindex = |s: &Sight| s.dev.as_ref().map(|d| d.ifindex);
    a.hook == b.hook
        && a.upcall() == b.upcall()
        && netns(a) == netns(b)
        && ifindex(a) == ifindex(b)
        && (!matches!(a.hook, HookName::Drop | HookName::Consume)
            || (a.raw_reason() == b.raw_reason() && a.symbol() == b.symbol()))
}
