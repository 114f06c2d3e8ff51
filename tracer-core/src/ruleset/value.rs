//! One expression of a rule against one packet. The expressions are those of `nft -j -n`
//! (libnftables-json(5)), numbers for names.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use super::elements::Elements;
use super::lean::{self, Lean};
use super::{Facts, Tri};
use crate::record::{Eth, Mac, Proto};
use crate::verdict::hook::Layer;

/// A value that a packet shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    Addr(IpAddr),
    Number(u64),
    /// Bits of which several may be asked for.
    Bits(u64),
    /// A frame's type, which nft prints in whichever byte order the rule was given it.
    EtherType(u16),
    Name(Cow<'a, str>),
    /// The packet has no such thing: no comparison holds.
    Absent,
    /// The record does not tell.
    Unknown,
}

/// The left side of a comparison: what it looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Left {
    Payload(Box<str>, Box<str>),
    Meta(Box<str>),
    CtState,
    FragOff,
    Masked(Box<Self>, u64),
    Unknown,
}

impl Left {
    /// From its JSON.
    pub fn of(value: &Lean) -> Self {
        if let Some(payload) = value.get("payload") {
            return Self::Payload(payload.text("protocol").into(), payload.text("field").into());
        }
        if let Some(key) = value.get("meta").and_then(|meta| meta.get("key")?.as_text()) {
            return Self::Meta(key.into());
        }
        if value.get("ct").is_some_and(|ct| ct.text("key") == "state") {
            return Self::CtState;
        }
        if let Some(header) = value.get("exthdr") {
            return match (header.text("name"), header.text("field")) {
                ("frag", "frag-off") => Self::FragOff,
                _ => Self::Unknown,
            };
        }
        if let Some([inner, mask]) = value.get("&").and_then(Lean::as_list)
            && let Some(mask) = bits(mask)
        {
            return Self::Masked(Box::new(Self::of(inner)), mask);
        }
        Self::Unknown
    }

    /// Whether it is a source port, which differs from one flow to the next.
    pub fn is_source_port(&self) -> bool {
        match self {
            Self::Payload(_, field) => **field == *"sport",
            Self::Masked(inner, _) => inner.is_source_port(),
            _ => false,
        }
    }

    /// What the packet shows there.
    pub fn shown<'a>(&self, facts: &'a Facts) -> Shown<'a> {
        match self {
            Self::Payload(protocol, field) => payload_field(protocol, field, facts),
            Self::Meta(key) => meta(key, facts),
            Self::CtState => ct_state(facts),
            Self::FragOff if facts.src.is_ipv6() => Shown::Number(u64::from(facts.fragment / 8)),
            Self::FragOff | Self::Unknown => Shown::Unknown,
            Self::Masked(inner, mask) => match inner.shown(facts) {
                Shown::Number(n) | Shown::Bits(n) => Shown::Number(n & mask),
                Shown::Absent => Shown::Absent,
                _ => Shown::Unknown,
            },
        }
    }
}

/// The right side of a comparison: what it is held against.
#[derive(Debug)]
pub(super) enum Right {
    Number(u64),
    Addr(IpAddr),
    Text(Box<str>),
    Net(IpNet),
    /// From and to.
    Range(Box<(Self, Self)>),
    List(Box<[Self]>),
    /// An anonymous set.
    Elements(Box<Elements>),
    /// A named one, by the number of its name.
    Named(u32),
    Unknown,
}

impl Right {
    /// From its JSON; `number` numbers the names of sets.
    pub fn of(value: &Lean, number: &mut dyn FnMut(&str) -> u32) -> Self {
        match value {
            Lean::Number(n) => Self::Number(*n),
            Lean::Text(text) => match text.strip_prefix('@') {
                Some(name) => Self::Named(number(name)),
                None => text.parse().map_or_else(|_| Self::Text(text.clone()), Self::Addr),
            },
            Lean::Net(net) => Self::Net(*net),
            Lean::List(all) => Self::List(all.iter().map(|one| Self::of(one, number)).collect()),
            Lean::Map(_) => {
                if let Some(set) = value.get("set") {
                    let Some(all) = set.as_list() else { return Self::of(set, number) };
                    let mut elements = Elements::default();
                    for one in all {
                        elements.push(Self::of(one, number));
                    }
                    elements.sort();
                    return Self::Elements(Box::new(elements));
                }
                match value.get("range").and_then(Lean::as_list) {
                    Some([from, to]) => {
                        Self::Range(Box::new((Self::of(from, number), Self::of(to, number))))
                    }
                    _ => Self::Unknown,
                }
            }
            Lean::Negative(_) | Lean::Other => Self::Unknown,
        }
    }

    /// Bytes that it takes beside its own, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 16,
            Self::Range(_) => 64,
            Self::List(all) => all.iter().map(|one| 24 + one.size()).sum(),
            Self::Elements(elements) => 128 + elements.size(),
            _ => 0,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(n) => Some(*n),
            Self::Text(text) => lean::number(text),
            _ => None,
        }
    }
}

