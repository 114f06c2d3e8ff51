//! What Open vSwitch's datapath did with one packet, and how the packet's copies ended there.
//!
//! `kfree_skb` tells nothing of a drop by Open vSwitch before Linux 6.6: a packet whose actions send
//! it nowhere is consumed like one that was put to use. What tells is the list that was run last and
//! what followed it. A list is run to its end on one processor (`ovs_execute_actions`,
//! `net/openvswitch/actions.c`), so all its outputs lie between its hop and the end of the skb.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::reconstruct::Map;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::flow::{Direction, Flow, Loss};
use crate::reconstruct::identity::{SAME_WITHIN, is_handed_in};
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::{Cause, Sight};
use crate::record::{Drop, HookName, Hop, Outcome, Ovs, Upcall};

/// How many of a packet's hops in the datapath are remembered; a packet is recirculated some ten
/// times at most, and flooded to some hundred ports.
const MAX_STEPS: usize = 128;

/// How Open vSwitch ended a copy of the packet.
#[derive(Clone, Debug)]
pub enum OvsEnd {
    /// It was to go nowhere, or could not go where it was to.
    Dropped,
    /// Its copies went on instead.
    CopiesWentOn,
    /// It went up to `ovs-vswitchd`, at this hop. What comes back is a new skb.
    WentUp(Rc<Sight>),
    /// It was to go up to `ovs-vswitchd`, and could not: at this hop.
    Refused(Rc<Sight>),
}

/// A packet's hops in the datapath.
#[derive(Debug, Default)]
pub struct Passage {
    steps: Vec<(u64, Rc<Sight>)>,
    /// When `ovs-vswitchd` last handed the packet back.
    answered: Option<u64>,
}

impl Passage {
    /// Another hop of the copy `life`.
    pub fn see(&mut self, life: u64, sight: &Rc<Sight>) {
        let Some(ovs) = sight.ovs.as_deref() else { return };
        if ovs.from_userspace {
            self.answered = Some(sight.ts);
        }
        if self.steps.len() < MAX_STEPS {
            self.steps.push((life, sight.clone()));
        }
    }

