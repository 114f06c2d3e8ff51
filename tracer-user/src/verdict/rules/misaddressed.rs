//! It arrived with the MAC of another.

use std::rc::Rc;

use crate::model::{Dev, Mac, Outcome};
use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::verdict::rules::sentence;
use crate::verdict::{Finding, datapath, next, words};

/// A packet of the flow reached a device whose MAC is not the one it was sent to, and nobody else
/// took it.
pub fn misaddressed(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst(flow, Outcome::Misaddressed)?;
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let seen = [Some(at), before];
    let sent_to = seen.iter().flatten().find_map(|s| s.eth).map(|eth| eth.dst);
    let device = seen.iter().flatten().find_map(|s| s.site.dev.as_deref());
    let own = device.and_then(|d| d.mac);
    let macs = match (sent_to, own) {
        (Some(to), Some(own)) if to != own => {
            format!(": the frame is for {to}, and the device's own MAC is {own}")
        }
        (Some(to), _) => format!(": the frame is for {to}, which is not this device's MAC"),
        _ => ": the frame is for another's MAC".to_owned(),
    };
    // A member of a bond has a MAC of its own, which nobody should be told.
    let whose = sent_to.and_then(|to| owner_of(loss, to, device?)).unwrap_or_default();
    let place = if at.site.dev.is_some() { at } else { before.unwrap_or(at) };
    let named = at.raw_reason().map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let run = datapath::last_run(&loss.passage).and_then(datapath::quoted);
    let sent = run.map(|list| format!(" Open vSwitch sent it there: {list}.")).unwrap_or_default();
    let text = format!(
        "{} refused{}{macs}{whose}{named}.{sent} Whoever sent it has a wrong neighbour entry, or nobody has that MAC any more.{}",
        sentence::subject(flow, loss),
        words::place(place),
        sentence::rest(flow, loss),
    );
    let (spot, sender) = (next::Spot::new(at, before), next::Spot::new(&loss.first, None));
    let mut commands = Vec::new();
    if let Some(device) = device {
        let arguments = format!("link show dev {}", words::shell(&device.name));
        commands.push(spot.iproute("ip", &arguments));
    }
    commands.push(sender.iproute("ip", "neigh show"));
    // A switch elsewhere has its own; that of this device is in its namespace.
    let bridge = device.and_then(|d| match d.kind.as_deref() {
        Some("bridge") => Some(&d.name),
        _ => d.master.as_ref(),
    });
    commands
        .extend(bridge.map(|bridge| {
            spot.iproute("bridge", &format!("fdb show br {}", words::shell(bridge)))
        }));
    Some(Finding {
        outcome: loss.outcome,
        due: None,
        place: place.place(),
        reason: at.raw_reason().map(str::to_owned),
        text,
        next: commands,
        evidence: loss.evidence.clone(),
        rule: None,
    })
}

/// `; that is the MAC of eth1 (port 2 of br-bond in bond1), by which it came`: where the frame's
/// destination is a device on its way, but not the one that it is for.
fn owner_of(loss: &Loss, mac: Mac, device: &Dev) -> Option<String> {
    let way = loss.passage.iter().chain(&loss.before).chain([&loss.first, &loss.at]);
    let other = |s: &&Rc<Sight>| {
        let is_it = |d: &Dev| d.mac == Some(mac) && d.name != device.name;
        s.site.dev.as_deref().is_some_and(is_it)
    };
    let found = way.into_iter().find(other).and_then(|s| words::device(s))?;
    Some(format!("; that is the MAC of {found}, by which it came"))
}
