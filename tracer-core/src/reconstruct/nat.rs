//! Where a flow's packets are translated, and which of its replies were not translated back.

mod due;

use std::collections::VecDeque;
use std::rc::Rc;

use self::due::Return;
use crate::reconstruct::everyday;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::flow::Direction;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tracked::Tracked;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{HookName, Proto, TcpFlags};

/// How many translations of one flow are told apart.
const MAX_STEPS: usize = 4;
/// How many namespaces are remembered on each side of a translation, and how many tuples that the
/// client sent as they are.
const MAX_SIDES: usize = 8;
/// How many replies are remembered on their way through a namespace that translates.
const MAX_PASSING: usize = 16;

/// One translation that packets of the flow's first direction underwent.
#[derive(Clone, Debug)]
pub struct Step {
    /// Before.
    pub from: FlowTuple,
    /// After.
    pub to: FlowTuple,
    /// The hop that showed it first, in the namespace where it is made.
    pub at: Rc<Sight>,
    /// Where the same copy was seen before that.
    pub before: Option<Rc<Sight>>,
    /// The entry by which it is made.
    pub entry: Option<Tracked>,
    /// A rule of Open vSwitch's rewrote the addresses, without conntrack.
    pub by_rule: bool,
    /// Namespaces that packets passed before it, its own left out.
    sooner: Vec<u32>,
    /// Namespaces that packets passed after it, its own left out.
    later: Vec<u32>,
}

impl Step {
    fn new(from: FlowTuple, to: FlowTuple, at: &Rc<Sight>, before: Option<&Rc<Sight>>) -> Self {
        Self {
            from,
            to,
            at: at.clone(),
            before: before.cloned(),
            entry: None,
            by_rule: false,
            sooner: Vec::new(),
            later: Vec::new(),
        }
    }

    fn is(&self, from: FlowTuple, to: FlowTuple, at: &Sight) -> bool {
        (self.from, self.to) == (from, to) && self.netns() == inode(at)
    }

    /// A reply with this tuple has not been translated back, or not at both ends.
    pub fn is_left_in(&self, reply: FlowTuple) -> bool {
        let (src, dst) = ((reply.src, reply.sport), (reply.dst, reply.dport));
        let far = |t: FlowTuple| (t.dst, t.dport) == src;
        let near = |t: FlowTuple| (t.src, t.sport) == dst;
        (far(self.from) || far(self.to))
            && (near(self.from) || near(self.to))
            && reply != self.from.reversed()
    }

    /// A reply that began as the answer to what was translated has been rewritten on its way to
    /// something else than what the client awaits.
    fn is_rewritten(&self, first: FlowTuple, reply: FlowTuple) -> bool {
        let near = |t: FlowTuple| (t.src, t.sport) == (reply.dst, reply.dport);
        first == self.to.reversed() && first != reply && (near(self.from) || near(self.to))
    }

    /// It is known where it is made: an entry there tells, or it was seen there before and after.
    pub fn is_placed(&self) -> bool {
        let before = self.before.as_deref().and_then(inode);
        self.entry.is_some() || (before.is_some() && before == self.netns())
    }

    /// Its packets carried no entry that translates where they left the host that had translated
    /// them. (Open vSwitch may take the entry off again, `ct_clear`.)
    pub fn is_without_entry(&self) -> bool {
        let in_datapath = |s: &Sight| {
            let dev = s.site.dev.as_deref().and_then(|dev| dev.master.as_deref());
            s.is_datapath() || dev == Some("ovs-system")
        };
        self.is_placed()
            && self.at.hook == HookName::TcEgress
            && self.at.ct.as_ref().is_none_or(|ct| ct.translation().is_none())
            && ![Some(&self.at), self.before.as_ref()].into_iter().flatten().any(|s| in_datapath(s))
    }

    /// The source is translated.
    pub fn is_source(&self) -> bool {
        (self.from.src, self.from.sport) != (self.to.src, self.to.sport)
    }

    /// The destination is translated.
    pub fn is_destination(&self) -> bool {
        (self.from.dst, self.from.dport) != (self.to.dst, self.to.dport)
    }

    fn netns(&self) -> Option<u32> {
        inode(&self.at)
    }
}

/// What is known of a flow's translations.
#[derive(Clone, Debug, Default)]
pub struct Nat {
    /// In the order of their discovery.
    pub steps: Vec<Step>,
    /// RSTs by which the client refused an untranslated reply.
    pub resets: Vec<u64>,
    /// What the client sent to the far end's own address: those answers need no translation.
    direct: Vec<FlowTuple>,
    /// Where replies were seen last in each namespace that translates, by packet.
    passing: VecDeque<(u64, Rc<Sight>)>,
    /// When the connection was closed by both ends, or reset.
    closed: Option<u64>,
    fins: u8,
    /// As what the flow's packets left a namespace, or died in it when its translations were over:
    /// the namespace, the tuple, the entry.
    pub left: Vec<(u32, FlowTuple, Option<Tracked>)>,
}