    /// The packet was in the datapath.
    pub fn is_known(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether this end of a copy, which `sight` shows, is a drop for which the kernel has no event.
    pub fn is_silent_drop(&self, hop: &Hop, sight: &Sight) -> bool {
        hop.hook == HookName::Consume
            && matches!(self.end_of(hop.life, sight), Some(OvsEnd::Dropped))
    }

    /// Whether actions of Open vSwitch's set the packet's addresses or ports, and none lets conntrack
    /// translate.
    pub fn rewrites_without_conntrack(&self) -> bool {
        const SETS: &[&str] = &["set(ipv4(", "set(ipv6(", "set(tcp(", "set(udp(", "set(sctp("];
        let runs = self.steps.iter().filter(|(_, s)| s.hook == HookName::OvsActions);
        let facts: Vec<_> = runs.filter_map(|(_, s)| s.ovs.as_deref()).collect();
        let has = |words: &[&str]| {
            let lists = facts.iter().filter_map(|ovs| ovs.actions.as_deref());
            lists.into_iter().any(|list| words.iter().any(|word| list.contains(word)))
        };
        has(SETS) && !has(&["nat"]) && !facts.iter().any(|ovs| ovs.cut || ovs.actions.is_none())
    }

    /// Whether `ovs-vswitchd` handed the packet back since this upcall.
    pub fn is_answered(&self, upcall: &Sight) -> bool {
        self.answered.is_some_and(|ts| ts >= upcall.ts)
    }

    /// The flow that `ovs-vswitchd` installed when this copy went up, if it says drop: the packet does
    /// not come back then.
    pub fn is_to_be_dropped(&self, life: u64, upcall: &Sight) -> bool {
        let of_it = |s: &Sight| s.hook == HookName::OvsAnswer && s.pass() == upcall.pass();
        let answer = self.steps.iter().rfind(|(l, s)| *l == life && of_it(s));
        answer.is_some_and(|(_, s)| s.ovs.as_deref().is_some_and(says_drop))
    }

    /// The hops of this copy, and of those that it may be a copy of: whatever came before its own
    /// first one.
    pub fn of(&self, life: u64) -> Vec<Rc<Sight>> {
        let own = self.steps.iter().rposition(|(l, _)| *l == life);
        let until = own.map_or(self.steps.len(), |last| last + 1);
        let first = self.steps.iter().position(|(l, _)| *l == life).unwrap_or(until);
        let is_way = |s: &Sight| s.hook != HookName::OvsOutput;
        let steps = self.steps.get(..until).unwrap_or_default().iter().enumerate();
        steps
            .filter(|(i, (l, s))| *l == life || (*i < first && is_way(s)))
            .map(|(_, (_, s))| s.clone())
            .collect()
    }

    /// The list that was run last before `ts`: when, and whether it says drop and nothing else.
    pub fn last_run(&self, ts: u64) -> Option<(u64, bool)> {
        let runs = self.steps.iter().rev().filter(|(_, s)| s.hook == HookName::OvsActions);
        let (_, run) = runs.into_iter().find(|(_, s)| s.ts <= ts)?;
        Some((run.ts, run.ovs.as_deref().is_some_and(says_drop)))
    }

    /// How Open vSwitch ended the copy `life`, where it was Open vSwitch that did.
    pub fn end_of(&self, life: u64, freed: &Sight) -> Option<OvsEnd> {
        if !is_freed_by_ovs(freed.cause.as_deref()?) {
            return None;
        }
        let is_own = |(l, s): &&(u64, Rc<Sight>)| *l == life && s.hook != HookName::OvsAnswer;
        let own = self.steps.iter().rev().find(is_own).map(|(_, s)| s);
        if let Some(upcall) = own.filter(|s| s.hook == HookName::OvsUpcall) {
            return Some(match (&upcall.upcall()?.result, freed.hook) {
                (Some(_), _) => OvsEnd::Refused(upcall.clone()),
                (None, HookName::Drop) => OvsEnd::Dropped,
                (None, _) => OvsEnd::WentUp(upcall.clone()),
            });
        }
        let consumed = freed.hook == HookName::Consume;
        if !consumed && !is_end_of_list(freed) {
            return Some(OvsEnd::Dropped);
        }
        // Of a copy made within the list, the hop is another's.
        let is_run = |s: &Sight| s.hook == HookName::OvsActions;
        let mut runs = self.steps.iter().rev().filter(|(_, s)| is_run(s));
        let run = match own.filter(|s| is_run(s)) {
            Some(run) => run,
            None => &runs.next()?.1,
        };
        let went_on = self.steps.iter().any(|(l, s)| {
            *l != life
                && s.ts >= run.ts
                && matches!(s.hook, HookName::OvsOutput | HookName::OvsUpcall)
        });
        Some(if went_on { OvsEnd::CopiesWentOn } else { OvsEnd::Dropped })
    }
}

/// A drop of which the kernel gave no event, as far as the hop tells where it was.
pub fn silent_drop(hop: &Hop) -> Drop {
    let by = hop.by.as_ref();
    Drop {
        reason: None,
        subsystem: Some("openvswitch".to_owned()),
        symbol: by.map(|place| place.symbol.clone()),
        offset: by.map(|place| place.offset),
        silent: true,
    }
}

/// How many of the packets that went up last are remembered.
const MAX_ASKED: usize = 64;

/// The packets that went up last.
///
/// One of several segments (GSO) goes up, and comes back, segment by segment, each with a length and
/// mostly a sequence number of its own (`queue_gso_packets`, `net/openvswitch/datapath.c`).
#[derive(Debug, Default)]
pub struct Asked {
    latest: VecDeque<Question>,
}

/// A packet that went up.
#[derive(Debug)]
struct Question {
    packet: u64,
    /// Bytes that went up.
    len: u32,
    /// TCP sequence number.
    seq: Option<u32>,
}

impl Question {
    /// Whether this can be a segment of it.
    fn covers(&self, hop: &Hop) -> bool {
        let within = match (self.seq, hop.tcp.as_ref()) {
            (Some(seq), Some(tcp)) => tcp.seq.wrapping_sub(seq) < self.len,
            _ => true,
        };
        within && hop.len < self.len
    }
}

impl Asked {
    /// Another hop, of this packet.
    pub fn see(&mut self, hop: &Hop, packet: u64) {
        if hop.hook == HookName::OvsUpcall {
            self.latest.truncate(MAX_ASKED - 1);
            let seq = hop.tcp.as_ref().map(|tcp| tcp.seq);
            self.latest.push_front(Question { packet, len: hop.len, seq });
        }
    }

