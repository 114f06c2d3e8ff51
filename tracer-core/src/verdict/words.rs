//! How packets and places are called in a sentence.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::reconstruct::sight::{Sight, netns_name};
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{ArpOp, Dev, HookName, Netns, Proto, Verdict};

/// A name from outside without what a terminal would act upon: control characters (C0, DEL, C1)
/// and the invisible ones that reorder text are shown as `\u{…}`.
pub fn safe(name: &str) -> Cow<'_, str> {
    if !name.chars().any(is_harmful) {
        return Cow::Borrowed(name);
    }
    let mut shown = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_harmful(c) {
            let _ = write!(shown, "\\u{{{:x}}}", c as u32);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `10.0.0.1:4242 -> 10.0.0.2:443`; IPv6 with brackets where there is a port.
pub fn ends(tuple: &FlowTuple) -> String {
    format!("{} -> {}", end(tuple.src, tuple.sport), end(tuple.dst, tuple.dport))
}

/// `10.0.0.1:4242`; IPv6 with brackets where there is a port.
pub fn end(addr: std::net::IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => std::net::SocketAddr::new(addr, port).to_string(),
        None => addr.to_string(),
    }
}

/// Why events were lost, for the word in a record.
pub fn why_lost(what: Option<&str>) -> &str {
    match what {
        Some("ring-full") | None => "the ring buffer was full",
        Some("missed") => "they happened while the same program was running",
        Some("unreadable") => "kernel memory could not be read",
        Some("unread") => "the trace was ended before they were read",
        Some("identity-full") => "a map took no more entries",
        Some("identity-evicted") => "the map of followed packets had no more room",
        Some("learned-evicted") => "the map of learned tuples had no more room",
        Some(other) => other,
    }
}

/// The protocol's name in a sentence.
pub fn proto(tuple: &FlowTuple) -> Cow<'static, str> {
    match tuple.proto {
        Proto::Tcp => "TCP".into(),
        Proto::Udp => "UDP".into(),
        Proto::Icmp => "ICMP".into(),
        Proto::Icmp6 => "ICMPv6".into(),
        Proto::Sctp => "SCTP".into(),
        Proto::Arp => "ARP".into(),
        Proto::Other(n) => format!("IP protocol {n}").into(),
        Proto::Unknown => "unknown protocol".into(),
    }
}

