//! One packet: a tree of lives.
//!
//! The kernel copies a packet (to several ports, to a listener, into fragments), and each copy
//! lives and dies by itself. What became of the packet is judged over all of them, in
//! [`crate::reconstruct::fate`].

use std::rc::Rc;

use crate::reconstruct::ovs::{OvsEnd, Passage};
use crate::reconstruct::segment::Misfit;
use crate::reconstruct::sight::Sight;
use crate::record::{Address, HookName, Hop};

/// One copy of a packet, for as long as the kernel keeps the same skb.
#[derive(Debug)]
pub struct Life {
    /// Its identity in the trace.
    pub id: u64,
    /// Where it was seen last, by any hook.
    pub last: Rc<Sight>,
    /// The last device it entered or left.
    pub port: Option<Rc<Sight>>,
    /// The socket that took it; cleared when it goes on (a tunnel's socket hands it further).
    pub delivered: Option<Rc<Sight>>,
    /// The drop or consume that ended it.
    pub freed: Option<Rc<Sight>>,
    /// How Open vSwitch ended it, where that is who did.
    pub ovs_end: Option<OvsEnd>,
    /// It is a fragment of the packet.
    pub is_fragment: bool,
    /// Where the kernel keeps it.
    skb: Option<Address>,
}

impl Life {
    fn new(id: u64, sight: &Rc<Sight>) -> Self {
        Self {
            id,
            last: sight.clone(),
            port: None,
            delivered: None,
            freed: None,
            ovs_end: None,
            is_fragment: sight.fragment.is_some(),
            skb: None,
        }
    }

    /// What a socket has taken is no longer followed where its end may go unseen (TCP frees without
    /// a tracepoint). An end of the same skb seen then nevertheless comes as a new life.
    pub fn ends_with(&self, sight: &Sight) -> bool {
        matches!(sight.hook, HookName::Drop | HookName::Consume)
            && self.delivered.is_some()
            && self.freed.is_none()
            && self.skb.is_some()
            && self.skb == sight.skb
            && may_be_same_skb(&self.last, sight)
    }

    /// Nothing has ended it, and this is where the kernel keeps it.
    pub fn is_held_at(&self, skb: Option<Address>) -> bool {
        self.freed.is_none() && self.delivered.is_none() && skb.is_some() && self.skb == skb
    }

    fn see(&mut self, sight: &Rc<Sight>) {
        match sight.hook {
            HookName::Deliver => self.delivered = Some(sight.clone()),
            HookName::Drop | HookName::Consume => self.freed = Some(sight.clone()),
            _ if sight.is_port() => {
                self.port = Some(sight.clone());
                self.delivered = None;
                self.freed = None;
                self.ovs_end = None;
            }
            _ => {}
        }
        self.is_fragment |= sight.fragment.is_some();
        self.skb = sight.skb.or(self.skb);
        self.last = sight.clone();
    }
}

/// Whether two sights of one address can be of the same skb: the kernel uses an address again as soon as
/// it is free, for a copy in another namespace, say.
fn may_be_same_skb(a: &Sight, b: &Sight) -> bool {
    let netns = |s: &Sight| s.site.netns.as_ref().map(|n| n.inode);
    let same_netns = netns(a).zip(netns(b)).is_none_or(|(a, b)| a == b);
    same_netns && a.pkt_type.zip(b.pkt_type).is_none_or(|(a, b)| a == b)
}

/// A place, for telling a second sighting of one packet from a repetition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    netns: u32,
    ifindex: u32,
    hook: HookName,
    fragment: Option<u32>,
    /// Open vSwitch runs actions on one packet again after each recirculation.
    recirc_id: Option<u32>,
}

impl Position {
    /// Where this hop is.
    pub fn of(hop: &Hop) -> Self {
        Self {
            netns: hop.netns.as_ref().map_or(0, |n| n.inode),
            ifindex: hop.dev.as_ref().map_or(0, |d| d.ifindex),
            hook: hop.hook,
            fragment: hop.ip.and_then(|ip| ip.frag_offset),
            recirc_id: hop.ovs.as_ref().and_then(|ovs| ovs.recirc_id),
        }
    }

    /// Another hook of the same device.
    #[must_use]
    pub fn at(self, hook: HookName) -> Self {
        Self { hook, ..self }
    }
}

/// How many copies of one packet are told apart; a flood beyond that counts as further packets.
pub const MAX_LIVES: usize = 256;
/// How many places are remembered per packet.
const MAX_POSITIONS: usize = 512;

