//! What became of one packet: the judgement over all its lives.

mod proof;

use std::rc::Rc;

use crate::reconstruct::everyday::{self, Taker};
use crate::reconstruct::gaps::Doubt;
use crate::reconstruct::listeners;
use crate::reconstruct::ovs::{OvsEnd, is_ovs_function};
use crate::reconstruct::packet::{Life, Packet};
use crate::reconstruct::pieces::{Pieces, is_given_up};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome, PktType};

/// What became of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// To a socket, the host stack, or a guest.
    Delivered,
    /// Left the node.
    Forwarded,
    /// Lost.
    Dropped,
    /// Refused as addressed to another.
    OtherHost,
    /// A broadcast or multicast that this receiver had no use for.
    Unwanted,
    /// Replaced by its copies: they decide.
    Replaced,
    /// A copy that nobody waited for: a listener's beside the way, the second of a fragment. Whatever
    /// became of another tells more.
    Missed,
    /// It went up to `ovs-vswitchd`, or was to and could not, and did not come back.
    Upcalled,
    /// Freed after use, by something that does not tell what became of it.
    Consumed,
    /// Nothing ended it yet.
    Open,
}

/// What became of one packet.
#[derive(Clone, Debug)]
pub struct Fate {
    /// In the terms of a record.
    pub outcome: Outcome,
    /// The hop that decided it.
    pub at: Rc<Sight>,
    /// The device that the same copy entered or left before.
    pub before: Option<Rc<Sight>>,
    /// The same copy's hops in Open vSwitch's datapath.
    pub passage: Vec<Rc<Sight>>,
    /// Of a fragment that waits for others, or did: what came of its datagram.
    pub pieces: Option<Pieces>,
    /// On what it depends that nothing else was seen; `None`: what was seen proves it.
    pub doubt: Option<Doubt>,
}

/// What became of one copy, and the hop that decided it.
pub fn end_of(life: &Life) -> (End, &Rc<Sight>) {
    let Some(freed) = &life.freed else {
        return match (&life.delivered, &life.port) {
            (Some(socket), _) => (End::Delivered, socket),
            (None, Some(port)) if is_egress(port) && everyday::leaves_node(port) => {
                (End::Forwarded, port)
            }
            _ => (End::Open, &life.last),
        };
    };
    match &life.ovs_end {
        Some(OvsEnd::Dropped) => return (End::Dropped, freed),
        Some(OvsEnd::CopiesWentOn) => return (End::Replaced, freed),
        Some(OvsEnd::WentUp(upcall) | OvsEnd::Refused(upcall)) => return (End::Upcalled, upcall),
        None => {}
    }
    match (&life.delivered, freed.hook) {
        (Some(socket), HookName::Consume) => (End::Delivered, socket),
        (Some(socket), _) if everyday::is_socket_handling(socket, freed) => {
            (End::Delivered, socket)
        }
        (_, HookName::Consume) => match (consumed(life, freed), &life.port) {
            // It is the device that counts, not the sender's tidying up after it.
            (end @ (End::Forwarded | End::Delivered), Some(port))
                if is_egress(port) && !is_elsewhere(port, freed) =>
            {
                (end, port)
            }
            (end, _) => (end, freed),
        },
        _ => (dropped(life, freed), freed),
    }
}

fn is_egress(port: &Sight) -> bool {
    matches!(port.hook, HookName::TcEgress | HookName::OvsOutput)
}

fn consumed(life: &Life, freed: &Sight) -> End {
    let taker = freed.cause.as_deref().and_then(everyday::taker);
    match (taker, life.port.as_deref()) {
        (Some(Taker::Copies | Taker::Listener), _) => End::Replaced,
        (Some(Taker::Sender), _) => End::Forwarded,
        (_, Some(port)) if is_egress(port) && port.kind() == "tun" => End::Delivered,
        // A host took it at the other end of a device whose other end has no hooks.
        (Some(Taker::Host), Some(port)) if is_elsewhere(port, freed) => End::Delivered,
        (_, Some(port)) if is_egress(port) && everyday::leaves_node(port) => End::Forwarded,
        // Without a hook at the device that it came to, it is seen last where it left for it.
        (Some(Taker::Host), Some(port)) if !is_egress(port) => End::Delivered,
        (Some(Taker::Guest), _) | (Some(Taker::Host), None) => End::Delivered,
        // A port of a bridge or switch does not lead into the host: who consumed it there is
        // unknown. Open vSwitch before Linux 6.6 consumes what it drops.
        (None, Some(port))
            if port.hook == HookName::TcIngress
                && !has_master(port)
                && !is_stranger(port)
                && !everyday::is_stolen(freed) =>
        {
            End::Delivered
        }
        _ => End::Consumed,
    }
}

