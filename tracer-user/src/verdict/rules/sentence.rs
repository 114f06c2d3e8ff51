//! Parts of sentences that several rules use.

use std::fmt::Write as _;

use crate::model::{Outcome, Proto};
use crate::reconstruct::flow::{Direction, Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::verdict::words;

/// The loss of this outcome that befell most packets; of equals the first.
pub fn worst(flow: &Flow, outcome: Outcome) -> Option<&Loss> {
    worst_of(flow, |loss| loss.outcome == outcome)
}

/// As [`worst`], of the losses that are `meant`.
pub fn worst_of(flow: &Flow, meant: impl Fn(&Loss) -> bool) -> Option<&Loss> {
    let of_kind = flow.losses.iter().filter(|loss| meant(loss));
    of_kind.reduce(|worst, l| if l.count > worst.count { l } else { worst })
}

/// `All 3 TCP SYNs 10.0.0.1:1 -> 10.0.0.2:2 were`, `1 of 5 UDP packets … was`.
pub fn subject(flow: &Flow, loss: &Loss) -> String {
    let side = flow.side(loss.direction);
    let all_syns = loss.first.tcp.is_none_or(|f| !f.is_syn()) || side.syns == side.packets;
    let kind = match &loss.first.tuple {
        Some(t) if side.packets > 1 && (t.proto == Proto::Tcp && !all_syns) => "TCP segment".into(),
        _ => words::kind(&loss.first),
    };
    let who = loss.first.sent_as().map(|t| format!(" {}", words::ends(&t))).unwrap_or_default();
    let reply = if loss.direction == Direction::Reply { "reply, a " } else { "" };
    let many = words::many(&kind);
    match (loss.count, side.packets) {
        (1, 1) if reply.is_empty() => format!("The {kind}{who} was"),
        (1, 1) => format!("The {reply}{kind}{who}, was"),
        (2, 2) => format!("Both {many}{who} were"),
        (n, all) if n == all => format!("All {n} {many}{who} were"),
        (1, all) => format!("1 of {all} {many}{who} was"),
        (n, all) => format!("{n} of {all} {many}{who} were"),
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

/// Fragments but the first have no ports, which is no translation.
fn is_translated(was: &FlowTuple, now: &FlowTuple) -> bool {
    let ports = |t: &FlowTuple| t.sport.zip(t.dport);
    let others = ports(was).zip(ports(now)).is_some_and(|(was, now)| was != now);
    was.proto == now.proto && ((was.src, was.dst) != (now.src, now.dst) || others)
}

/// What became of the rest of the flow: whether it recovered, and whether anyone answered.
pub fn rest(flow: &Flow, loss: &Loss) -> String {
    let side = flow.side(loss.direction);
    let mut text = String::new();
    let tcp = flow.forward.is_some_and(|t| t.proto == Proto::Tcp);
    if tcp && side.good > 0 && side.last_good_ts > loss.last_ts {
        text.push_str(" The connection recovered: later segments of the same direction arrived.");
    } else if side.good > 0 {
        let _ = write!(text, " {} got through.", words::count(side.good, "other"));
    }
    let others: u64 = flow.losses.iter().map(|l| l.count).sum::<u64>() - loss.count;
    if others > 0 {
        let _ = write!(
            text,
            " {} of the flow came to harm elsewhere.",
            words::count(others, "other packet")
        );
    }
    if tcp && side.syns > 0 && flow.back.packets == 0 {
        text.push_str(" No answer was seen.");
    }
    text
}

/// ` Before that it was seen in netns router entering eth0 (veth).`, where the place itself does not say it.
pub fn way(at: &Sight, before: Option<&Sight>) -> String {
    let Some(port) = before else {
        return String::new();
    };
    let same_dev = at.dev.as_ref().map(|d| &d.name) == port.dev.as_ref().map(|d| &d.name);
    if same_dev && at.netns.as_deref() == port.netns.as_deref() {
        return String::new();
    }
    format!(" Before that it was seen{}.", words::place(port))
}
