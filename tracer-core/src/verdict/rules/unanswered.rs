//! It arrived, and nobody answered what wants an answer.

use std::net::IpAddr;

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Proto};
use crate::verdict::matter::Matter;
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, next, words};

/// Nobody owned up to the address that was asked for, or a listener did not answer a SYN.
pub fn unanswered(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst_of(flow, |loss| loss.unanswered)?;
    let at = &*loss.at;
    let is_tcp = loss.first.tuple.is_some_and(|t| t.proto == Proto::Tcp);
    let what = if is_tcp { connection(loss) } else { neighbour(at) };
    let text = format!(
        "{} never answered: {what}{}",
        sentence::subject(flow, loss),
        others::rest(flow, loss),
    );
    let next = if is_tcp { about_listener(at) } else { about_neighbour(loss) };
    Some(Finding::of_unended(loss, text, next))
}

/// What the listener did not do, and why it may be.
fn connection(loss: &Loss) -> String {
    let at = &*loss.at;
    let client = at.tuple.map(|t| format!(" to {}", t.src)).unwrap_or_default();
    let reached = if loss.count == 1 { "it reached" } else { "they reached" };
    format!(
        "{reached} the listening socket{}, which let go of them in silence, with neither a SYN-ACK nor a \
         RST: its accept queue or its SYN queue is full (its process does not accept fast enough), or this \
         host has no route back{client}.",
        words::place(at)
    )
}

/// Where a broadcast was seen last, and that nobody there has the address.
fn neighbour(at: &Sight) -> String {
    let address = at.tuple.map_or_else(|| "the address".to_owned(), |t| sought(t.dst));
    let seen = match at.hook {
        HookName::TcEgress | HookName::OvsOutput => "the last was seen",
        _ => "the last to take a copy was the host",
    };
    format!(
        "{seen}{}, and nobody who got one said that it has {address}: its owner is away, does not answer, \
         or was not reached.",
        words::place(at)
    )
}

/// Whose address is asked for: neighbour discovery asks at the group of all that end alike (RFC 4291,
/// 2.7.1).
fn sought(asked: IpAddr) -> String {
    match asked {
        IpAddr::V6(group) if group.is_multicast() => {
            let [.., a, b] = group.segments();
            format!("an address that ends in {:02x}:{b:04x} (whom {group} asks)", a & 0xff)
        }
        address => address.to_string(),
    }
}

fn about_listener(at: &Sight) -> Vec<String> {
    let spot = next::Spot::new(at, None);
    let mut commands = Vec::new();
    if let Some(port) = at.tuple.and_then(|t| t.dport) {
        commands.push(spot.run(&format!("ss -ltn 'sport = :{port}'")));
    }
    commands
        .push(spot.run("nstat -az TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDrop"));
    commands.extend(at.tuple.map(|t| spot.iproute("ip", &format!("route get {}", t.src))));
    commands
}

fn about_neighbour(loss: &Loss) -> Vec<String> {
    let asker = next::Spot::new(&loss.first, None);
    let mut commands = next::commands(Matter::Neighbour, &next::Spot::new(&loss.first, None));
    commands.retain(|command| command.contains("neigh"));
    let there = next::Spot::new(&loss.at, loss.before.as_deref());
    // It shows, too, which addresses are not to be used: tentative, or duplicates.
    commands.push(there.iproute("ip", "addr"));
    if !there.is_v6() {
        commands.push(there.run("sysctl -ar 'arp_(ignore|filter|announce)'"));
    }
    let seen = [Some(&loss.at), loss.before.as_ref()];
    let at_bridge = seen.into_iter().flatten().any(|sight| is_bridge(sight));
    let bridges = if at_bridge { there } else { asker };
    commands.push(bridges.iproute("bridge", "-d link show"));
    commands.dedup();
    commands
}

/// Whether it was seen at a bridge or a port of one.
fn is_bridge(sight: &Sight) -> bool {
    sight
        .site
        .dev
        .as_ref()
        .is_some_and(|dev| dev.master.is_some() || dev.kind.as_deref() == Some("bridge"))
}
