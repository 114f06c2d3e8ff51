//! What became of it is not known: what would have told was lost by lasthop itself.

use std::fmt::Write as _;

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::gaps::Missing;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{Outcome, Proto};
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, words};

/// The end of a packet of the flow may be among the events that were lost, or it could not be waited for.
pub fn unknown(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst(flow, Outcome::Unknown)?;
    let at = &*loss.at;
    let subject = sentence::subject(flow, loss);
    let (place, translation) = (words::place(at), sentence::translation(&loss.first, at));
    let text = if loss.count == 1 {
        format!(
            "{subject} seen last{place}{translation}, and what became of it is not known: {}{}",
            why(loss),
            others::rest(flow, loss),
        )
    } else {
        format!(
            "{subject} not seen to end, the first of them seen last{place}{translation}, and what became \
             of them is not known: {}{}",
            why(loss),
            others::rest(flow, loss),
        )
    };
    let next = retry(flow, loss).into_iter().collect();
    Some(Finding::of_unended(loss, text, next))
}

/// Why it is not known, a clause with its full stop.
fn why(loss: &Loss) -> String {
    let ends = if loss.count == 1 { "its end" } else { "their ends" };
    match &loss.missing {
        Some(missing) if missing.counts.is_empty() => {
            let hooks: Vec<_> = missing.unseen.iter().map(|hook| hook.name()).collect();
            format!(
                "this kernel took no probe for {}, which would have shown {ends}.",
                hooks.join(" and ")
            )
        }
        Some(missing) => format!("{ends} may be among {}.", lost(missing)),
        None => format!(
            "so many packets were on their way at once that {ends} could not be waited for."
        ),
    }
}

/// `the 453 events that lasthop lost from 1.203 s to 1.310 s of the trace (tc-ingress 200, deliver 253:
/// the ring buffer was full)`.
fn lost(missing: &Missing) -> String {
    let all: u64 = missing.counts.iter().map(|(_, count)| count).sum();
    let what = if all == 1 { "the event".to_owned() } else { format!("the {all} events") };
    let time = |ns: u64| format!("{}.{:06} s", ns / 1_000_000_000, ns / 1_000 % 1_000_000);
    let when = match missing.until {
        u64::MAX => format!("after {}", time(missing.since)),
        until if time(until) == time(missing.since) => format!("at {}", time(until)),
        until => format!("from {} to {}", time(missing.since), time(until)),
    };
    let hooks = missing.counts.iter().filter_map(|(hook, count)| Some((hook.as_ref()?, count)));
    let mut hooks: Vec<_> = hooks.map(|(hook, count)| format!("{} {count}", hook.name())).collect();
    let known: u64 = missing.counts.iter().filter(|(hook, _)| hook.is_some()).map(|(_, n)| n).sum();
    if known < all && known > 0 {
        hooks.push(format!("others {}", all - known));
    }
    let mut text = format!("{what} that lasthop itself lost {when} of the trace (");
    if !hooks.is_empty() {
        let _ = write!(text, "{}; ", hooks.join(", "));
    }
    let causes = missing.causes.iter().map(|cause| words::why_lost(Some(cause)));
    let causes: Vec<_> = causes.map(words::safe).collect();
    let _ = write!(text, "{})", causes.join(", "));
    text
}

/// The largest ring buffer that there can be, bytes.
const MAX_RING: u64 = 1 << 30;
/// The smallest that is worth trying.
const LARGE_RING: u64 = 64 << 20;

/// The same flow once more, alone, with more room for its events: that decides.
fn retry(flow: &Flow, loss: &Loss) -> Option<String> {
    let ring = match flow.ring {
        _ if loss.missing.as_ref().is_none_or(|missing| missing.counts.is_empty()) => None,
        Some(ring) if ring >= MAX_RING => None,
        ring => Some(ring.map_or(LARGE_RING, |ring| (4 * ring).clamp(LARGE_RING, MAX_RING))),
    };
    let ring = ring.map(|ring| format!("--ring {}M ", ring >> 20)).unwrap_or_default();
    Some(format!("lasthop trace {ring}{}", words::shell(&filter(&flow.forward?)?)))
}

/// The flow as a filter.
fn filter(tuple: &FlowTuple) -> Option<String> {
    use Proto::{Icmp, Icmp6, Sctp, Tcp, Udp};
    let proto = Some(tuple.proto).filter(|p| matches!(p, Tcp | Udp | Sctp | Icmp | Icmp6))?;
    Some(format!(
        "{proto} {} -> {}",
        words::end(tuple.src, None),
        words::end(tuple.dst, tuple.dport)
    ))
}