    /// The packet that this one, which `ovs-vswitchd` hands back, is a segment of.
    pub fn whole_of(&self, hop: &Hop, open: &Map<u64, Box<Packet>>) -> Option<u64> {
        if !is_handed_in(hop) {
            return None;
        }
        let is_whole = |packet: &Packet| {
            let last = &packet.last;
            last.tuple == hop.tuple
                && hop.ts.saturating_sub(packet.last_ts) < SAME_WITHIN
                && packet.has_room()
        };
        let covering = self.latest.iter().filter(|asked| asked.covers(hop));
        covering
            .map(|asked| asked.packet)
            .find(|n| open.get(n).is_some_and(|packet| is_whole(packet)))
    }
}

/// The kernel says that the list came to its end (since 6.6), which copies may have left.
pub fn is_end_of_list(freed: &Sight) -> bool {
    freed.raw_reason() == Some("OVS_DROP_LAST_ACTION")
}

fn is_freed_by_ovs(cause: &Cause) -> bool {
    cause.place().is_some_and(|(symbol, _)| is_ovs_function(symbol))
}

/// Whether the openvswitch module has this function: those of `net/openvswitch/` that free packets
/// and do not begin with `ovs_`.
pub fn is_ovs_function(symbol: &str) -> bool {
    symbol.starts_with("ovs_")
        || matches!(
            symbol,
            "do_execute_actions"
                | "clone_execute"
                | "clone"
                | "sample"
                | "do_output"
                | "execute_recirc"
                | "execute_check_pkt_len"
                | "dec_ttl_exception_handler"
                | "process_deferred_actions"
                | "output_userspace"
                | "internal_dev_recv"
                | "internal_dev_xmit"
                | "netdev_frame_hook"
                | "netdev_port_receive"
                | "handle_fragments"
        )
}

impl Sight {
    /// The upcall of an `ovs-upcall` hop.
    pub fn upcall(&self) -> Option<&Upcall> {
        self.ovs.as_deref()?.upcall.as_ref()
    }

    /// Where in the datapath's pipeline the packet is: by which port it came in, and in which
    /// recirculation it is. What has the same is decided alike.
    pub fn pass(&self) -> Option<(u32, u32)> {
        let ovs: &Ovs = self.ovs.as_deref()?;
        Some((ovs.in_port_no?, ovs.recirc_id?))
    }
}

/// The pass through the pipeline that ended in a drop, where the packet met a flow without actions:
/// that is how `ovs-vswitchd` answers an upcall for a packet that is to be dropped. The packet that
/// asked never comes back; those after it meet the flow.
fn dropping_pass(passage: &[Rc<Sight>]) -> Option<(u32, u32)> {
    let decides = |s: &&Rc<Sight>| matches!(s.hook, HookName::OvsActions | HookName::OvsAnswer);
    let run = passage.iter().rfind(decides)?;
    run.pass().filter(|_| run.ovs.as_deref().is_some_and(says_drop))
}

/// Whether a list of actions drops the packet, and does nothing else.
fn says_drop(ovs: &Ovs) -> bool {
    ovs.empty == Some(true) || ovs.actions.as_deref() == Some("drop")
}

impl Loss {
    /// Whether it ended in `ovs-vswitchd`, whatever is known of the answer.
    pub fn ended_asking(&self) -> bool {
        self.at.hook == HookName::OvsUpcall
    }
}

/// It went up to `ovs-vswitchd` in this pass, and came not back.
fn asking_pass(at: &Sight) -> Option<(u32, u32)> {
    at.upcall().filter(|upcall| upcall.result.is_none())?;
    at.pass()
}

impl Flow {
    /// The loss of other packets that tells what was decided about one that did not come back from
    /// `ovs-vswitchd`.
    pub fn decided_alike(&self, direction: Direction, fate: &Fate) -> Option<usize> {
        let pass = asking_pass(&fate.at).filter(|_| fate.outcome != Outcome::Unknown)?;
        self.losses.iter().position(|l| {
            l.outcome == Outcome::DroppedByOvs
                && l.direction == direction
                && dropping_pass(&l.passage) == Some(pass)
        })
    }

    /// Counts those that did not come back from `ovs-vswitchd` with the loss at `at`, where that one
    /// tells what was decided about them; gives back their numbers.
    pub fn absorb_unanswered(&mut self, at: usize) -> Vec<u64> {
        let Some(decided) = self.losses.get(at) else { return Vec::new() };
        let direction = decided.direction;
        let pass = dropping_pass(&decided.passage);
        if decided.outcome != Outcome::DroppedByOvs || pass.is_none() {
            return Vec::new();
        }
        let is_same = |i: usize, l: &Loss| {
            i != at
                && l.direction == direction
                && l.outcome != Outcome::Unknown
                && asking_pass(&l.at) == pass
        };
        let (absorbed, kept): (Vec<_>, Vec<_>) =
            self.losses.drain(..).enumerate().partition(|(i, l)| is_same(*i, l));
        self.losses = kept
            .into_iter()
            .map(|(i, mut loss)| {
                if i == at {
                    for (_, other) in &absorbed {
                        loss.take_over(other);
                    }
                }
                loss
            })
            .collect();
        let unknown = absorbed.into_iter().filter(|(_, l)| l.outcome == Outcome::UpcallLost);
        unknown.flat_map(|(_, l)| l.evidence).collect()
    }
}

#[cfg(test)]
mod tests;
