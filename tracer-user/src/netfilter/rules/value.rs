//! One expression of a rule against one packet. The expressions are those of `nft -j -n`
//! (libnftables-json(5)), numbers for names.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{Facts, Tri};
use crate::model::{Eth, Mac, Proto};
use crate::verdict::hook::Layer;

/// A value that a packet shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Addr(IpAddr),
    Number(u64),
    /// Bits of which several may be asked for.
    Bits(u64),
    /// A frame's type, which nft prints in whichever byte order the rule was given it.
    EtherType(u16),
    Name(String),
    /// The packet has no such thing: no comparison holds.
    Absent,
    /// The record does not tell.
    Unknown,
}

/// The left side of a comparison.
pub(super) fn shown(left: &Value, facts: &Facts) -> Shown {
    if let Some(payload) = left.get("payload") {
        let word = |key| payload.get(key).and_then(Value::as_str).unwrap_or_default();
        return payload_field(word("protocol"), word("field"), facts);
    }
    if let Some(key) = left.pointer("/meta/key").and_then(Value::as_str) {
        return meta(key, facts);
    }
    if left.pointer("/ct/key").and_then(Value::as_str) == Some("state") {
        return ct_state(facts);
    }
    if let Some(header) = left.get("exthdr") {
        let word = |key| header.get(key).and_then(Value::as_str);
        return match (word("name"), word("field")) {
            (Some("frag"), Some("frag-off")) if facts.src.is_ipv6() => {
                Shown::Number(u64::from(facts.fragment / 8))
            }
            _ => Shown::Unknown,
        };
    }
    if let Some([inner, mask]) = left.get("&").and_then(Value::as_array).map(Vec::as_slice) {
        return match (shown(inner, facts), bits(mask)) {
            (Shown::Number(n) | Shown::Bits(n), Some(mask)) => Shown::Number(n & mask),
            (Shown::Absent, _) => Shown::Absent,
            _ => Shown::Unknown,
        };
    }
    Shown::Unknown
}

/// `ETH_P_*` of what the frame carries.
fn ether_type(facts: &Facts) -> u16 {
    match facts.proto {
        Proto::Arp => 0x0806,
        _ if facts.is_v4() => 0x0800,
        _ => 0x86dd,
    }
}

fn link_field(field: &str, facts: &Facts) -> Shown {
    let mac = |of: fn(&Eth) -> Mac| {
        facts.eth.as_ref().map_or(Shown::Unknown, |eth| Shown::Name(of(eth).to_string()))
    };
    match field {
        "saddr" => mac(|eth| eth.src),
        "daddr" => mac(|eth| eth.dst),
        "type" if !facts.has_vlan => Shown::EtherType(ether_type(facts)),
        _ => Shown::Unknown,
    }
}

