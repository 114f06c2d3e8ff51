//! What holds for any bytes, and for any frame.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use common::build::{Body, Extension, Flow, Frame, Version};
use common::{innermost_packet, invariants, strategies};
use proptest::collection::vec;
use proptest::prelude::*;
use tracer_common::fingerprint::fingerprint;
use tracer_common::flow::{Addr, Tuple};
use tracer_common::source::Bytes;
use tracer_common::transport::mark;
use tracer_common::tunnel::MAX_LAYERS;

/// Fingerprint and mark of the innermost flow.
fn identity(frame: &Frame) -> (Option<u64>, u32) {
    let bytes = frame.bytes();
    let layer = innermost_packet(&bytes);
    let (n, t) = (layer.network, layer.transport);
    (fingerprint(&Bytes(&bytes), &n, &t), mark(&n, &t))
}

/// As NAT and routers change it on its way: the sum of all that must not matter.
fn rewritten(flow: &mut Flow, noise: [u8; 4]) {
    flow.ip.ttl = flow.ip.ttl.wrapping_sub(1);
    match &mut flow.ip.version {
        Version::V4 { src, dst, .. } => (*src, *dst) = (noise, [10, 0, noise[0], noise[1]]),
        Version::V6 { src, dst, .. } => (src[15], dst[14]) = (noise[0], noise[1]),
    }
    if flow.is_later_fragment() {
        return;
    }
    let port = u16::from_be_bytes([noise[2], noise[3]]);
    match &mut flow.body {
        Body::Tcp { sport, dport, flags, .. } => {
            (*sport, *dport) = (port, !port);
            *flags ^= 0xc0; // ECE, CWR
        }
        Body::Udp { sport, dport, .. } => (*sport, *dport) = (port, port & 1023),
        Body::Sctp { sport, dport, .. } => (*sport, *dport) = (port, !port),
        Body::Icmp { rest: [id0, id1, ..], .. } => (*id0, *id1) = (noise[2], noise[3]),
        _ => {}
    }
}

fn innermost(frame: &mut Frame) -> &mut Flow {
    let mut flow = &mut frame.flow;
    while flow.inner_mut().is_some() {
        flow = flow.inner_mut().unwrap();
    }
    flow
}

/// Around `frame`, a VXLAN tunnel.
fn encapsulated(frame: Frame) -> Frame {
    let ip = common::build::Ip {
        version: Version::V4 {
            src: [192, 0, 2, 1],
            dst: [192, 0, 2, 2],
            id: 7,
            df: true,
            fragment: None,
            options: 0,
        },
        ttl: 64,
    };
    let body = Body::Vxlan { port: 4789, vni: 1, inner: Box::new(frame) };
    Frame { vlans: vec![], flow: Flow { ip, body } }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(data in vec(any::<u8>(), 0..300)) {
        invariants::check(&data);
    }

    /// Damage that keeps most of a frame reaches further than noise does.
    #[test]
    fn damaged_frames_are_read_without_harm(
        frame in strategies::frame(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<u8>(),
    ) {
        let mut bytes = frame.bytes();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.push(cut);
        invariants::check(&bytes);
    }

    #[test]
    fn a_cut_frame_shows_less_and_nothing_else(frame in strategies::frame()) {
        let bytes = frame.bytes();
        for cut in 0..bytes.len() {
            invariants::cut_at(&bytes, cut);
        }
    }

    #[test]
    fn a_packet_is_known_again(frame in strategies::frame(), noise in any::<[u8; 4]>()) {
        let before = identity(&frame);
        let mut after = frame.clone();
        rewritten(innermost(&mut after), noise);
        prop_assert_eq!(identity(&after), before);
        after.vlans = vec![(0x8100, 7)];
        prop_assert_eq!(identity(&after), before);
        if after.flows().len() < MAX_LAYERS {
            prop_assert_eq!(identity(&encapsulated(after)), before);
        }
    }

    #[test]
    fn a_new_ip_id_makes_another_packet(frame in strategies::frame(), step in 1..=u16::MAX) {
        let (before, mut after) = (identity(&frame).0, frame.clone());
        let changed = match &mut innermost(&mut after).ip.version {
            Version::V4 { id, .. } => {
                *id = id.wrapping_add(step);
                true
            }
            Version::V6 { extensions, .. } => match extensions.last_mut() {
                Some(Extension::Fragment(offset, _, id)) if *offset != 0 => {
                    *id = id.wrapping_add(u32::from(step));
                    true
                }
                _ => false,
            },
        };
        prop_assert_eq!(changed && before.is_some(), identity(&after).0 != before);
    }

    #[test]
    fn reversing_twice_changes_nothing(words in any::<[u64; 4]>(), ports in any::<[u16; 4]>()) {
        let [sport, dport, proto, has_ports] = ports;
        let (src, dst) = (Addr::v6(words[0], words[1]), Addr::v6(words[2], words[3]));
        let there = Tuple { src, dst, sport, dport, proto, has_ports };
        let back = there.reversed();
        prop_assert_eq!((back.src, back.sport, back.dst, back.dport), (dst, dport, src, sport));
        prop_assert_eq!((back.proto, back.has_ports), (proto, has_ports));
        prop_assert_eq!(back.reversed(), there);
    }
}
