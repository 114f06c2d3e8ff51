//! It was seen last somewhere, and nothing freed it.

use crate::reconstruct::everyday;
use crate::reconstruct::flow::{Flow, Loss};
use crate::record::{HookName, Outcome};
use crate::verdict::matter::Matter;
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, fragments, next, words};

/// A packet of the flow was lost from sight.
pub fn vanished(flow: &Flow) -> Option<Finding> {
    let loss =
        sentence::worst_of(flow, |loss| loss.outcome == Outcome::Vanished && !loss.unanswered)?;
    let at = &*loss.at;
    let text = format!(
        "{} lost from sight{}{}: {}.{}",
        sentence::subject(flow, loss),
        words::place(at),
        sentence::translation(&loss.first, at),
        last_seen(loss),
        others::rest(flow, loss),
    );
    let next = commands(loss);
    Some(Finding::of_unended(loss, text, next))
}

/// What is known of a packet that nothing ended.
fn last_seen(loss: &Loss) -> String {
    let at = &*loss.at;
    if let Some(pieces) = &loss.pieces {
        return format!(
            "other fragments of its datagram never came there ({}), and nothing on the record freed it",
            fragments::what_came(pieces)
        );
    }
    let is_tap = at.kind() == "tun";
    match at.hook {
        HookName::Consume => {
            let by = words::symbol(at).map(|s| format!(" by {s}")).unwrap_or_default();
            let whose = if everyday::is_stolen(at) {
                " (by a tc filter or BPF program at the device's ingress)"
            } else {
                ""
            };
            format!("it was consumed{by} there{whose}, and no copy of it was seen to go on")
        }
        HookName::TcEgress if is_tap => {
            "it waits in the tap's queue, because its reader does not read".to_owned()
        }
        _ => "nothing on the record freed it".to_owned(),
    }
}

/// The commands worth running where a packet was seen last.
pub fn commands(loss: &Loss) -> Vec<String> {
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let spot = next::Spot::new(at, before);
    if loss.pieces.is_some() {
        return next::commands(Matter::Fragment, &spot);
    }
    let Some(dev) = at.site.dev.as_ref().or_else(|| before?.site.dev.as_ref()) else {
        return vec![spot.run("nstat -az")];
    };
    let name = words::shell(&dev.name);
    let mut commands = vec![
        spot.iproute("ip", &format!("-s -d link show dev {name}")),
        spot.iproute("tc", &format!("-s qdisc show dev {name}")),
    ];
    if everyday::is_stolen(at) {
        return next::commands(Matter::Tc, &spot);
    }
    if at.kind() == "tun" {
        commands.push(next::readers_of(&name));
    } else if at.hook == HookName::TcIngress {
        commands.push(spot.iproute("ip", "neigh"));
    }
    commands
}