fn payload_field(protocol: &str, field: &str, facts: &Facts) -> Shown {
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

fn meta(key: &str, facts: &Facts) -> Shown {
    let name = |name: &Option<String>| name.clone().map_or(Shown::Unknown, Shown::Name);
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
fn ct_state(facts: &Facts) -> Shown {
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
fn bits(value: &Value) -> Option<u64> {
    match value {
        Value::Array(all) => all.iter().try_fold(0, |sum, one| Some(sum | number(one)?)),
        one => number(one),
    }
}

fn number(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let text = value.as_str()?;
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A comparison; `named` finds the elements of a named set.
pub(super) fn compare(
    op: &str,
    shown: &Shown,
    right: &Value,
    named: &dyn Fn(&str) -> Option<Value>,
) -> Tri {
    if *shown == Shown::Absent {
        return Tri::No;
    }
    match op {
        "==" | "in" => equals(shown, right, op == "in", named),
        "!=" => equals(shown, right, false, named).not(),
        "<" | ">" | "<=" | ">=" => match (shown, number_of(right)) {
            (Shown::Number(n), Some(than)) => Tri::of(match op {
                "<" => *n < than,
                ">" => *n > than,
                "<=" => *n <= than,
                _ => *n >= than,
            }),
            _ => Tri::Maybe,
        },
        _ => Tri::Maybe,
    }
}

fn number_of(value: &Value) -> Option<u64> {
    number(value)
}

fn equals(
    shown: &Shown,
    right: &Value,
    any_bit: bool,
    named: &dyn Fn(&str) -> Option<Value>,
) -> Tri {
    if *shown == Shown::Unknown {
        return Tri::Maybe;
    }
    let any = |values: &[Value]| {
        let each = values
            .iter()
            .map(|v| equals(shown, v.pointer("/elem/val").unwrap_or(v), any_bit, named));
        each.fold(Tri::No, Tri::or)
    };
    match right {
        Value::Array(values) => match shown {
            // A list of bits is all of them, unless any will do.
            Shown::Bits(_) | Shown::Number(_) if !any_bit => match all_bits(values) {
                Some(bits) => equals(shown, &Value::from(bits), false, named),
                None => Tri::Maybe,
            },
            _ => any(values),
        },
        Value::Object(object) => {
            if let Some(set) = object.get("set") {
                return set
                    .as_array()
                    .map_or_else(|| equals(shown, set, any_bit, named), |values| any(values));
            }
            if let Some(prefix) = object.get("prefix") {
                return in_prefix(shown, prefix);
            }
            match object.get("range").and_then(Value::as_array).map(Vec::as_slice) {
                Some([from, to]) => in_range(shown, from, to),
                _ => Tri::Maybe,
            }
        }
        Value::String(text) if text.starts_with('@') => {
            match named(&text[1..]).as_ref().and_then(Value::as_array) {
                Some(values) => any(values),
                None => Tri::Maybe,
            }
        }
        one => is(shown, one, any_bit),
    }
}

fn all_bits(values: &[Value]) -> Option<u64> {
    values.iter().try_fold(0, |sum, one| Some(sum | number_of(one)?))
}

fn is(shown: &Shown, one: &Value, any_bit: bool) -> Tri {
    match shown {
        Shown::Addr(addr) => {
            let wanted = one.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            wanted.map_or(Tri::Maybe, |wanted| Tri::of(wanted == *addr))
        }
        Shown::Number(n) => number_of(one).map_or(Tri::Maybe, |wanted| Tri::of(wanted == *n)),
        Shown::Bits(n) => number_of(one).map_or(Tri::Maybe, |wanted| {
            Tri::of(if any_bit { n & wanted != 0 } else { *n == wanted })
        }),
        Shown::EtherType(n) => match one.as_str() {
            Some(name @ ("ip" | "arp" | "ip6")) => {
                let wanted = [("ip", 0x0800), ("arp", 0x0806), ("ip6", 0x86dd)];
                Tri::of(wanted.contains(&(name, *n)))
            }
            _ => number_of(one).map_or(Tri::Maybe, |wanted| {
                Tri::of([*n, n.swap_bytes()].map(u64::from).contains(&wanted))
            }),
        },
        Shown::Name(name) => {
            one.as_str().map_or(Tri::Maybe, |wanted| Tri::of(is_name(name, wanted)))
        }
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

fn in_prefix(shown: &Shown, prefix: &Value) -> Tri {
    let Shown::Addr(addr) = shown else { return Tri::Maybe };
    let net = prefix.get("addr").and_then(Value::as_str).and_then(|a| a.parse::<IpAddr>().ok());
    let len = prefix.get("len").and_then(Value::as_u64).and_then(|l| u8::try_from(l).ok());
    match net.zip(len).and_then(|(net, len)| IpNet::new(net, len).ok()) {
        Some(net) => Tri::of(net.contains(addr)),
        None => Tri::Maybe,
    }
}

fn in_range(shown: &Shown, from: &Value, to: &Value) -> Tri {
    match shown {
        Shown::Number(n) => match (number_of(from), number_of(to)) {
            (Some(from), Some(to)) => Tri::of((from..=to).contains(n)),
            _ => Tri::Maybe,
        },
        Shown::Addr(addr) => {
            let parse = |v: &Value| v.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            match (parse(from), parse(to)) {
                (Some(from), Some(to)) => Tri::of(from <= *addr && *addr <= to),
                _ => Tri::Maybe,
            }
        }
        _ => Tri::Maybe,
    }
}