/// `ETH_P_*` of what the frame carries.
fn ether_type(facts: &Facts) -> u16 {
    match facts.proto {
        Proto::Arp => 0x0806,
        _ if facts.is_v4() => 0x0800,
        _ => 0x86dd,
    }
}

fn link_field<'a>(field: &str, facts: &'a Facts) -> Shown<'a> {
    let mac = |of: fn(&Eth) -> Mac| {
        facts.eth.as_ref().map_or(Shown::Unknown, |eth| Shown::Name(of(eth).to_string().into()))
    };
    match field {
        "saddr" => mac(|eth| eth.src),
        "daddr" => mac(|eth| eth.dst),
        "type" if !facts.has_vlan => Shown::EtherType(ether_type(facts)),
        _ => Shown::Unknown,
    }
}

fn payload_field<'a>(protocol: &str, field: &str, facts: &'a Facts) -> Shown<'a> {
    let number = |n: Option<u64>| n.map_or(Shown::Absent, Shown::Number);
    let port = |wanted: bool, port: Option<u16>| match port {
        None if wanted && facts.is_tunnel => Shown::Unknown,
        port => number(port.filter(|_| wanted).map(u64::from)),
    };
    let with_ports = matches!(facts.proto, Proto::Tcp | Proto::Udp | Proto::Sctp);
    let is_arp = facts.proto == Proto::Arp;
    let of_kind = match protocol {
        "ether" => return link_field(field, facts),
        "ip" => facts.src.is_ipv4() && !is_arp,
        "ip6" => facts.src.is_ipv6(),
        "arp" => is_arp,
        "tcp" => facts.proto == Proto::Tcp,
        "udp" => facts.proto == Proto::Udp,
        "sctp" => facts.proto == Proto::Sctp,
        "th" => with_ports,
        "icmp" => facts.proto == Proto::Icmp,
        "icmpv6" => facts.proto == Proto::Icmp6,
        _ => return Shown::Unknown,
    };
    if !of_kind {
        return Shown::Absent;
    }
    match (protocol, field) {
        ("ip" | "ip6", "saddr") | ("arp", "saddr ip") => Shown::Addr(facts.src),
        ("ip" | "ip6", "daddr") | ("arp", "daddr ip") => Shown::Addr(facts.dst),
        ("ip", "frag-off") if facts.is_tunnel => Shown::Unknown,
        ("ip", "protocol") => number(facts.proto.number().map(u64::from)),
        ("ip", "frag-off") => {
            let more = if facts.more_fragments { 0x2000 } else { 0 };
            Shown::Number(u64::from(facts.fragment / 8) | more)
        }
        ("tcp" | "udp" | "sctp" | "th", "sport") => port(with_ports, facts.sport),
        ("tcp" | "udp" | "sctp" | "th", "dport") => port(with_ports, facts.dport),
        ("tcp", "flags") => facts.tcp_flags.map_or(Shown::Absent, |f| Shown::Bits(u64::from(f))),
        ("icmp" | "icmpv6", "type") => number(facts.icmp.map(|(kind, _)| u64::from(kind))),
        ("icmp" | "icmpv6", "code") => number(facts.icmp.map(|(_, code)| u64::from(code))),
        _ => Shown::Unknown,
    }
}

fn meta<'a>(key: &str, facts: &'a Facts) -> Shown<'a> {
    let name = |name: &'a Option<String>| {
        name.as_deref().map_or(Shown::Unknown, |name| Shown::Name(name.into()))
    };
    match key {
        "l4proto" => facts.proto.number().map_or(Shown::Unknown, |n| Shown::Number(u64::from(n))),
        "nfproto" => Shown::Number(match (facts.hook.layer, facts.is_v4()) {
            (Layer::Device, _) => return Shown::Unknown,
            (Layer::Bridge, _) => 7,
            (Layer::Arp, _) => 3,
            (Layer::Bridged | Layer::Ip, true) => 2,
            (Layer::Bridged | Layer::Ip, false) => 10,
        }),
        "protocol" => Shown::EtherType(ether_type(facts)),
        "iifname" | "iif" => name(&facts.iif),
        "oifname" | "oif" => name(&facts.oif),
        "ibrname" if facts.iif.is_some() => name(&facts.bridge),
        "obrname" if facts.oif.is_some() => name(&facts.bridge),
        _ => Shown::Unknown,
    }
}

/// `NF_CT_STATE_BIT` of `include/net/netfilter/nf_tables.h`, by `enum ip_conntrack_info`.
fn ct_state(facts: &Facts) -> Shown<'static> {
    Shown::Bits(match facts.ct_state.as_deref() {
        None => 1, // invalid: conntrack could make nothing of it
        Some("established" | "reply") => 2,
        Some("related" | "related-reply") => 4,
        Some("new") => 8,
        Some("untracked") => 64,
        Some(_) => return Shown::Unknown,
    })
}

