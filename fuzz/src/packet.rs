//! A frame through the whole parser: link, layers, tunnels, headers, fingerprint, mark.

use tracer_common::fingerprint::fingerprint;
use tracer_common::flow::proto;
use tracer_common::glance;
use tracer_common::packet::{Network, arp_fields, link, network, skip_vlans};
use tracer_common::source::{Bytes, Source};
use tracer_common::transport::{Transport, icmp, mark, tcp};
use tracer_common::tunnel::{Layer, MAX_LAYERS, load, tunnel, walk};

/// Panics where the parser breaks a promise. The last byte says where the frame is cut in two.
pub fn check(data: &[u8]) {
    let Some((cut, frame)) = data.split_last() else {
        return;
    };
    let whole = layers(frame);
    sane(frame, &whole);
    glanced(frame, &whole);
    anywhere(frame, u32::from(*cut) << 24 | u32::from(*cut));
    cut_at(frame, frame.len() * usize::from(*cut) / 256);
}

/// The flows of a frame, outermost first.
pub fn layers(frame: &[u8]) -> Vec<Layer> {
    let mut seen = Vec::new();
    if let Some(link) = link(&Bytes(frame), 0) {
        let n = walk(&Bytes(frame), link.ethertype, link.network_at, |layer| {
            seen.push(*layer);
        });
        assert_eq!(n as usize, seen.len());
    }
    seen
}

/// What holds of all that was read from `frame`.
pub fn sane(frame: &[u8], layers: &[Layer]) {
    let (bytes, len) = (Bytes(frame), frame.len() as u32);
    assert!(layers.len() <= MAX_LAYERS);
    let mut after = 0;
    for Layer { network: n, transport: t } in layers {
        assert!(n.at >= after && n.at < len, "a layer begins inside the one around it, or outside");
        assert!(n.transport_at >= n.at + 20);
        after = n.at + 20;
        assert!(t.present || (t.start == [0; 8] && t.tuple.has_ports == 0));
        assert!(!t.present || n.transport_at + 8 <= len);
        assert!(n.frag_offset == 0 || !t.present);
        assert_eq!((t.tuple.src, t.tuple.dst, t.tuple.proto), (n.src, n.dst, n.proto));
        assert_eq!(t.tuple.reversed().reversed(), t.tuple);
        assert_eq!(t.tuple.has_ports != 0, has_ports(t));
        assert!(has_ports(t) || (t.tuple.sport, t.tuple.dport) == (0, 0));
        assert_ne!(mark(n, t), 0);
        assert_eq!(fingerprint(&bytes, n, t), fingerprint(&bytes, n, t));
        let header = icmp(t);
        assert!(header.is_none_or(|h| h.echo(n.proto).is_none() || h.mtu(n.proto).is_none()));
        if let Some(header) = tcp(&bytes, n.transport_at) {
            assert!(header.header_len <= 60);
        }
        if let Some(tunnel) = tunnel(&bytes, n, t) {
            assert!(tunnel.inner_at >= n.transport_at);
            let load = load(&bytes, &tunnel);
            assert!(load.is_none_or(|(_, at)| at >= tunnel.inner_at));
        }
    }
}

/// The first look agrees with the parser wherever it says anything.
pub fn glanced(frame: &[u8], layers: &[Layer]) {
    let Some(Layer { network: n, transport: t }) = layers.first() else {
        return;
    };
    let tuple = match n.version {
        4 => Bytes(frame).words(n.at).and_then(glance::ipv4),
        6 => Bytes(frame).words(n.at).and_then(glance::ipv6),
        _ => return,
    };
    if let (Some(tuple), true) = (tuple, t.present) {
        assert_eq!((tuple, 1), (t.tuple, layers.len()));
    }
}

fn has_ports(t: &Transport) -> bool {
    t.present && matches!(t.tuple.proto, proto::TCP | proto::UDP | proto::SCTP)
}

/// Every public reader, at an offset that nobody vouched for.
fn anywhere(frame: &[u8], at: u32) {
    let bytes = Bytes(frame);
    for at in [at, at & 0xff, u32::MAX - (at & 0xff)] {
        let _ = (link(&bytes, at), arp_fields(&bytes, at), tcp(&bytes, at));
        for ethertype in [0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8] {
            let _ = (network(&bytes, ethertype, at), skip_vlans(&bytes, ethertype, at));
            let _ = walk(&bytes, ethertype, at, |_| ());
        }
        if let Some(read) = bytes.read::<4>(at) {
            assert_eq!(frame.get(at as usize..at as usize + 4), Some(&read[..]));
        }
    }
}

/// Of a frame that is cut short, less can be read, but nothing else.
pub fn cut_at(frame: &[u8], cut: usize) {
    let (whole, short) = (frame, frame.get(..cut).unwrap_or(frame));
    let (all, some) = (layers(whole), layers(short));
    sane(short, &some);
    assert!(some.len() <= all.len(), "a cut made up a layer");
    for (s, w) in some.iter().zip(&all) {
        let same_header = |n: &Network| (n.src, n.dst, n.ttl, n.version, n.df, n.total_len, n.at);
        assert_eq!(same_header(&s.network), same_header(&w.network));
        if s.network != w.network {
            // The chain of extension headers was cut: the last one that is announced is named.
            assert_eq!(s.network.version, 6);
            assert!(matches!(s.network.proto, 0 | 43 | 44 | 51 | 60));
            assert!(!s.transport.present && s.network.transport_at <= w.network.transport_at);
            continue;
        }
        assert!(s.transport == w.transport || !s.transport.present);
        let seen = fingerprint(&Bytes(short), &s.network, &s.transport);
        let full = fingerprint(&Bytes(whole), &w.network, &w.transport);
        assert!(seen.is_none() || seen == full, "a cut changed the fingerprint");
        let seen = tunnel(&Bytes(short), &s.network, &s.transport);
        let full = tunnel(&Bytes(whole), &w.network, &w.transport);
        assert!(seen.is_none() || seen == full, "a cut changed the tunnel");
    }
}