/// One packet.
#[derive(Debug)]
pub struct Packet {
    /// Its number in the trace.
    pub number: u64,
    /// Its flow; `None` until a hop shows its tuple.
    pub flow: Option<u64>,
    /// Hops so far.
    pub hops: u32,
    /// Where it was seen first.
    pub first: Rc<Sight>,
    /// Where it was seen last.
    pub last: Rc<Sight>,
    /// The latest time at which it was seen, nanoseconds since the trace began.
    pub last_ts: u64,
    /// Its copies, in order of appearance; never empty.
    pub lives: Vec<Life>,
    /// Lives that turned out to be one of those: an skb that a socket took is a new life at its end.
    pub aliases: Vec<u64>,
    /// Its hops in Open vSwitch's datapath.
    pub passage: Passage,
    /// How its numbers do not fit those of its connection before it, of TCP.
    pub misfit: Option<Misfit>,
    /// It was seen first before all probes were attached.
    pub is_early: bool,
    /// It counts among those that have an outcome.
    pub counted: bool,
    /// When it is looked at next, to be settled; nanoseconds since the trace began.
    pub wake: u64,
    positions: Vec<(Position, u64)>,
}

impl Packet {
    /// A packet at its first hop, which is still to be given to [`Packet::see`].
    pub fn new(number: u64, first: Rc<Sight>) -> Self {
        Self {
            number,
            flow: None,
            hops: 0,
            last: first.clone(),
            last_ts: first.ts,
            first,
            // Most have one.
            lives: Vec::with_capacity(1),
            aliases: Vec::new(),
            passage: Passage::default(),
            misfit: None,
            is_early: false,
            counted: false,
            wake: u64::MAX,
            positions: Vec::new(),
        }
    }

    /// Another hop. Gives back where the same copy was seen before, or else the packet.
    pub fn see(&mut self, life: u64, at: Position, sight: Rc<Sight>) -> Option<Rc<Sight>> {
        let before = (self.hops > 0).then(|| self.last.clone());
        self.hops = self.hops.saturating_add(1);
        self.last_ts = self.last_ts.max(sight.ts);
        if sight.hook == HookName::OvsAnswer {
            // Nothing happens to the packet: it is gone, or stays where it is.
            self.passage.see(life, &sight);
            return None;
        }
        let known = self.lives.iter().position(|l| l.id == life || l.ends_with(&sight));
        let full = self.lives.len() >= MAX_LIVES;
        self.passage.see(life, &sight);
        let ovs_end = match sight.hook {
            HookName::Drop | HookName::Consume => self.passage.end_of(life, &sight),
            _ => None,
        };
        let previous = if let Some(i) = known.or_else(|| full.then_some(MAX_LIVES - 1)) {
            let is_alias = known.is_some() && life != 0 && self.lives[i].id != life;
            if is_alias && self.aliases.len() < MAX_LIVES && !self.aliases.contains(&life) {
                self.aliases.push(life);
            }
            let previous = self.lives[i].last.clone();
            self.lives[i].see(&sight);
            self.lives[i].ovs_end = ovs_end.or(self.lives[i].ovs_end.take());
            Some(previous)
        } else {
            let mut new = Life::new(life, &sight);
            new.see(&sight);
            new.ovs_end = ovs_end;
            self.lives.push(new);
            before
        };
        if self.positions.len() < MAX_POSITIONS && !self.positions.contains(&(at, life)) {
            self.positions.push((at, life));
        }
        self.last = sight;
        previous
    }

    /// Takes up again what is left of a packet that was settled too early: its copies, where it
    /// ended, and how many hops it had made.
    pub fn resume(&mut self, lives: &[u64], last: &Rc<Sight>, hops: u32) {
        for id in lives {
            let mut life = Life::new(*id, last);
            life.see(last);
            life.freed = None;
            self.lives.push(life);
        }
        self.last = last.clone();
        self.last_ts = last.ts;
        self.hops = hops;
    }

    /// Whether another copy was at this place already.
    pub fn was_at(&self, at: Position) -> bool {
        self.positions.iter().any(|(p, _)| *p == at)
    }

    /// Whether `ovs-vswitchd` has the packet, or a copy of it, and has not handed it back.
    pub fn awaits_answer(&self) -> bool {
        self.lives.iter().any(|life| {
            let upcall = match &life.ovs_end {
                Some(OvsEnd::WentUp(upcall)) => upcall,
                // It may come back before the kernel has let go of what went up.
                None if life.last.upcall().is_some_and(|up| up.result.is_none()) => &life.last,
                _ => return false,
            };
            !self.passage.is_answered(upcall) && !self.passage.is_to_be_dropped(life.id, upcall)
        })
    }

    /// The namespaces that it was seen in, in order.
    pub fn namespaces(&self) -> impl Iterator<Item = u32> + '_ {
        self.positions.iter().map(|(at, _)| at.netns).filter(|netns| *netns != 0)
    }

    /// Whether it may have one more copy.
    pub fn has_room(&self) -> bool {
        self.lives.len() < MAX_LIVES
    }
}
