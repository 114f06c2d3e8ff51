//! Random frames for the property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::build::{Body, Extension, Flow, Frame, Ip, Version};

/// An Ethernet frame, with up to `MAX_LAYERS` flows in one another.
pub fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![3 => framed(leaf_flow()), 2 => framed(tunnelled()), 1 => framed(tunnelled_twice())]
}

fn framed(flow: impl Strategy<Value = Flow>) -> impl Strategy<Value = Frame> {
    let tag = (prop_oneof![Just(0x8100_u16), Just(0x88a8)], any::<u16>());
    (vec(tag, 0..=2), flow).prop_map(|(vlans, flow)| Frame { vlans, flow })
}

fn leaf_flow() -> impl Strategy<Value = Flow> {
    (ip(true), leaf()).prop_map(|(ip, body)| Flow { ip, body })
}

fn tunnelled() -> impl Strategy<Value = Flow> {
    carrying(leaf_flow().boxed())
}

fn tunnelled_twice() -> impl Strategy<Value = Flow> {
    carrying(tunnelled().boxed())
}

/// A tunnel's flow around `inner`. It is no later fragment: that has no tunnel header.
fn carrying(inner: BoxedStrategy<Flow>) -> impl Strategy<Value = Flow> {
    let vni = 0..1_u32 << 24;
    let flow = inner.clone().prop_map(Box::new);
    let frame = framed(inner).prop_map(Box::new).boxed();
    let body = prop_oneof![
        (prop_oneof![Just(4789_u16), Just(8472)], vni.clone(), frame.clone())
            .prop_map(|(port, vni, inner)| Body::Vxlan { port, vni, inner }),
        (vni, 0_u8..64, frame.clone()).prop_map(|(vni, options, inner)| Body::Geneve {
            vni,
            options,
            inner
        }),
        (any::<bool>(), option::of(any::<u32>()), any::<bool>(), flow.clone()).prop_map(
            |(checksum, key, sequence, inner)| Body::Gre { checksum, key, sequence, inner }
        ),
        (option::of(any::<u32>()), frame).prop_map(|(key, inner)| Body::Gretap { key, inner }),
        flow.prop_map(Body::IpIp),
    ];
    (ip(false), body).prop_map(|(ip, body)| Flow { ip, body })
}

fn ip(fragments: bool) -> impl Strategy<Value = Ip> {
    let version = prop_oneof![v4(fragments).boxed(), v6(fragments).boxed()];
    (version, any::<u8>()).prop_map(|(version, ttl)| Ip { version, ttl })
}

fn v4(fragments: bool) -> impl Strategy<Value = Version> {
    let fragment = option::weighted(0.3, (0_u16..0x2000, any::<bool>()))
        .prop_map(move |f| f.filter(|_| fragments));
    (v4_address(), v4_address(), any::<u16>(), any::<bool>(), fragment, 0_u8..=10).prop_map(
        |(src, dst, id, df, fragment, options)| Version::V4 { src, dst, id, df, fragment, options },
    )
}

fn v4_address() -> impl Strategy<Value = [u8; 4]> {
    any::<[u8; 4]>()
}

fn v6(fragments: bool) -> impl Strategy<Value = Version> {
    let plain = (prop_oneof![Just(0_u8), Just(43), Just(60)], 0_u8..4)
        .prop_map(|(number, len)| Extension::Plain(number, len));
    let before = prop_oneof![plain, (0_u8..8).prop_map(Extension::Authentication)];
    let fragment = (0_u16..0x2000, any::<bool>(), any::<u32>())
        .prop_map(|(offset, more, id)| Extension::Fragment(offset, more, id));
    let fragment = option::weighted(0.3, fragment).prop_map(move |f| f.filter(|_| fragments));
    // `::ffff:0:0/96` on the wire would be taken for IPv4: RFC 4291 keeps it out of packets.
    let address = any::<[u8; 16]>().prop_map(|mut a| {
        a[0] = 0xfd;
        a
    });
    (address.clone(), address, vec(before, 0..=4), fragment).prop_map(
        |(src, dst, mut extensions, fragment)| {
            extensions.extend(fragment);
            Version::V6 { src, dst, extensions }
        },
    )
}

/// What no tunnel is: a UDP destination port of 1024 and below is none of a tunnel.
fn leaf() -> impl Strategy<Value = Body> {
    let ports = (any::<u16>(), any::<u16>());
    let words = (any::<u32>(), any::<u32>());
    let load = vec(any::<u8>(), 0..80);
    prop_oneof![
        (ports, words, any::<u8>(), 0_u8..=10, load.clone()).prop_map(
            |((sport, dport), (seq, ack), flags, options, load)| {
                Body::Tcp { sport, dport, seq, ack, flags, options, load }
            }
        ),
        (any::<u16>(), 0_u16..=1024, load.clone()).prop_map(|(sport, dport, load)| Body::Udp {
            sport,
            dport,
            load
        }),
        (ports, any::<u32>(), load.clone()).prop_map(|((sport, dport), tag, load)| Body::Sctp {
            sport,
            dport,
            tag,
            load
        }),
        (any::<u8>(), any::<u8>(), any::<[u8; 4]>(), load)
            .prop_map(|(kind, code, rest, load)| { Body::Icmp { kind, code, rest, load } }),
    ]
}