fn inode(sight: &Sight) -> Option<u32> {
    sight.site.netns.as_ref().map(|n| n.inode)
}

fn remember<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if all.len() < MAX_SIDES && !all.contains(&one) {
        all.push(one);
    }
}

impl Nat {
    /// One more hop of a packet of the flow; `before` is where the same copy was seen before.
    pub fn see(
        &mut self,
        direction: Direction,
        packet: &Packet,
        before: Option<&Rc<Sight>>,
        sight: &Rc<Sight>,
    ) {
        let whole = sight.fragment.is_none_or(|at| at == 0) && sight.about().is_none();
        let Some(tuple) = sight.tuple.filter(|_| whole) else {
            return;
        };
        let is_first = packet.hops == 1;
        if is_first {
            self.follow_connection(direction, packet, sight);
        }
        match direction {
            Direction::Forward => {
                self.see_change(packet, before, sight, tuple);
                self.see_entry(packet, sight, tuple);
                self.see_direct(is_first, packet, sight, tuple);
                self.see_left(sight, tuple);
                for step in self.steps.iter_mut().filter(|s| s.to == tuple) {
                    if let Some(netns) = inode(sight).filter(|n| step.netns() != Some(*n)) {
                        remember(&mut step.later, netns);
                    }
                }
            }
            Direction::Reply => {
                let here = inode(sight).is_some();
                if here && self.steps.iter().any(|s| s.netns() == inode(sight)) {
                    self.passing.retain(|(number, known)| {
                        *number != packet.number || inode(known) != inode(sight)
                    });
                    self.passing.push_back((packet.number, sight.clone()));
                    if self.passing.len() > MAX_PASSING {
                        self.passing.pop_front();
                    }
                }
            }
        }
    }

    /// Whether the connection stands: what comes after its end is not translated any more.
    fn follow_connection(&mut self, direction: Direction, packet: &Packet, sight: &Sight) {
        let Some(flags) = sight.tcp else { return };
        if flags.is_syn() {
            (self.closed, self.fins) = (None, 0);
        }
        if flags.is_fin() {
            self.fins |= if direction == Direction::Forward { 1 } else { 2 };
        }
        // That which refuses an untranslated reply is none of the connection's own.
        let resets = flags.is_reset() && !self.is_beside(&packet.first);
        if (resets || self.fins == 3) && self.closed.is_none() {
            self.closed = Some(packet.first.ts);
        }
    }

    /// The same copy of a packet shows another tuple than before.
    fn see_change(
        &mut self,
        packet: &Packet,
        before: Option<&Rc<Sight>>,
        sight: &Rc<Sight>,
        to: FlowTuple,
    ) {
        let Some((before, from)) = before.and_then(|b| Some((b, b.tuple?))) else {
            return;
        };
        let comparable = from.proto == to.proto && from.sport.is_some() == to.sport.is_some();
        if from == to || !comparable || before.tunnel != sight.tunnel {
            return;
        }
        self.add(packet, Some(before), sight, from, to);
    }

    /// The entry tells what is made of the flow's packets, also where no hop shows them before.
    fn see_entry(&mut self, packet: &Packet, sight: &Rc<Sight>, tuple: FlowTuple) {
        let Some(tracked) = sight.ct.as_deref() else { return };
        let Some((from, to)) = tracked.translation().filter(|(a, b)| tuple == *a || tuple == *b)
        else {
            return;
        };
        self.add(packet, None, sight, from, to);
        if let Some(step) = self.steps.iter_mut().find(|s| s.is(from, to, sight)) {
            step.entry = Some(*tracked);
        }
    }

    fn add(
        &mut self,
        packet: &Packet,
        before: Option<&Rc<Sight>>,
        at: &Rc<Sight>,
        from: FlowTuple,
        to: FlowTuple,
    ) {
        let found = self.steps.iter().position(|s| s.is(from, to, at));
        if found.is_none() && self.steps.len() >= MAX_STEPS {
            return;
        }
        let found = found.unwrap_or_else(|| {
            let mut step = Step::new(from, to, at, before);
            step.by_rule = at.is_datapath() && packet.passage.rewrites_without_conntrack();
            self.steps.push(step);
            self.steps.len() - 1
        });
        let Some(step) = self.steps.get_mut(found) else { return };
        if at.tuple == Some(to) && before.is_some() {
            for netns in packet.namespaces().filter(|n| Some(*n) != inode(at)) {
                remember(&mut step.sooner, netns);
            }
        }
    }

