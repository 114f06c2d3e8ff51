//! What a rule of iptables asks of a packet (`iptables-extensions(8)`).

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{Facts, Tri};
use crate::record::Proto;

/// What a rule asks of a packet.
#[derive(Debug)]
pub(super) enum Test {
    /// A protocol's number; none: any.
    Proto(Option<u8>),
    From(IpNet),
    To(IpNet),
    Input(Box<str>),
    Output(Box<str>),
    SourcePort(Box<str>),
    Port(Box<str>),
    EitherPort(Box<str>),
    State(Box<str>),
    Flags(Box<(String, String)>),
    Icmp(Box<str>),
    Fragment,
    Unknown,
}

impl Test {
    /// Whether the packet does.
    pub fn holds(&self, facts: &Facts) -> Tri {
        match self {
            Self::Proto(None) => Tri::Yes,
            Self::Proto(number) => Tri::of(facts.proto.number() == *number),
            Self::From(net) => Tri::of(net.contains(&facts.src)),
            Self::To(net) => Tri::of(net.contains(&facts.dst)),
            Self::Input(name) => is_device(name, facts.iif.as_deref()),
            Self::Output(name) => is_device(name, facts.oif.as_deref()),
            Self::SourcePort(ports) => is_port(ports, facts.sport, facts),
            Self::Port(ports) => is_port(ports, facts.dport, facts),
            Self::EitherPort(ports) => {
                is_port(ports, facts.sport, facts).or(is_port(ports, facts.dport, facts))
            }
            Self::State(states) => is_state(states, facts),
            Self::Flags(flags) => has_flags(&flags.0, &flags.1, facts),
            Self::Icmp(kind) => is_icmp(kind, facts),
            Self::Fragment => Tri::of(facts.fragment != 0),
            Self::Unknown => Tri::Maybe,
        }
    }
}

pub(super) fn is_known_match(name: &str) -> bool {
    matches!(
        name,
        "tcp" | "udp" | "sctp" | "conntrack" | "state" | "comment" | "multiport" | "icmp" | "icmp6"
    )
}

/// `None`: all of them.
pub(super) fn proto(name: &str) -> Option<Test> {
    let number = match name {
        "all" => return None,
        "ipv6-icmp" | "icmpv6" => Some(58),
        _ => name.parse().ok().or_else(|| Proto::parse(name)?.number()),
    };
    Some(number.map_or(Test::Unknown, |n| Test::Proto(Some(n))))
}

pub(super) fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn is_device(wanted: &str, name: Option<&str>) -> Tri {
    name.map_or(Tri::Maybe, |name| {
        Tri::of(match wanted.strip_suffix('+') {
            Some(front) => name.starts_with(front),
            None => name == wanted,
        })
    })
}

/// Ports and ranges, comma between them.
fn is_port(wanted: &str, port: Option<u16>, facts: &Facts) -> Tri {
    let Some(port) = port else {
        return if facts.is_tunnel { Tri::Maybe } else { Tri::No };
    };
    let one = |part: &str| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let from = if from.is_empty() { Some(0) } else { from.parse().ok() };
        let to = if to.is_empty() { Some(u16::MAX) } else { to.parse().ok() };
        from.zip(to).map_or(Tri::Maybe, |(from, to)| Tri::of((from..=to).contains(&port)))
    };
    wanted.split(',').map(one).fold(Tri::No, Tri::or)
}

fn is_state(wanted: &str, facts: &Facts) -> Tri {
    let own = match facts.ct_state.as_deref() {
        None => "INVALID",
        Some("established" | "reply") => "ESTABLISHED",
        Some("related" | "related-reply") => "RELATED",
        Some("new") => "NEW",
        Some("untracked") => "UNTRACKED",
        Some(_) => return Tri::Maybe,
    };
    // SNAT and DNAT are states to iptables, too.
    let known = wanted.split(',').all(|s| !matches!(s, "SNAT" | "DNAT"));
    let has = wanted.split(',').any(|s| s == own);
    if has || known { Tri::of(has) } else { Tri::Maybe }
}

fn has_flags(mask: &str, set: &str, facts: &Facts) -> Tri {
    let bits = |names: &str| {
        names.split(',').try_fold(0_u8, |sum, name| {
            let bit = match name {
                "FIN" => 1,
                "SYN" => 2,
                "RST" => 4,
                "PSH" => 8,
                "ACK" => 16,
                "URG" => 32,
                "NONE" => 0,
                "ALL" => 63,
                _ => return None,
            };
            Some(sum | bit)
        })
    };
    match (bits(mask), bits(set), facts.tcp_flags) {
        (Some(mask), Some(set), Some(flags)) => Tri::of(flags & mask == set),
        (_, _, None) => Tri::No,
        _ => Tri::Maybe,
    }
}

fn is_icmp(wanted: &str, facts: &Facts) -> Tri {
    let Some((kind, code)) = facts.icmp else { return Tri::No };
    let (kind_wanted, code_wanted) =
        wanted.split_once('/').map_or((wanted, None), |(k, c)| (k, Some(c)));
    match (kind_wanted.parse::<u8>(), code_wanted.map(str::parse::<u8>)) {
        (Ok(k), None) => Tri::of(k == kind),
        (Ok(k), Some(Ok(c))) => Tri::of(k == kind && c == code),
        _ => Tri::Maybe,
    }
}