/// Whether it ended at another device than this one.
fn is_elsewhere(port: &Sight, freed: &Sight) -> bool {
    let of = |s: &Sight| Some((s.site.netns.as_ref()?.inode, s.site.dev.as_ref()?.ifindex));
    of(port).zip(of(freed)).is_some_and(|(port, freed)| port != freed)
}

fn dropped(life: &Life, freed: &Sight) -> End {
    let handled = everyday::is_time_wait(freed)
        || everyday::is_stray_reset(freed)
        || everyday::is_handled_icmp6(freed)
        || everyday::is_unheard(freed)
        || everyday::is_left_in_socket(freed);
    if handled {
        End::Delivered
    } else if everyday::is_freed_with_its_whole(freed) {
        End::Consumed
    } else if listeners::is_tap_copy(freed) || everyday::is_second_of_a_fragment(freed) {
        End::Missed
    } else if everyday::is_unwanted_copy(freed) || listeners::is_unwanted_raw_copy(freed) {
        End::Unwanted
    } else if everyday::is_otherhost(freed) || (is_unexplained(freed) && came_astray(life)) {
        End::OtherHost
    } else {
        End::Dropped
    }
}

fn is_unexplained(freed: &Sight) -> bool {
    freed.cause.as_deref().is_none_or(|c| c.reason().is_none())
}

fn came_astray(life: &Life) -> bool {
    life.port.as_deref().is_some_and(is_stranger)
}

fn has_master(port: &Sight) -> bool {
    port.site.dev.as_ref().is_some_and(|d| d.master.is_some())
}

/// It arrived here with the MAC of another, at a device that is no port of a bridge (there, frames
/// for others are the rule).
fn is_stranger(port: &Sight) -> bool {
    let (Some(dev), Some(eth)) = (&port.site.dev, port.eth) else {
        return false;
    };
    port.hook == HookName::TcIngress
        && port.pkt_type == Some(PktType::OtherHost)
        && dev.master.is_none()
        && dev.kind.as_deref() != Some("bridge")
        && !eth.dst.is_group()
        && dev.mac.is_some_and(|own| own != eth.dst)
}

/// Whether nothing more is to be expected of the packet.
pub fn is_decided(packet: &Packet) -> bool {
    let mut all_ended = true;
    let mut any_told = false;
    for life in &packet.lives {
        match settled_end(packet, life).0 {
            End::Delivered | End::Forwarded => return true,
            End::Upcalled if matches!(life.ovs_end, Some(OvsEnd::Refused(_))) => any_told = true,
            End::Open | End::Upcalled => all_ended = false,
            End::Replaced | End::Consumed | End::Missed => {}
            End::Dropped | End::OtherHost | End::Unwanted => any_told = true,
        }
    }
    all_ended && any_told
}

/// Whether nothing more is to be seen of it: what a socket has taken is followed no further.
pub fn is_over(packet: &Packet) -> bool {
    packet.lives.iter().all(|life| {
        life.freed.is_some() || life.delivered.is_some() || end_of(life).0 == End::Forwarded
    })
}

