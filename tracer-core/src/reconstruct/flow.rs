//! One flow: what its packets came to, folded so that it stays small however long it lives.

mod doubts;
mod loss;
mod side;

use std::rc::Rc;
use std::sync::Arc;

pub use self::loss::Loss;
use self::loss::{One, is_same_place};
pub use self::side::Side;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::gaps::Doubt;
use crate::reconstruct::kinds::Kinds;
use crate::reconstruct::nat::Nat;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::part::Parts;
use crate::reconstruct::question::Questions;
use crate::reconstruct::related::Related;
use crate::reconstruct::segment::Numbers;
use crate::reconstruct::services::Passed;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::{FlowKey, FlowTuple};
use crate::reconstruct::twins::{Duplicate, Twins};
use crate::record::{Conntrack, HookName, Netfilter, Outcome, Routing};

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

/// Whether the first packet of a flow on the record is its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It is, as far as is known.
    Seen,
    /// Events were lost before it, and it does not look like the first.
    MayBeLost,
}

/// What counting a packet came to.
#[derive(Debug)]
pub struct Folded {
    /// Its outcome, in the light of the flow's other packets.
    pub outcome: Outcome,
    /// Packets counted before whose outcome is now this one's.
    pub retold: Vec<u64>,
    /// Packets counted before that turn out to be no loss, whatever became of them themselves.
    pub made_up_for: Vec<u64>,
}

impl Folded {
    fn plainly(outcome: Outcome) -> Self {
        Self { outcome, retold: Vec::new(), made_up_for: Vec::new() }
    }
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
    pub opening: Rc<Sight>,
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
    /// Whether its first packet on the record is its first.
    pub beginning: Beginning,
    /// Size of the ring buffer, bytes.
    pub ring: Option<u64>,
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
    /// What arrived, and what was discarded for having arrived before.
    twins: Twins,
    /// Only this direction matched the filter.
    pub one_way: bool,
    /// Where its packets have been.
    pub parts: Parts,
    /// How many packets were ever taken for its own.
    pub begun: u64,
    /// The end of one of them was seen: they do not go on where nothing is seen of them.
    pub ends_here: bool,
    /// What arrived and wants an answer.
    pub questions: Questions,
}

impl Flow {
    /// A flow at its first packet's first readable place.
    pub fn new(number: u64, opening: Rc<Sight>) -> Self {
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
            beginning: Beginning::Seen,
            ring: None,
            open: 0,
            // Most have one.
            keys: Vec::with_capacity(1),
            direct: None,
            nat: Box::default(),
            related: Vec::new(),
            answers: Vec::new(),
            passed: None,
            rules: Vec::new(),
            routing: Vec::new(),
            numbers: Numbers::default(),
            twins: Twins::default(),
            one_way: false,
            parts: Parts::default(),
            begun: 0,
            ends_here: false,
            questions: Questions::default(),
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
            && let Some(step) = self.nat.untranslated(packet, &self.opening, &fate)
        {
            fate.outcome = Outcome::ReplyNotTranslated;
            // Who asked and who answers, and where a translation is made, may look otherwise where some
            // of it was not seen.
            let is_known = step.is_placed() && self.begins();
            fate.doubt = (!is_known).then(|| Doubt::any_from(0));
        }
        fate
    }

    /// Counts a settled packet.
    pub fn fold(&mut self, packet: &Packet, fate: &Fate) -> Folded {
        if packet.first.about().is_some() && self.forward != packet.first.tuple {
            Related::fold(&mut self.related, packet, fate);
            return Folded::plainly(fate.outcome);
        }
        let direction = self.direction_of(packet);
        let side = self.side_mut(direction);
        side.packets += 1;
        side.kinds.add(&packet.first);
        self.questions.see(packet, direction);
        let side = self.side_mut(direction);
        if matches!(fate.outcome, Outcome::Delivered | Outcome::Forwarded) {
            side.arrive(packet, fate);
            self.questions.arrive(packet, fate, direction);
            let mut folded = Folded::plainly(fate.outcome);
            if fate.outcome == Outcome::Delivered {
                for duplicate in self.twins.arrive(packet, fate, direction) {
                    let cleared = self.clear(&duplicate);
                    if duplicate.is_repetition {
                        folded.retold.extend(cleared);
                    } else {
                        folded.made_up_for.extend(cleared);
                    }
                }
            }
            return folded;
        }
        if self.twins.discard(packet, fate, direction) {
            self.side_mut(direction).good += 1;
            return Folded::plainly(Outcome::Delivered);
        }
        if let Some(decided) = self.decided_alike(direction, fate) {
            let loss = &mut self.losses[decided];
            loss.add(&One::of(packet), None);
            return Folded::plainly(loss.outcome);
        }
        let at = self.fold_loss(&One::of(packet), fate, direction);
        Folded { retold: self.absorb_unanswered(at), ..Folded::plainly(fate.outcome) }
    }

