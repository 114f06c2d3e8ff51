//! Harm that befell packets of a flow.

use std::rc::Rc;
use std::sync::Arc;

use super::Direction;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::gaps::{Doubt, Missing};
use crate::reconstruct::kinds::Kinds;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::pieces::Pieces;
use crate::reconstruct::segment::Misfit;
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome, OvsTrace};

/// How many packets are named as evidence of one kind of loss.
const MAX_EVIDENCE: usize = 8;

/// One kind of harm that befell packets of the flow: same outcome, place, reason and direction.
#[derive(Clone, Debug)]
pub struct Loss {
    /// In the terms of a record.
    pub outcome: Outcome,
    /// Which way they went.
    pub direction: Direction,
    /// How many.
    pub count: u64,
    /// What they were.
    pub kinds: Kinds,
    /// They arrived, and nobody answered.
    pub unanswered: bool,
    /// They came before all probes were attached.
    pub is_early: bool,
    /// How many of them ended in `ovs-vswitchd`, whose answer the others met.
    pub asked: u64,
    /// The first of them, by number.
    pub evidence: Vec<u64>,
    /// Where the first of them was seen first.
    pub first: Rc<Sight>,
    /// How the first one's numbers did not fit those before.
    pub misfit: Option<Misfit>,
    /// On what it depends that their end is not known: what of it was lost may be their end. `None` where
    /// it is, and where they could not be waited for.
    pub doubt: Option<Doubt>,
    /// What was lost of that.
    pub missing: Option<Missing>,
    /// Where that one came to harm.
    pub at: Rc<Sight>,
    /// The device that it entered or left before.
    pub before: Option<Rc<Sight>>,
    /// Its hops in Open vSwitch's datapath.
    pub passage: Vec<Rc<Sight>>,
    /// Of a fragment that waits for others, or did: what came of the first one's datagram.
    pub pieces: Option<Pieces>,
    /// What Open vSwitch's tables do with it, where they were asked.
    pub owner: Option<Arc<OvsTrace>>,
    /// When the latest of them was first seen.
    pub last_ts: u64,
}

/// One packet that came to harm.
pub(super) struct One<'a> {
    pub number: u64,
    pub first: &'a Rc<Sight>,
    pub misfit: Option<Misfit>,
    /// It arrived, and nobody answered.
    pub unanswered: bool,
    /// It came before all probes were attached.
    pub is_early: bool,
}

impl<'a> One<'a> {
    pub fn of(packet: &'a Packet) -> Self {
        let Packet { number, first, misfit, is_early, .. } = packet;
        let (number, misfit, is_early) = (*number, *misfit, *is_early);
        Self { number, first, misfit, unanswered: false, is_early }
    }
}

impl Loss {
    /// One more; without a fate one that went up to `ovs-vswitchd`, whose answer these tell.
    pub(super) fn add(&mut self, packet: &One<'_>, fate: Option<&Fate>) {
        self.count += 1;
        self.kinds.add(packet.first);
        self.asked += u64::from(fate.is_none_or(|f| f.at.hook == HookName::OvsUpcall));
        self.last_ts = self.last_ts.max(packet.first.ts);
        let doubt = fate.and_then(|fate| fate.doubt);
        self.doubt = self.doubt.map(|own| doubt.map_or(own, |doubt| own.and(doubt)));
        if (packet.first.ts, packet.number) < (self.first.ts, self.lowest()) {
            self.first = packet.first.clone();
            self.misfit = packet.misfit;
            if let Some(fate) = fate.filter(|f| is_same_place(&f.at, &self.at)) {
                self.at = fate.at.clone();
                self.before = fate.before.clone();
                self.passage = fate.passage.clone();
                self.pieces = fate.pieces;
            }
        }
        self.evidence.push(packet.number);
        self.evidence.sort_unstable();
        self.evidence.truncate(MAX_EVIDENCE);
    }

    /// One of them is none; `first`: where it was seen, or any other sight of it.
    pub(super) fn take(&mut self, number: u64, first: &Sight) {
        self.count = self.count.saturating_sub(1);
        self.kinds.take(first);
        self.evidence.retain(|n| *n != number);
    }

    /// The lowest number among them.
    pub fn lowest(&self) -> u64 {
        self.evidence.first().copied().unwrap_or(u64::MAX)
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
        self.kinds.add_all(&other.kinds);
        self.asked += other.asked;
        self.last_ts = self.last_ts.max(other.last_ts);
        self.doubt = self.doubt.map(|own| other.doubt.map_or(own, |doubt| own.and(doubt)));
        self.evidence.extend(&other.evidence);
        self.evidence.sort_unstable();
        self.evidence.truncate(MAX_EVIDENCE);
        if other.first.ts < self.first.ts {
            self.first = other.first.clone();
            self.misfit = other.misfit;
        }
    }
}

/// Whether two came to their end at one place, and for one reason.
pub(super) fn is_same_place(a: &Sight, b: &Sight) -> bool {
    let netns = |s: &Sight| s.site.netns.as_ref().map(|n| n.inode);
    let ifindex = |s: &Sight| s.site.dev.as_ref().map(|d| d.ifindex);
    a.hook == b.hook
        && a.upcall() == b.upcall()
        && netns(a) == netns(b)
        && ifindex(a) == ifindex(b)
        && (!matches!(a.hook, HookName::Drop | HookName::Consume)
            || (a.raw_reason() == b.raw_reason() && a.symbol() == b.symbol()))
}