    fn see_left(&mut self, sight: &Sight, tuple: FlowTuple) {
        let over = is_egress(sight)
            || (sight.hook == HookName::Drop && everyday::is_past_prerouting(sight));
        let Some(netns) = inode(sight).filter(|_| over) else { return };
        let known = self.left.iter().any(|(n, t, _)| (*n, *t) == (netns, tuple));
        if !known && self.left.len() < MAX_SIDES {
            // Most have one: a vector that grows by itself begins with room for four.
            self.left.reserve_exact(1);
            self.left.push((netns, tuple, sight.ct.as_deref().copied()));
        }
    }

    /// The client sends to the far end's own address: RSTs refuse an untranslated reply, all else
    /// is a conversation without translation.
    fn see_direct(&mut self, is_first: bool, packet: &Packet, sight: &Sight, tuple: FlowTuple) {
        if !is_first || !self.steps.iter().any(|s| s.to == tuple && s.is_upstream(sight)) {
            return;
        }
        // Its own host has translated it before it came to a device.
        if sight.origin().is_some() {
            return;
        }
        if sight.tcp.is_some_and(TcpFlags::is_reset) {
            if self.resets.len() < MAX_SIDES {
                self.resets.push(packet.number);
            }
        } else {
            remember(&mut self.direct, tuple);
        }
    }

    /// The step that was not undone for this reply, if there is one.
    pub fn untranslated(&self, packet: &Packet, opening: &Sight, fate: &Fate) -> Option<&Step> {
        let tuple = fate.at.tuple?;
        let late = self.closed.is_some_and(|at| at < packet.first.ts);
        if late || self.direct.contains(&tuple.reversed()) || packet.first.about().is_some() {
            return None;
        }
        // What a TCP socket takes is of its own connection: it is looked up by both ends.
        if fate.at.hook == HookName::Deliver && tuple.proto == Proto::Tcp {
            return None;
        }
        self.shown(packet.first.tuple, tuple).find(|step| {
            let passing = self.passing(step, &[packet.number]).map(|sight| &**sight);
            step.was_due(&Return { packet, opening, fate, tuple, passing })
        })
    }

    /// On the client's side, and yet as the flow's packets look behind their translation: it may be
    /// a conversation of its own with the far end's own address.
    pub fn is_beside(&self, sight: &Sight) -> bool {
        let Some(tuple) = sight.tuple.filter(|_| sight.about().is_none()) else { return false };
        let mut steps = self.steps.iter().filter(|s| s.to == tuple || s.to.reversed() == tuple);
        steps.any(|step| !step.sooner.is_empty() && step.is_upstream(sight))
    }

    /// It begins such a conversation: an RST only refuses an untranslated reply of this flow.
    pub fn begins_beside(&self, sight: &Sight) -> bool {
        let out = self.steps.iter().any(|step| Some(step.to) == sight.tuple);
        out && !sight.tcp.is_some_and(TcpFlags::is_reset) && self.is_beside(sight)
    }

    /// An entry that translates like this is another connection's: it comes to the same by another
    /// way.
    pub fn is_of_another(&self, from: FlowTuple, to: FlowTuple) -> bool {
        let known = self.steps.iter().any(|step| step.from == from || step.from == to);
        let same_end = self.steps.iter().any(|step| step.entry.is_some() && step.to == to);
        same_end && !known
    }

    /// The step that a reply with this tuple, which began as `first`, still shows.
    pub fn undone_for(&self, first: Option<FlowTuple>, reply: FlowTuple) -> Option<&Step> {
        self.shown(first, reply).next()
    }

    /// The steps that a reply still shows.
    fn shown(&self, first: Option<FlowTuple>, reply: FlowTuple) -> impl Iterator<Item = &Step> {
        let undone = self.steps.iter().any(|step| step.from.reversed() == reply);
        let first = first.filter(|_| !undone);
        self.steps.iter().filter(move |step| {
            reply.proto == step.from.proto
                && (step.is_left_in(reply) || first.is_some_and(|f| step.is_rewritten(f, reply)))
        })
    }

    /// Which way a packet goes that looks like this on one side of a translation.
    pub fn direction(&self, tuple: &FlowTuple) -> Option<Direction> {
        let is = |t: FlowTuple| self.steps.iter().any(|s| s.from == t || s.to == t);
        match (is(*tuple), is(tuple.reversed())) {
            (true, false) => Some(Direction::Forward),
            (false, true) => Some(Direction::Reply),
            _ => None,
        }
    }

    /// Where one of these replies was seen last in the namespace that makes this translation.
    pub fn passing(&self, step: &Step, packets: &[u64]) -> Option<&Rc<Sight>> {
        let there = |(number, sight): &&(u64, Rc<Sight>)| {
            packets.contains(number) && inode(sight) == step.netns()
        };
        self.passing.iter().find(there).map(|(_, sight)| sight)
    }
}

fn is_egress(at: &Sight) -> bool {
    matches!(at.hook, HookName::TcEgress | HookName::OvsOutput)
}

#[cfg(test)]
mod tests;