/// What became of the packet. `unended` is what to call one that nothing ended:
/// [`Outcome::Vanished`] or [`Outcome::InFlight`].
pub fn fate(packet: &Packet, unended: Outcome) -> Fate {
    let ends: Vec<_> = packet.lives.iter().map(|life| (settled_end(packet, life), life)).collect();
    // Of several copies that ended alike, the last one tells most.
    let last = |wanted: End| ends.iter().rfind(|((end, _), _)| *end == wanted);
    // A datagram needs all its fragments: one that died is a loss even where others went on.
    let fragment = ends.iter().rfind(|((end, _), l)| *end == End::Dropped && l.is_fragment);
    let stranded = ends.iter().rfind(|((end, at), l)| {
        *end == End::OtherHost || (*end == End::Open && is_stranger(at) && l.freed.is_none())
    });
    let found = last(End::Delivered)
        .map(|f| (Outcome::Delivered, f))
        .or_else(|| fragment.map(|f| (dropped_by(f.0.1), f)))
        .or_else(|| last(End::Forwarded).map(|f| (Outcome::Forwarded, f)))
        // Of a frame that Open vSwitch flooded, copies die at ports that are down: what refused one
        // that arrived tells more.
        .or_else(|| {
            let flooded = || last(End::Dropped).is_some_and(|f| was_being_sent(f.0.1));
            stranded.filter(|_| flooded()).map(|f| (Outcome::Misaddressed, f))
        })
        .or_else(|| last(End::Dropped).map(|f| (dropped_by(f.0.1), f)))
        .or_else(|| stranded.map(|f| (Outcome::Misaddressed, f)))
        .or_else(|| last(End::Upcalled).map(|f| (upcalled(f.1, unended), f)))
        .or_else(|| last(End::Open).map(|f| (unended, f)))
        .or_else(|| last(End::Unwanted).map(|f| (Outcome::Dropped, f)))
        .or_else(|| last(End::Consumed).map(|f| (Outcome::Vanished, f)))
        // Nobody but that listener was there to take it.
        .or_else(|| last(End::Missed).map(|f| (Outcome::Dropped, f)))
        // Only pieces of it go on, and each is a packet of its own.
        .or_else(|| last(End::Replaced).map(|f| (Outcome::Forwarded, f)));
    let Some((outcome, ((_, at), life))) = found else {
        return Fate {
            outcome: unended,
            at: packet.last.clone(),
            before: None,
            passage: Vec::new(),
            pieces: None,
            doubt: Some(Doubt::any_of_packet(packet.first.ts)),
        };
    };
    let pieces = match outcome {
        Outcome::InFlight | Outcome::Vanished => Pieces::waiting(packet, life),
        Outcome::Dropped if is_given_up(at) => Pieces::of(packet, life),
        _ => None,
    };
    let passage = packet.passage.of(life.id);
    let doubt = proof::doubt(packet, life, outcome, at, &ends);
    Fate { outcome, at: (*at).clone(), before: life.port.clone(), passage, pieces, doubt }
}

/// As [`end_of`]; what came back from `ovs-vswitchd` stands for what went up.
fn settled_end<'a>(packet: &Packet, life: &'a Life) -> (End, &'a Rc<Sight>) {
    let (end, at) = end_of(life);
    if end == End::Delivered && listeners::is_taken_by_raw(at) && lost_by_raw(packet) {
        return (End::Replaced, at);
    }
    let upcall = match &life.ovs_end {
        Some(OvsEnd::WentUp(upcall)) => upcall,
        // What was put together of fragments is freed unseen.
        None if end == End::Open && is_handed_over(at) => {
            let dropped = packet.passage.is_to_be_dropped(life.id, at);
            return (if dropped { End::Dropped } else { end }, at);
        }
        _ => return (end, at),
    };
    let end = match end {
        // Told of this copy, where what came back may be another's: a fragment's of the same packet.
        End::Upcalled if packet.passage.is_to_be_dropped(life.id, upcall) => End::Dropped,
        End::Upcalled if packet.passage.is_answered(upcall) => End::Replaced,
        end => end,
    };
    (end, at)
}

/// Whether a raw socket had no room for its copy.
fn lost_by_raw(packet: &Packet) -> bool {
    let freed = packet.lives.iter().filter_map(|life| life.freed.as_deref());
    freed.into_iter().any(|f| listeners::is_raw_copy(f) && !listeners::is_unwanted_raw_copy(f))
}

fn is_handed_over(at: &Sight) -> bool {
    at.upcall().is_some_and(|upcall| upcall.result.is_none())
}

/// What to call a packet that `ovs-vswitchd` has, or should have: it may answer yet.
fn upcalled(life: &Life, unended: Outcome) -> Outcome {
    match (&life.ovs_end, unended) {
        (Some(OvsEnd::WentUp(_)), Outcome::InFlight) => Outcome::InFlight,
        _ => Outcome::UpcallLost,
    }
}

/// Whether Open vSwitch dropped it on its way out of one port.
fn was_being_sent(at: &Sight) -> bool {
    const OUTPUT: &[&str] =
        &["do_execute_actions", "do_output", "ovs_vport_send", "internal_dev_recv"];
    let cause = at.cause.as_deref();
    cause.and_then(|c| c.place()).is_some_and(|(symbol, _)| OUTPUT.contains(&symbol))
        && dropped_by(at) == Outcome::DroppedByOvs
}

/// Whose drop it is.
pub fn dropped_by(at: &Sight) -> Outcome {
    let ovs = at.hook == HookName::OvsUpcall
        || at.cause.as_ref().is_some_and(|cause| {
            let drop = cause.drop.as_ref();
            drop.and_then(|d| d.subsystem.as_deref()) == Some("openvswitch")
                || cause.place().is_some_and(|(symbol, _)| is_ovs_function(symbol))
        });
    if ovs { Outcome::DroppedByOvs } else { Outcome::Dropped }
}

#[cfg(test)]
mod tests;
