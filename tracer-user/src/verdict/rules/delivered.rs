//! Everything arrived.

use crate::model::{HookName, Outcome};
use crate::reconstruct::flow::{Flow, Side};
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::Proto;
use crate::verdict::{Finding, words};

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
        text.push_str(&format!(", translated to {}", words::ends(&to)));
    }
    if flow.back.packets > 0 {
        text.push_str(&format!("; {}", one_way(&flow.back, "answer")));
    }
    text.push('.');
    let expects = flow.forward.is_some_and(|t| t.proto == Proto::Tcp) && flow.out.syns > 0;
    if expects && flow.back.packets == 0 {
        text.push_str(" No answer was seen.");
    }
    let open: u64 = flow.losses.iter().map(|l| l.count).sum();
    if open > 0 {
        let more = words::count(open, "more packet");
        let verb = if open == 1 { "was" } else { "were" };
        text.push_str(&format!(
            " {more} {verb} still on the way when the trace ended."
        ));
    }
    Some(Finding {
        outcome,
        place: at.place(),
        reason: None,
        text,
        next: Vec::new(),
        evidence: Vec::new(),
    })
}

fn one_way(side: &Side, what: &str) -> String {
    let Some(at) = &side.arrived else {
        return format!("no {what} arrived");
    };
    let whole = if side.good == side.packets && side.good > 1 {
        "all "
    } else {
        ""
    };
    format!("{whole}{} {}", words::count(side.good, what), arrival(at))
}

/// How a good packet ended: `reached the socket in netns server on eth0 (veth)`.
fn arrival(at: &Sight) -> String {
    let verb = match at.hook {
        HookName::Deliver => "reached the socket",
        HookName::TcEgress | HookName::OvsOutput => "left the node",
        _ if at.kind() == "tun" => "reached the guest",
        _ => "reached the host",
    };
    format!("{verb}{}", words::place(at))
}
