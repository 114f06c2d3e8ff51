//! Parts of sentences that several rules use.

use std::cmp::Reverse;

use crate::reconstruct::flow::{Direction, Flow, Loss, Side};
use crate::reconstruct::kinds::Kind;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{Outcome, Proto, Where};
use crate::verdict::words;

/// The loss of this outcome that befell most packets; of equals the one of the first packet.
pub fn worst(flow: &Flow, outcome: Outcome) -> Option<&Loss> {
    worst_of(flow, |loss| loss.outcome == outcome)
}

/// As [`worst`], of the losses that are `meant`.
pub fn worst_of(flow: &Flow, meant: impl Fn(&Loss) -> bool) -> Option<&Loss> {
    let of_kind = flow.losses.iter().filter(|loss| meant(loss));
    of_kind.min_by_key(|l| (Reverse(l.count), l.lowest()))
}

/// `All 3 TCP SYNs 10.0.0.1:1 -> 10.0.0.2:2 were`, `1 of 5 UDP packets … was`.
pub fn subject(flow: &Flow, loss: &Loss) -> String {
    let side = flow.side(loss.direction);
    let (kind, all) = noun(side, loss);
    let who = loss.first.sent_as().map(|t| format!(" {}", words::ends(&t))).unwrap_or_default();
    let reply = if loss.direction == Direction::Reply { "reply, a " } else { "" };
    let many = words::many(&kind);
    match (loss.count, all) {
        (1, 1) if reply.is_empty() => format!("The {kind}{who} was"),
        (1, 1) => format!("The {reply}{kind}{who}, was"),
        (2, 2) => format!("Both {many}{who} were"),
        (n, all) if n == all => format!("All {n} {many}{who} were"),
        (1, all) => format!("1 of {all} {many}{who} was"),
        (n, all) => format!("{n} of {all} {many}{who} were"),
    }
}

/// What the lost are called, and how many of that name there were: FINs among FINs, and segments
/// where they were not all alike.
fn noun(side: &Side, loss: &Loss) -> (String, u64) {
    let is_tcp = loss.first.tuple.is_some_and(|t| t.proto == Proto::Tcp);
    if !is_tcp || side.packets <= 1 {
        return (words::kind(&loss.first), side.packets);
    }
    let kind = Kind::of(&loss.first);
    match kind {
        Kind::Rest => ("TCP segment".to_owned(), side.packets),
        _ if loss.kinds.of(kind) == loss.count => (words::kind(&loss.first), side.kinds.of(kind)),
        _ => ("TCP segment".to_owned(), side.packets),
    }
}

/// ` (by then translated to 10.0.0.1:1 -> 10.0.0.9:2)`, where it was.
pub fn translation(first: &Sight, at: &Sight) -> String {
    match (first.sent_as(), at.tuple) {
        (Some(was), Some(now)) if is_translated(&was, &now) => {
            format!(" (by then translated to {})", words::ends(&now))
        }
        _ => String::new(),
    }
}

/// The place, for scripts: what the kernel has taken from the packet by then is told from before.
pub fn spot(loss: &Loss) -> Where {
    let at = Where { bridge: None, ..loss.at.place() };
    let before = loss.before.as_deref().map(Sight::place).unwrap_or_default();
    match at.netns {
        None => Where { netns: before.netns, dev: at.dev.or(before.dev), ..at },
        Some(_) => at,
    }
}

/// Fragments but the first have no ports, which is no translation.
fn is_translated(was: &FlowTuple, now: &FlowTuple) -> bool {
    let ports = |t: &FlowTuple| t.sport.zip(t.dport);
    let others = ports(was).zip(ports(now)).is_some_and(|(was, now)| was != now);
    was.proto == now.proto && ((was.src, was.dst) != (now.src, now.dst) || others)
}

/// ` Before that it was seen in netns router entering eth0 (veth).`, where the place itself does not say it.
pub fn way(at: &Sight, before: Option<&Sight>) -> String {
    let Some(port) = before else {
        return String::new();
    };
    let same_dev = at.site.dev.as_ref().map(|d| &d.name) == port.site.dev.as_ref().map(|d| &d.name);
    if same_dev && at.site.netns.as_deref() == port.site.netns.as_deref() {
        return String::new();
    }
    format!(" Before that it was seen{}.", words::place(port))
}
