//! The kernel dropped it.

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome};
use crate::verdict::matter::Matter;
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, fragments, matter, netfilter, next, related, words};

/// A packet of the flow was dropped by the kernel.
pub fn dropped(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst_of(flow, |loss| {
        loss.outcome == Outcome::Dropped && !loss.unanswered && !related::is_discovery(flow, loss)
    });
    loss.map(|loss| finding(flow, loss))
}

/// A member of a bond, or of another master, that takes in nothing (`RX_HANDLER_EXACT` in
/// `__netif_receive_skb_core`) ends frames as if nobody knew their kind.
fn kept_by_master(at: &Sight) -> String {
    let master = at.site.dev.as_ref().and_then(|dev| dev.master.as_deref());
    match (at.raw_reason(), at.symbol(), master) {
        (Some("UNHANDLED_PROTO") | None, Some("__netif_receive_skb_core"), Some(master)) => {
            format!(
                "; the device belongs to {}, which took nothing in from it, as a bond does with its backup members",
                words::safe(master)
            )
        }
        _ => String::new(),
    }
}

/// What the packet came in, where that is the matter: ` It came in gre with key 42 from … to ….`
fn around(at: &Sight, matter: Matter) -> String {
    let Some(tunnel) = at.tunnel.as_ref() else { return String::new() };
    if matches!(matter, Matter::Neighbour | Matter::Mtu | Matter::Route | Matter::Ttl) {
        let kind = words::safe(&tunnel.kind);
        return format!(" It was inside of {kind}, from {} to {}.", tunnel.src, tunnel.dst);
    }
    if matter != Matter::Tunnel {
        return String::new();
    }
    let key =
        tunnel.key.map_or_else(|| "without a key".to_owned(), |key| format!("with key {key}"));
    let kind = words::safe(&tunnel.kind);
    format!(" It came in {kind} {key}, from {} to {}.", tunnel.src, tunnel.dst)
}

/// Where and why: ` in netns router on eth0 (veth) by nf_hook_slow+0x4a: … [NETFILTER_DROP]`.
pub fn cause(flow: &Flow, loss: &Loss) -> String {
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let reason = at.raw_reason();
    let why = match (netfilter::explain(flow, loss), matter::of(at, before).1, reason) {
        (Some(explained), _, _) => format!(": {}", explained.words),
        (None, Some(words), _) => format!(": {words}"),
        (None, None, Some("NOT_SPECIFIED")) => "; the kernel gives no reason".to_owned(),
        (None, None, Some(_)) => String::new(),
        (None, None, None) => "; this kernel gives no reasons".to_owned(),
    };
    let came = loss.pieces.as_ref();
    let came = came.map(|p| format!(" ({})", fragments::what_came(p))).unwrap_or_default();
    let named = reason.map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let by = words::symbol(at).map(|s| format!(" by {s}")).unwrap_or_default();
    format!(
        "{}{by}{}{why}{came}{}{named}",
        words::place(at),
        sentence::translation(&loss.first, at),
        kept_by_master(at),
    )
}

/// The commands worth running about it.
pub fn commands(flow: &Flow, loss: &Loss) -> Vec<String> {
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let (matter, _) = matter::of(at, before);
    let by_matter = || {
        let mut commands = next::commands(matter, &next::Spot::new(at, before));
        // The other end is what Open vSwitch says for each packet.
        if matter == Matter::Tunnel
            && loss.passage.last().is_some_and(|s| s.hook == HookName::OvsOutput)
        {
            commands.push(next::TUNNELS.to_owned());
        }
        commands
    };
    netfilter::explain(flow, loss).map_or_else(by_matter, |explained| explained.next)
}

fn finding(flow: &Flow, loss: &Loss) -> Finding {
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let text = format!(
        "{} dropped{}.{}{}{}",
        sentence::subject(flow, loss),
        cause(flow, loss),
        around(at, matter::of(at, before).0),
        sentence::way(at, before),
        others::rest(flow, loss),
    );
    Finding {
        outcome: loss.outcome,
        due: None,
        place: sentence::spot(loss),
        reason: at.raw_reason().map(str::to_owned),
        text,
        next: commands(flow, loss),
        evidence: loss.evidence.clone(),
        rule: None,
    }
}
