//! The kernel dropped it.

use crate::model::{Outcome, Where};
use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::verdict::matter::Matter;
use crate::verdict::rules::sentence;
use crate::verdict::{Finding, matter, netfilter, next, related, words};

/// A packet of the flow was dropped by the kernel.
pub fn dropped(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst_of(flow, |loss| {
        loss.outcome == Outcome::Dropped && !related::is_discovery(flow, loss)
    });
    loss.map(|loss| finding(flow, loss))
}

/// A member of a bond, or of another master, that takes in nothing (`RX_HANDLER_EXACT` in
/// `__netif_receive_skb_core`) ends frames as if nobody knew their kind.
fn kept_by_master(at: &Sight) -> String {
    let master = at.dev.as_ref().and_then(|dev| dev.master.as_deref());
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
    let Some(tunnel) = at.tunnel.as_ref().filter(|_| matter == Matter::Tunnel) else {
        return String::new();
    };
    let key =
        tunnel.key.map_or_else(|| "without a key".to_owned(), |key| format!("with key {key}"));
    let kind = words::safe(&tunnel.kind);
    format!(" It came in {kind} {key}, from {} to {}.", tunnel.src, tunnel.dst)
}

fn finding(flow: &Flow, loss: &Loss) -> Finding {
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let (matter, meaning) = matter::of(at, before);
    let reason = at.raw_reason();
    let explained = netfilter::explain(flow, loss);
    let why = match (meaning, reason) {
        _ if explained.is_some() => {
            explained.as_ref().map(|e| format!(": {}", e.words)).unwrap_or_default()
        }
        (Some(words), _) => format!(": {words}"),
        (None, Some("NOT_SPECIFIED")) => "; the kernel gives no reason".to_owned(),
        (None, Some(_)) => String::new(),
        (None, None) => "; this kernel gives no reasons".to_owned(),
    };
    let why = why + &kept_by_master(at);
    let named = reason.map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let by = words::symbol(at).map(|s| format!(" by {s}")).unwrap_or_default();
    let text = format!(
        "{} dropped{}{by}{}{why}{named}.{}{}{}",
        sentence::subject(flow, loss),
        words::place(at),
        sentence::translation(&loss.first, at),
        around(at, matter),
        sentence::way(at, before),
        sentence::rest(flow, loss),
    );
    let spot = next::Spot::new(at, before);
    Finding {
        outcome: loss.outcome,
        due: None,
        place: Where { bridge: None, ..at.place() },
        reason: reason.map(str::to_owned),
        text,
        next: explained.map_or_else(|| next::commands(matter, &spot), |e| e.next),
        evidence: loss.evidence.clone(),
        rule: None,
    }
}