/// A number, or the bits of several.
fn bits(value: &Lean) -> Option<u64> {
    match value {
        Lean::List(all) => all.iter().try_fold(0, |sum, one| Some(sum | one.number()?)),
        one => one.number(),
    }
}

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Is,
    /// Of bits, any will do.
    In,
    IsNot,
    Less,
    More,
    AtMost,
    AtLeast,
    Unknown,
}

impl Op {
    /// As nft prints it.
    pub fn of(op: &str) -> Self {
        match op {
            "==" => Self::Is,
            "in" => Self::In,
            "!=" => Self::IsNot,
            "<" => Self::Less,
            ">" => Self::More,
            "<=" => Self::AtMost,
            ">=" => Self::AtLeast,
            _ => Self::Unknown,
        }
    }
}

/// Finds the elements of a named set.
pub(super) type Named<'a> = &'a dyn Fn(u32) -> Option<&'a Elements>;

/// A comparison.
pub(super) fn compare(op: Op, shown: &Shown<'_>, right: &Right, named: Named<'_>) -> Tri {
    if *shown == Shown::Absent {
        return Tri::No;
    }
    let holds = match op {
        Op::Is | Op::In => return equals(shown, right, op == Op::In, named),
        Op::IsNot => return equals(shown, right, false, named).not(),
        Op::Less => u64::lt,
        Op::More => u64::gt,
        Op::AtMost => u64::le,
        Op::AtLeast => u64::ge,
        Op::Unknown => return Tri::Maybe,
    };
    match (shown, right.number()) {
        (Shown::Number(n), Some(than)) => Tri::of(holds(n, &than)),
        _ => Tri::Maybe,
    }
}

/// Whether it is the same, or one of several.
pub(super) fn equals(shown: &Shown<'_>, right: &Right, any_bit: bool, named: Named<'_>) -> Tri {
    if *shown == Shown::Unknown {
        return Tri::Maybe;
    }
    match right {
        Right::List(values) => match shown {
            // A list of bits is all of them, unless any will do.
            Shown::Bits(_) | Shown::Number(_) if !any_bit => {
                let sum = values.iter().try_fold(0, |sum, one| Some(sum | one.number()?));
                sum.map_or(Tri::Maybe, |bits| is(shown, &Right::Number(bits), false))
            }
            _ => {
                let each = values.iter().map(|one| equals(shown, one, any_bit, named));
                each.fold(Tri::No, Tri::or)
            }
        },
        Right::Elements(elements) => elements.hold(shown, any_bit),
        Right::Named(name) => named(*name).map_or(Tri::Maybe, |set| set.hold(shown, any_bit)),
        Right::Net(net) => match shown {
            Shown::Addr(addr) => Tri::of(net.contains(addr)),
            _ => Tri::Maybe,
        },
        Right::Range(ends) => in_range(shown, &ends.0, &ends.1),
        Right::Unknown => {
            if *shown == Shown::Absent {
                Tri::No
            } else {
                Tri::Maybe
            }
        }
        one => is(shown, one, any_bit),
    }
}

fn is(shown: &Shown<'_>, one: &Right, any_bit: bool) -> Tri {
    let number = |holds: &dyn Fn(u64) -> bool| {
        one.number().map_or(Tri::Maybe, |wanted| Tri::of(holds(wanted)))
    };
    match shown {
        Shown::Addr(addr) => match one {
            Right::Addr(wanted) => Tri::of(wanted == addr),
            _ => Tri::Maybe,
        },
        Shown::Number(n) => number(&|wanted| wanted == *n),
        Shown::Bits(n) => number(&|wanted| if any_bit { n & wanted != 0 } else { *n == wanted }),
        Shown::EtherType(n) => match one {
            Right::Text(name) if matches!(&**name, "ip" | "arp" | "ip6") => {
                let wanted = [("ip", 0x0800), ("arp", 0x0806), ("ip6", 0x86dd)];
                Tri::of(wanted.contains(&(&**name, *n)))
            }
            _ => number(&|wanted| [*n, n.swap_bytes()].map(u64::from).contains(&wanted)),
        },
        Shown::Name(name) => match one {
            Right::Text(wanted) => Tri::of(is_name(name, wanted)),
            Right::Addr(wanted) => Tri::of(is_name(name, &wanted.to_string())),
            _ => Tri::Maybe,
        },
        Shown::Absent => Tri::No,
        Shown::Unknown => Tri::Maybe,
    }
}

/// A device's name, or the beginning of one before an asterisk.
pub(super) fn is_name(name: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(front) => name.starts_with(front),
        None => name == wanted,
    }
}

fn in_range(shown: &Shown<'_>, from: &Right, to: &Right) -> Tri {
    match shown {
        Shown::Number(n) => match (from.number(), to.number()) {
            (Some(from), Some(to)) => Tri::of((from..=to).contains(n)),
            _ => Tri::Maybe,
        },
        Shown::Addr(addr) => match (from, to) {
            (Right::Addr(from), Right::Addr(to)) => Tri::of(from <= addr && addr <= to),
            _ => Tri::Maybe,
        },
        _ => Tri::Maybe,
    }
}