/// What kind of packet it is: `TCP SYN`, `ICMP echo request`, `UDP packet`.
pub fn kind(sight: &Sight) -> String {
    let Some(tuple) = &sight.tuple else {
        return "packet".to_owned();
    };
    let proto = proto(tuple);
    let what = match tuple.proto {
        Proto::Tcp => match sight.tcp {
            Some(f) if f.is_syn() => "SYN",
            Some(f) if f.is_syn_ack() => "SYN-ACK",
            Some(f) if f.is_reset() => "RST",
            Some(f) if f.is_fin() => "FIN",
            _ => "segment",
        },
        Proto::Icmp | Proto::Icmp6 => {
            sight.icmp.as_ref().map_or("packet", |i| icmp(tuple.proto, i.r#type))
        }
        Proto::Arp => match sight.arp {
            Some(ArpOp::Request) => "request",
            Some(ArpOp::Reply) => "reply",
            _ => "packet",
        },
        _ => "packet",
    };
    let fragment = if sight.fragment.is_some() { " (fragmented)" } else { "" };
    format!("{proto} {what}{fragment}")
}

/// Types of RFC 792 and RFC 4443, RFC 4861.
fn icmp(proto: Proto, r#type: u8) -> &'static str {
    match (proto, r#type) {
        (Proto::Icmp, 8) | (Proto::Icmp6, 128) => "echo request",
        (Proto::Icmp, 0) | (Proto::Icmp6, 129) => "echo reply",
        (Proto::Icmp, 3) | (Proto::Icmp6, 1) => "unreachable message",
        (Proto::Icmp, 11) | (Proto::Icmp6, 3) => "time-exceeded message",
        (Proto::Icmp6, 2) => "packet-too-big message",
        (Proto::Icmp, 5) | (Proto::Icmp6, 137) => "redirect",
        (Proto::Icmp6, 133) => "router solicitation",
        (Proto::Icmp6, 134) => "router advertisement",
        (Proto::Icmp6, 135) => "neighbour solicitation",
        (Proto::Icmp6, 136) => "neighbour advertisement",
        _ => "packet",
    }
}

/// `in netns router`; empty where it is unknown.
pub fn in_netns(netns: Option<&Netns>) -> String {
    match netns {
        None => String::new(),
        Some(Netns { inode, name: None, .. }) => format!(" in the unnamed netns {inode}"),
        Some(netns) => format!(" in netns {}", safe(&netns_name(netns))),
    }
}

/// `veth-c (veth)`; `None` where it is unknown.
pub fn device(sight: &Sight) -> Option<String> {
    let dev = sight.site.dev.as_ref()?;
    let kind = dev.kind.as_deref().map(|k| safe(k).into_owned());
    let facts: Vec<_> = kind.into_iter().chain(switch_port(dev)).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    Some(format!("{}{facts}", safe(&dev.name)))
}

/// `port 2 of br-bond in bond1`: what a device is to Open vSwitch.
fn switch_port(dev: &Dev) -> Option<String> {
    let bridge = safe(dev.bridge.as_deref()?);
    // OFPP_LOCAL
    let port = match dev.ofport {
        Some(65534) => "local port".to_owned(),
        Some(n) => format!("port {n}"),
        None => "port".to_owned(),
    };
    let bond = dev.bond.as_deref().map(|b| format!(" in {}", safe(b))).unwrap_or_default();
    Some(format!("{port} of {bridge}{bond}"))
}

/// ` in netns router on veth-c (veth)`, as far as it is known.
pub fn place(sight: &Sight) -> String {
    let mut text = in_netns(sight.site.netns.as_deref());
    if let Some(dev) = device(sight) {
        let how = match sight.hook {
            HookName::TcIngress => "entering",
            HookName::TcEgress => "leaving by",
            _ => "on",
        };
        let _ = write!(text, " {how} {dev}");
    }
    text
}

/// `nf_hook_slow+0x4a`.
pub fn symbol(sight: &Sight) -> Option<String> {
    let (symbol, offset) = sight.cause.as_ref()?.place()?;
    Some(match offset {
        0 => safe(symbol).into_owned(),
        _ => format!("{}+{offset:#x}", safe(symbol)),
    })
}

/// One or many: `1 packet`, `3 packets`.
pub fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {}", many(what)) }
}

/// The plural: `packets`, `echo replies`, `UDP packets (fragmented)`.
pub fn many(what: &str) -> String {
    if let Some((which, besides)) = what.split_once(" (") {
        return format!("{} ({besides}", many(which));
    }
    match what.strip_suffix("reply") {
        Some(which) => format!("{which}replies"),
        None => format!("{what}s"),
    }
}

/// A word of a shell command, quoted where the shell would do more than read it.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@%+=,".contains(c);
    // A command is for a person to paste: what cannot be seen must not be in it.
    let word = safe(word);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The flow of a verdict, for a line of text.
pub fn flow_name(verdict: &Verdict) -> String {
    let Some(tuple) = verdict.forward else {
        return "packets without a readable flow".to_owned();
    };
    format!("{} {}", proto(&tuple), ends(&tuple))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_upon_gets_through() {
        assert_eq!(safe("veth-c"), "veth-c");
        assert_eq!(safe("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(safe("\u{9b}2J\u{202e}x\u{7f}\n"), "\\u{9b}2J\\u{202e}x\\u{7f}\\u{a}");
    }

    #[test]
    fn many_of_a_kind_are_named_as_the_language_does() {
        assert_eq!(count(1, "UDP packet (fragmented)"), "1 UDP packet (fragmented)");
        assert_eq!(count(2, "UDP packet (fragmented)"), "2 UDP packets (fragmented)");
        assert_eq!(many("ICMP echo reply (fragmented)"), "ICMP echo replies (fragmented)");
    }

    #[test]
    fn a_shell_reads_a_name_as_one_word() {
        assert_eq!(shell("veth-c.10"), "veth-c.10");
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell("-rf"), "'-rf'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn ipv6_has_brackets_only_where_there_is_a_port() {
        let mut t = FlowTuple {
            proto: Proto::Udp,
            src: "2001:db8::1".parse().unwrap(),
            sport: Some(1),
            dst: "2001:db8::2".parse().unwrap(),
            dport: Some(2),
        };
        assert_eq!(ends(&t), "[2001:db8::1]:1 -> [2001:db8::2]:2");
        (t.sport, t.dport) = (None, None);
        assert_eq!(ends(&t), "2001:db8::1 -> 2001:db8::2");
    }
}
