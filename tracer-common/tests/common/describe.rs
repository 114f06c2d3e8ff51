//! A frame in words, to hold against what other tools read in it.

use std::net::Ipv6Addr;

use tracer_common::flow::{Addr, proto};
use tracer_common::packet::{ETH_P_8021AD, Link, arp_fields, link};
use tracer_common::source::Bytes;
use tracer_common::transport::{icmp, tcp};
use tracer_common::tunnel::{Kind, Layer, tunnel};

/// The frame line by line: VLAN tags, then a line or two for each flow, outermost first, with the
/// tunnel between them.
pub fn describe(frame: &[u8]) -> Vec<String> {
    let Some(link) = link(&Bytes(frame), 0) else {
        return Vec::new();
    };
    let mut lines: Vec<String> = tags(&link).into_iter().collect();
    let layers = super::layers(frame);
    for (i, layer) in layers.iter().enumerate() {
        lines.push(flow(layer));
        let inner = tunnel(&Bytes(frame), &layer.network, &layer.transport);
        if let (Some(tunnel), true) = (inner, i + 1 < layers.len()) {
            let kind = match tunnel.kind {
                Kind::Vxlan => "vxlan",
                Kind::Geneve => "geneve",
                Kind::Gre => "gre",
                Kind::IpIp => "ipip",
            };
            lines.push(tunnel.key.map_or(kind.to_owned(), |key| format!("{kind} {key}")));
        } else {
            lines.extend(detail(frame, layer));
        }
    }
    lines
}

fn tags(link: &Link) -> Option<String> {
    let words: Vec<String> = link
        .vlans
        .iter()
        .filter(|tag| tag.tpid != 0)
        .map(|tag| {
            let kind = if tag.tpid == ETH_P_8021AD { 's' } else { 'c' };
            format!("{kind}{}p{}", tag.id(), tag.pcp())
        })
        .collect();
    (!words.is_empty()).then(|| format!("vlan {}", words.join(" ")))
}

fn end(addr: Addr, port: Option<u16>) -> String {
    let addr = Ipv6Addr::from(addr.octets()).to_canonical();
    match port {
        Some(port) => std::net::SocketAddr::new(addr, port).to_string(),
        None => addr.to_string(),
    }
}

fn flow(layer: &Layer) -> String {
    let (n, t) = (&layer.network, &layer.transport.tuple);
    let name = match n.proto {
        proto::ARP => "arp",
        proto::ICMP => "icmp",
        proto::ICMP6 => "icmp6",
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::SCTP => "sctp",
        proto::GRE => "gre",
        proto::IPIP => "ipip",
        proto::IPV6 => "ipv6",
        _ => "?",
    };
    let port = |port| (t.has_ports != 0).then_some(port);
    let (src, dst) = (end(t.src, port(t.sport)), end(t.dst, port(t.dport)));
    let mut words = vec![format!("{name} {src} > {dst} ttl {} len {}", n.ttl, n.total_len)];
    let fragment = n.frag_offset != 0 || n.more_fragments;
    if n.version == 4 || fragment {
        words.push(format!("id {}", n.id));
    }
    if n.df {
        words.push("df".to_owned());
    }
    if fragment {
        let more = if n.more_fragments { "+" } else { "" };
        words.push(format!("frag {}{more}", n.frag_offset));
    }
    words.join(" ")
}

fn detail(frame: &[u8], layer: &Layer) -> Option<String> {
    let (n, bytes) = (&layer.network, Bytes(frame));
    if n.proto == proto::ARP {
        let arp = arp_fields(&bytes, n.at)?;
        let (from, to) = (mac(arp.sender_mac), mac(arp.target_mac));
        return Some(format!("op {} from {from} to {to}", arp.op));
    }
    if n.proto == proto::TCP && layer.transport.present {
        let tcp = tcp(&bytes, n.transport_at)?;
        let flags: String = [(1, 'F'), (2, 'S'), (4, 'R'), (8, 'P'), (16, 'A')]
            .into_iter()
            .filter_map(|(bit, letter)| (tcp.flags & bit != 0).then_some(letter))
            .collect();
        return Some(format!("{flags} seq {} ack {} header {}", tcp.seq, tcp.ack, tcp.header_len));
    }
    let icmp = icmp(&layer.transport)?;
    let mut words = vec![format!("type {} code {}", icmp.kind, icmp.code)];
    words.extend(icmp.echo(n.proto).map(|(id, seq)| format!("id {id} seq {seq}")));
    words.extend(icmp.mtu(n.proto).map(|mtu| format!("mtu {mtu}")));
    Some(words.join(" "))
}

fn mac(b: [u8; 6]) -> String {
    b.map(|b| format!("{b:02x}")).join(":")
}
