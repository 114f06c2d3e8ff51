//! What ICMP errors say about a flow.

use std::fmt::Write as _;

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::related::Related;
use crate::record::{Outcome, Proto};
use crate::verdict::matter::{self, Matter};
use crate::verdict::words;

/// Types and codes of RFC 792, RFC 1812, RFC 4443.
fn meaning(proto: Proto, kind: (u8, u8)) -> &'static str {
    match (proto, kind) {
        (Proto::Icmp, (3, 0)) | (Proto::Icmp6, (1, 0)) => "no route",
        (Proto::Icmp, (3, 1)) | (Proto::Icmp6, (1, 3)) => "host unreachable",
        (Proto::Icmp, (3, 2)) => "protocol unreachable",
        (Proto::Icmp, (3, 3)) | (Proto::Icmp6, (1, 4)) => "port unreachable",
        (Proto::Icmp, (3, 4)) => "fragmentation needed",
        (Proto::Icmp6, (2, _)) => "packet too big",
        (Proto::Icmp, (3, 9 | 10 | 13)) | (Proto::Icmp6, (1, 1 | 5 | 6)) => {
            "administratively prohibited"
        }
        (Proto::Icmp, (11, 0)) | (Proto::Icmp6, (3, 0)) => "time exceeded in transit",
        (Proto::Icmp, (11, 1)) | (Proto::Icmp6, (3, 1)) => "fragment reassembly time exceeded",
        (Proto::Icmp, (5, _)) => "redirect",
        (Proto::Icmp, (12, _)) | (Proto::Icmp6, (4, _)) => "parameter problem",
        _ => "error",
    }
}

/// What came back about the flow, a sentence each.
pub fn told(flow: &Flow) -> String {
    let mut text = String::new();
    for related in &flow.related {
        let Some(tuple) = related.first.tuple else { continue };
        let mtu = related.mtu.map(|m| format!(" (MTU {m})")).unwrap_or_default();
        let name = format!("{} {}{mtu}", words::proto(&tuple), meaning(tuple.proto, related.kind));
        let times =
            if related.count == 1 { String::new() } else { format!(", {} times", related.count) };
        let _ = write!(text, " {} sent {name} about it{times}{}.", tuple.src, end(related));
    }
    text
}

fn end(related: &Related) -> String {
    let place = words::place(&related.at);
    match related.outcome {
        Outcome::Delivered => format!(", which reached its host{place}"),
        Outcome::Forwarded => format!(", which left the node{place}"),
        Outcome::InFlight => ", which was still on its way".to_owned(),
        Outcome::Unknown => {
            format!(", seen last{place}; what became of it is not known: events were lost")
        }
        Outcome::Vanished => format!(", which was lost from sight{place}"),
        _ => format!(", which was dropped{place}"),
    }
}

/// Path MTU discovery at work (RFC 1191, RFC 8201): the packets were too big, their sender was told
/// so, and later ones of the connection arrived. That is no fault.
pub fn is_discovery(flow: &Flow, loss: &Loss) -> bool {
    // Nothing but TCP sends again what was too big: other packets died, whatever their sender learnt.
    if loss.first.tuple.is_none_or(|t| t.proto != Proto::Tcp) {
        return false;
    }
    let too_big = matter::of(&loss.at, loss.before.as_deref()).0 == Matter::Mtu;
    let told = flow.related.iter().any(|r| r.is_too_big() && !r.is_lost());
    too_big && told && flow.side(loss.direction).last_good_ts > loss.last_ts
}

/// It may have been path MTU discovery at work, of which a part was not seen: then what became of the
/// connection is not known.
pub fn doubt_discovery(flow: &mut Flow) {
    if !flow.incomplete {
        return;
    }
    let is_found: Vec<bool> = flow.losses.iter().map(|loss| is_discovery(flow, loss)).collect();
    let mut is_found = is_found.into_iter();
    let doubt = flow.doubt();
    flow.doubt_all(doubt, |loss| {
        let is_tcp = loss.first.tuple.is_some_and(|t| t.proto == Proto::Tcp);
        let is_found = is_found.next().unwrap_or(false);
        loss.outcome == Outcome::Dropped
            && is_tcp
            && !is_found
            && matter::of(&loss.at, loss.before.as_deref()).0 == Matter::Mtu
    });
}
