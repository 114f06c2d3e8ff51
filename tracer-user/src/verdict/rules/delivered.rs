//! Everything arrived.

use std::fmt::Write as _;

use crate::model::{HookName, Outcome, Proto};
use crate::reconstruct::flow::{Flow, Loss, Side};
use crate::reconstruct::sight::Sight;
use crate::verdict::{Finding, related, words};

/// Packets of the flow reached a socket, the host stack or a guest, and none came to harm.
pub fn delivered(flow: &Flow) -> Option<Finding> {
    arrived(flow, Outcome::Delivered)
}

/// The verdict of a flow that is whole, with what is said of each direction.
pub fn arrived(flow: &Flow, outcome: Outcome) -> Option<Finding> {
    let at = flow.out.arrived.as_ref().or(flow.back.arrived.as_ref())?;
    let name = match flow.forward {
        Some(t) => format!("{} {}", words::proto(&t), words::ends(&t)),
        None => "Packets without a readable flow".to_owned(),
    };
    let mut text = format!("{name}: {}", one_way(&flow.out, "packet"));
    if let Some(to) = flow.translated {
        let _ = write!(text, ", translated to {}", words::ends(&to));
    }
    if flow.back.packets > 0 {
        let _ = write!(text, "; {}", one_way(&flow.back, "answer"));
    }
    text.push('.');
    let expects = flow.forward.is_some_and(|t| t.proto == Proto::Tcp) && flow.out.syns() > 0;
    if expects && flow.back.packets == 0 {
        text.push_str(" No answer was seen.");
    }
    let count_of = |wanted: fn(&Flow, &Loss) -> bool| -> u64 {
        flow.losses.iter().filter(|l| wanted(flow, l)).map(|l| l.count).sum()
    };
    let learned = count_of(related::is_discovery);
    if learned > 0 {
        let packets = words::count(learned, "packet");
        let verb = if learned == 1 { "was" } else { "were" };
        let _ =
            write!(text, " {packets} {verb} too big for the path, and sent again in smaller ones.");
    }
    let open = count_of(|flow, loss| !related::is_discovery(flow, loss));
    if open > 0 {
        let more = words::count(open, "more packet");
        let verb = if open == 1 { "was" } else { "were" };
        let _ = write!(text, " {more} {verb} still on the way when the trace ended.");
    }
    Some(Finding {
        outcome,
        due: None,
        place: at.place(),
        reason: None,
        text,
        next: Vec::new(),
        evidence: Vec::new(),
        rule: None,
    })
}

fn one_way(side: &Side, what: &str) -> String {
    let Some(at) = &side.arrived else {
        return format!("no {what} arrived");
    };
    let whole = if side.good == side.packets && side.good > 1 { "all " } else { "" };
    format!("{whole}{} {}", words::count(side.good, what), arrival(at))
}

/// How a good packet ended: `reached the socket in netns server on eth0 (veth)`.
fn arrival(at: &Sight) -> String {
    if matches!(at.hook, HookName::TcEgress | HookName::OvsOutput) {
        let to = if at.kind() == "tun" { "reached the guest" } else { "left the node" };
        let by = words::device(at).map(|d| format!(" by {d}")).unwrap_or_default();
        return format!("{to}{by}{}", words::in_netns(at.netns.as_deref()));
    }
    let whom = if at.hook == HookName::Deliver { "socket" } else { "host" };
    format!("reached the {whom}{}", words::place(at))
}
