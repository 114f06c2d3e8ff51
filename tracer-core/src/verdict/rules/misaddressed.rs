//! It arrived with the MAC of another.

use std::rc::Rc;

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::{Dev, HookName, Mac, Outcome, TraceKind};
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, datapath, next, pipeline, words};

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
        // `__netif_receive_skb_core`: what is tagged and nobody's.
        (Some(to), Some(_)) => {
            let tag = seen.iter().flatten().find_map(|s| s.vlan.first());
            let tag = tag.map_or_else(String::new, |tag| format!(" {}", tag.id));
            format!(
                ": the frame is for {to}, which is this device's MAC, but it is tagged for VLAN{tag}, for \
                 which there is no VLAN device here"
            )
        }
        (Some(to), None) => format!(": the frame is for {to}, which is not this device's MAC"),
        _ => ": the frame is for another's MAC".to_owned(),
    };
    // A member of a bond has a MAC of its own, which nobody should be told.
    let whose = sent_to.and_then(|to| owner_of(loss, to, device?)).unwrap_or_default();
    let place = if at.site.dev.is_some() { at } else { before.unwrap_or(at) };
    let named = at.raw_reason().map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let owner = loss.owner.as_deref();
    let text = format!(
        "{} refused{}{macs}{whose}{named}.{}{}{}{}",
        sentence::subject(flow, loss),
        words::place(place),
        switched(loss),
        if sent_to.is_some() && sent_to == own { String::new() } else { blame(loss, sent_to) },
        owner.map(|o| pipeline::sender(o) + &pipeline::besides(o)).unwrap_or_default(),
        others::rest(flow, loss),
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
    commands.extend(owner.map(pipeline::commands).unwrap_or_default());
    if let Some(bridge) = sent_by(loss).and_then(|by| by.site.dev.as_ref()?.bridge.as_deref()) {
        commands.push(format!("ovs-appctl fdb/show {}", words::shell(bridge)));
    }
    Some(Finding {
        outcome: loss.outcome,
        due: None,
        place: place.place(),
        reason: at.raw_reason().map(str::to_owned),
        text,
        next: commands,
        evidence: loss.evidence.clone(),
        rule: owner.cloned().map(Box::new),
    })
}

/// The port of Open vSwitch's by which it left last.
fn sent_by(loss: &Loss) -> Option<&Sight> {
    loss.passage.iter().rfind(|s| s.hook == HookName::OvsOutput).map(|s| &**s)
}

/// ` Open vSwitch sent it there, by p-t (veth, port 3 of br0): `4`.`
fn switched(loss: &Loss) -> String {
    let Some(list) = datapath::last_run(&loss.passage).and_then(datapath::quoted) else {
        return String::new();
    };
    let by =
        sent_by(loss).and_then(words::device).map(|by| format!(", by {by}")).unwrap_or_default();
    format!(" Open vSwitch sent it there{by}: {list}.")
}

/// Who may be at fault.
fn blame(loss: &Loss, sent_to: Option<Mac>) -> String {
    const SENDER: &str =
        " Whoever sent it has a wrong neighbour entry, or nobody has that MAC any more";
    let Some(to) = sent_to.filter(|_| sent_by(loss).is_some()) else {
        return format!("{SENDER}.");
    };
    let was = loss.first.eth.map(|eth| eth.dst).filter(|was| *was != to);
    let mut lists = loss.passage.iter().filter_map(|s| s.ovs.as_deref()?.actions.as_deref());
    let owner = loss.owner.as_deref();
    match (was.filter(|_| lists.any(|list| sets_mac(list, to))), owner) {
        (Some(was), _) => {
            format!(" It came to Open vSwitch for {was}: a rule there gave it this wrong MAC.")
        }
        (None, Some(owner)) if owner.kind == TraceKind::Mirrored => String::new(),
        // `xlate_normal`
        (None, Some(owner)) if owner.words.as_deref() == Some("forwarding to learned port") => {
            " The bridge's MAC table has that MAC at this port: whoever has it has moved, or somebody else \
             has used it."
                .to_owned()
        }
        (None, _) => format!(
            "{SENDER}, or Open vSwitch took the wrong port for it (a rule, a stale entry in its MAC table, a \
             mirror's copy)."
        ),
    }
}

/// Whether a list of actions gives the frame this destination: `set(eth(src=…,dst=…))`.
fn sets_mac(actions: &str, to: Mac) -> bool {
    let to = format!("dst={to}");
    let mut told = actions.split("set(eth(").skip(1).filter_map(|rest| rest.split(')').next());
    told.any(|eth| eth.split(',').any(|part| part.starts_with(&to)))
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
