//! It was seen last somewhere, and nothing freed it.

use crate::model::{HookName, Outcome};
use crate::reconstruct::everyday;
use crate::reconstruct::flow::Flow;
use crate::reconstruct::sight::Sight;
use crate::verdict::matter::Matter;
use crate::verdict::rules::sentence;
use crate::verdict::{Finding, next, words};

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
        last_seen(at),
        sentence::rest(flow, loss),
    );
    Some(Finding {
        outcome: loss.outcome,
        due: None,
        place: at.place(),
        reason: None,
        text,
        next: commands(at, loss.before.as_deref()),
        evidence: loss.evidence.clone(),
        rule: None,
    })
}

/// What is known of a packet that nothing ended.
pub fn last_seen(at: &Sight) -> String {
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
pub fn commands(at: &Sight, before: Option<&Sight>) -> Vec<String> {
    let spot = next::Spot::new(at, before);
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
