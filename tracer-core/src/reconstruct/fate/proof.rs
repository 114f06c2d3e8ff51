//! What proves an outcome, and what it depends on that is not on the record.

use std::rc::Rc;

use super::{End, is_egress};
use crate::reconstruct::everyday::{self, Taker};
use crate::reconstruct::gaps::{Doubt, Hooks, LEAD};
use crate::reconstruct::ovs::{OvsEnd, is_end_of_list};
use crate::reconstruct::packet::{Life, Packet};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome};

/// How long a socket may take to refuse what it was handed, nanoseconds: it does so at once, or once
/// its process lets go of it (`tcp_add_to_backlog`).
const REFUSAL: u64 = 10_000_000;

/// A copy, how it ended, and where.
type Ended<'a> = ((End, &'a Rc<Sight>), &'a Life);

/// On what `outcome` depends that was not seen, of the copy `life` that decides it at `at`.
pub(super) fn doubt(
    packet: &Packet,
    life: &Life,
    outcome: Outcome,
    at: &Sight,
    ends: &[Ended<'_>],
) -> Option<Doubt> {
    let any = Doubt::any_of_packet(packet.first.ts);
    match outcome {
        Outcome::Delivered => delivered(life, at),
        // It would have been dropped behind the hook: by the queue, or by the device.
        Outcome::Forwarded if is_egress(at) => {
            let drop = Hooks::of(&[HookName::Drop]);
            life.freed.is_none().then_some(Doubt { hooks: drop, since: at.ts, until: u64::MAX })
        }
        Outcome::Forwarded if at.hook == HookName::Consume => {
            let is_sent = taker(at) == Some(Taker::Sender);
            (!is_sent).then_some(any)
        }
        // The kernel refused to hand it over.
        Outcome::UpcallLost if matches!(life.ovs_end, Some(OvsEnd::Refused(_))) => None,
        Outcome::Dropped | Outcome::DroppedByOvs => dropped(packet, life, at, ends, any),
        _ => Some(any),
    }
}

/// It came to a socket, which may refuse it yet; or who consumed it is known by where it was last.
fn delivered(life: &Life, at: &Sight) -> Option<Doubt> {
    if at.hook == HookName::Deliver {
        let drop = Hooks::of(&[HookName::Drop]);
        let until = at.ts.saturating_add(REFUSAL);
        return life.freed.is_none().then_some(Doubt { hooks: drop, since: at.ts, until });
    }
    let port = life.port.as_deref().filter(|_| at.hook == HookName::Consume)?;
    taker(at).is_none().then_some(Doubt { hooks: Hooks::ALL, since: port.ts, until: at.ts })
}

/// A drop is what it is, but where another copy may have fared better, or where only what came before it
/// tells what it is.
fn dropped(
    packet: &Packet,
    life: &Life,
    at: &Sight,
    ends: &[Ended<'_>],
    any: Doubt,
) -> Option<Doubt> {
    let is_hopeful = |((end, _), other): &Ended<'_>| {
        let is_own = std::ptr::eq(*other, life);
        !is_own && !matches!(end, End::Dropped)
    };
    if ends.iter().any(is_hopeful) || at.is_group() || is_copy(at) || end_of(life) == End::Unwanted
    {
        return Some(any);
    }
    let is_of_list = at.hook == HookName::Consume || is_end_of_list(at);
    if is_of_list && matches!(life.ovs_end, Some(OvsEnd::Dropped)) {
        return Some(sent_nowhere(packet, at));
    }
    // What a socket had taken, and was done with.
    let is_handled = at.hook == HookName::Drop && everyday::is_socket_handling(at, at);
    is_handled.then(|| Doubt {
        hooks: Hooks::of(&[HookName::Deliver]),
        since: life.port.as_ref().map_or(0, |port| port.ts),
        until: at.ts,
    })
}

fn end_of(life: &Life) -> End {
    super::end_of(life).0
}

fn taker(at: &Sight) -> Option<Taker> {
    at.cause.as_deref().and_then(everyday::taker)
}

/// Nothing was seen to leave Open vSwitch after the list of actions that was run last. (One that says
/// drop tells it by itself, if it was the last.)
fn sent_nowhere(packet: &Packet, at: &Sight) -> Doubt {
    use HookName::{Clone, OvsActions, OvsOutput, OvsReceive, OvsUpcall};
    let (run, says_drop) = packet.passage.last_run(at.ts).unwrap_or((packet.first.ts, false));
    let hooks: &[_] = if says_drop {
        &[OvsActions]
    } else {
        &[OvsActions, OvsOutput, OvsUpcall, OvsReceive, Clone]
    };
    let lead = if says_drop { 0 } else { LEAD };
    Doubt { hooks: Hooks::of(hooks), since: run.saturating_sub(lead), until: at.ts }
}

/// Where a copy ends beside the packet itself: at a listener, a raw socket, one of a switch's ports.
fn is_copy(at: &Sight) -> bool {
    const RAW: &[&str] =
        &["raw_rcv", "raw_rcv_skb", "raw_local_deliver", "raw_v4_input", "rawv6_rcv", "ping_rcv"];
    // Of those that send a frame out of a port, each has a copy where there are several.
    const SENDING: &[&str] =
        &["do_output", "ovs_vport_send", "internal_dev_recv", "ovs_vport_output", "ovs_fragment"];
    let is_taken_beside = matches!(taker(at), Some(Taker::Listener | Taker::Copies));
    is_taken_beside
        || at.symbol().is_some_and(|symbol| {
            RAW.contains(&symbol) || SENDING.contains(&symbol) || symbol.starts_with("br_")
        })
}
