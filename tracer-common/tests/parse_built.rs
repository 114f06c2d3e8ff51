//! What the parser reads is what was built.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use common::build::{Body, Extension, Flow, Frame, Version};
use common::{invariants, layers, strategies};
use proptest::prelude::*;
use tracer_common::flow::{Addr, Tuple};
use tracer_common::packet::link;
use tracer_common::source::Bytes;
use tracer_common::transport::{icmp, tcp};
use tracer_common::tunnel::{Kind, Layer, MAX_LAYERS, load, quotation, tunnel};

fn v6(octets: [u8; 16]) -> Addr {
    let (high, low) = octets.split_at(8);
    Addr::v6(
        u64::from_ne_bytes(high.try_into().unwrap()),
        u64::from_ne_bytes(low.try_into().unwrap()),
    )
}

/// The transport header's own 8 bytes are there: none of the bodies is shorter.
fn ports(flow: &Flow) -> Option<(u16, u16)> {
    match &flow.body {
        _ if flow.is_later_fragment() => None,
        Body::Tcp { sport, dport, .. }
        | Body::Udp { sport, dport, .. }
        | Body::Sctp { sport, dport, .. } => Some((*sport, *dport)),
        Body::Vxlan { port, .. } => Some((50000, *port)),
        Body::Geneve { .. } => Some((50001, 6081)),
        _ => None,
    }
}

fn check_network(flow: &Flow, layer: &Layer) {
    let n = &layer.network;
    assert_eq!(n.proto, u16::from(flow.protocol()));
    assert_eq!(n.ttl, flow.ip.ttl);
    assert_eq!(n.total_len as usize, flow.bytes().len());
    match &flow.ip.version {
        Version::V4 { src, dst, id, df, fragment, .. } => {
            assert_eq!((n.version, n.src, n.dst), (4, Addr::v4(*src), Addr::v4(*dst)));
            assert_eq!((n.id, n.df), (u32::from(*id), *df));
            let (offset, more) = fragment.unwrap_or_default();
            assert_eq!((n.frag_offset, n.more_fragments), (offset * 8, more));
        }
        Version::V6 { src, dst, extensions } => {
            assert_eq!((n.version, n.src, n.dst), (6, v6(*src), v6(*dst)));
            let fragment = extensions.iter().find_map(|e| match e {
                Extension::Fragment(offset, more, id) => Some((offset * 8, *more, *id)),
                _ => None,
            });
            let (offset, more, id) = fragment.unwrap_or_default();
            assert_eq!((n.frag_offset, n.more_fragments, n.id), (offset, more, id));
        }
    }
}

fn check_transport(flow: &Flow, layer: &Layer, frame: &[u8]) {
    let (n, t) = (&layer.network, &layer.transport);
    let (sport, dport) = ports(flow).unwrap_or_default();
    let has_ports = u16::from(ports(flow).is_some());
    let tuple = Tuple { src: n.src, dst: n.dst, sport, dport, proto: n.proto, has_ports };
    assert_eq!(t.tuple, tuple);
    assert_eq!(t.present, !flow.is_later_fragment());
    if !t.present {
        assert_eq!(icmp(t), None);
        return;
    }
    match &flow.body {
        Body::Tcp { seq, ack, flags, options, .. } => {
            let header = tcp(&Bytes(frame), n.transport_at).unwrap();
            assert_eq!((header.seq, header.ack, header.flags), (*seq, *ack, *flags));
            assert_eq!(header.header_len, 20 + 4 * u32::from(*options));
        }
        Body::Icmp { kind, code, rest, .. } => {
            let header = icmp(t).unwrap();
            assert_eq!((header.kind, header.code, header.rest), (*kind, *code, *rest));
        }
        _ => assert_eq!(icmp(t), None),
    }
}

fn check_tunnel(flow: &Flow, layer: &Layer, frame: &[u8]) {
    let (kind, key) = match &flow.body {
        Body::Vxlan { vni, .. } => (Kind::Vxlan, Some(*vni)),
        Body::Geneve { vni, .. } => (Kind::Geneve, Some(*vni)),
        Body::Gre { key, .. } | Body::Gretap { key, .. } => (Kind::Gre, *key),
        Body::IpIp(_) => (Kind::IpIp, None),
        _ => {
            assert_eq!(tunnel(&Bytes(frame), &layer.network, &layer.transport), None);
            return;
        }
    };
    let read = tunnel(&Bytes(frame), &layer.network, &layer.transport).unwrap();
    assert_eq!((read.kind, read.key), (kind, key));
    assert!(load(&Bytes(frame), &read).is_some());
}

fn check(frame: &Frame) {
    let bytes = frame.bytes();
    let read = link(&Bytes(&bytes), 0).unwrap();
    assert_eq!((read.dst, read.src), ([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]));
    let tags: Vec<_> = read.vlans.iter().filter(|t| t.tpid != 0).map(|t| (t.tpid, t.tci)).collect();
    assert_eq!(tags, frame.vlans);
    for tag in read.vlans {
        assert_eq!(u16::from(tag.pcp()) << 13 | tag.tci & 0x1000 | tag.id(), tag.tci);
    }
    let (flows, mut layers) = (frame.flows(), layers(&bytes));
    invariants::glanced(&bytes, &layers);
    // What an ICMP error quotes is random here.
    if let Some(error) = layers.iter().position(|l| quotation(&l.network, &l.transport).is_some()) {
        layers.truncate(error + 1);
    }
    assert_eq!(layers.len(), flows.len().min(MAX_LAYERS));
    for (flow, layer) in flows.into_iter().zip(&layers) {
        check_network(flow, layer);
        check_transport(flow, layer, &bytes);
        check_tunnel(flow, layer, &bytes);
    }
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_built(frame in strategies::frame()) {
        check(&frame);
    }
}