    /// Takes back what [`Flow::fold`] counted, for a packet that turns out not to be settled.
    pub fn unfold(&mut self, number: u64, direction: Direction, outcome: Outcome, first: &Sight) {
        if Related::unfold(&mut self.related, number) {
            return;
        }
        self.twins.forget(number);
        self.questions.forget(number);
        let side = self.side_mut(direction);
        side.packets = side.packets.saturating_sub(1);
        side.kinds.take(first);
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
            loss.take(number, first);
        }
        self.losses.retain(|l| l.count > 0);
    }

    /// A packet that was counted as lost only repeated what had arrived: its number, where it was found
    /// among the losses.
    fn clear(&mut self, duplicate: &Duplicate) -> Option<u64> {
        let Duplicate { number, direction, at, .. } = duplicate;
        let is_its = |l: &&mut Loss| {
            l.outcome == Outcome::Dropped && l.direction == *direction && is_same_place(&l.at, at)
        };
        self.losses.iter_mut().find(is_its)?.take(*number, at);
        self.losses.retain(|l| l.count > 0);
        self.side_mut(*direction).good += 1;
        Some(*number)
    }

    /// The trace is over at `end`, nanoseconds since it began: what arrived and stayed without an answer
    /// did not reach whom it was for.
    pub fn miss_answers(&mut self, end: u64) {
        // What is lost from sight, or told by an ICMP error, may be the answer.
        if self.incomplete || !self.related.is_empty() {
            return;
        }
        for question in self.questions.unanswered(end) {
            let side = self.side_mut(question.direction);
            side.good = side.good.saturating_sub(1);
            side.left -= u64::from(question.counted == Outcome::Forwarded).min(side.left);
            let unanswered = !question.is_refused;
            let (number, first) = (question.number, &question.first);
            let packet = One { number, first, misfit: None, unanswered, is_early: false };
            self.fold_loss(&packet, &question.fate, question.direction);
        }
    }

    /// Brings what was counted into an order that does not depend on when its packets were settled.
    pub fn arrange(&mut self) {
        self.losses.sort_by_key(|l| (l.evidence.first().copied(), l.first.ts));
        self.related.sort_by_key(|r| (r.evidence.first().copied(), r.first.ts));
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
    fn fold_loss(&mut self, packet: &One<'_>, fate: &Fate, direction: Direction) -> usize {
        let is_unknown = fate.outcome == Outcome::Unknown;
        let same = |l: &Loss| {
            l.outcome == fate.outcome
                && l.direction == direction
                && (l.unanswered, l.is_early) == (packet.unanswered, packet.is_early)
                && l.pieces.is_some() == fate.pieces.is_some()
                // Where one that nobody answered was seen last is nobody's fault, nor where one was whose
                // end is not known.
                && (packet.unanswered || is_unknown || is_same_place(&l.at, &fate.at))
                && (!is_unknown || l.doubt.is_some() == fate.doubt.is_some())
        };
        let asked = fate.at.hook == HookName::OvsUpcall;
        // What is not known is not counted with what is.
        let alike = |l: &Loss| (l.outcome == Outcome::Unknown) == is_unknown;
        let full = self.losses.iter().filter(|l| alike(l)).count() >= MAX_LOSSES;
        let known = self.losses.iter().position(same);
        let last = || self.losses.iter().rposition(alike).filter(|_| full);
        if let Some(known) = known.or_else(last) {
            self.losses[known].add(packet, Some(fate));
            return known;
        }
        self.losses.push(Loss {
            outcome: fate.outcome,
            direction,
            count: 1,
            kinds: Kinds::one(packet.first),
            unanswered: packet.unanswered,
            is_early: packet.is_early,
            asked: u64::from(asked),
            evidence: vec![packet.number],
            first: packet.first.clone(),
            misfit: packet.misfit,
            doubt: fate.doubt.filter(|_| is_unknown),
            missing: None,
            at: fate.at.clone(),
            before: fate.before.clone(),
            passage: fate.passage.clone(),
            pieces: fate.pieces,
            owner: None,
            last_ts: packet.first.ts,
        });
        self.losses.len() - 1
    }
}
