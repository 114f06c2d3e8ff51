//! What looks like a header and is none, or one that is not known: each is a real frame with one
//! field changed.

mod common;

use common::describe::describe;
use common::{frames, hex, layers};

const IP: usize = 14;
const BEHIND_IP: usize = IP + 20;
const BEHIND_UDP: usize = BEHIND_IP + 8;

/// How many flows are read once the bytes at `at` are `bytes`.
fn flows(frame: &str, at: usize, bytes: &[u8]) -> usize {
    let mut frame = hex(frame);
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    layers(&frame).len()
}

#[test]
fn ip_headers() {
    assert_eq!(flows(frames::UDP, IP, &[0x45]), 1);
    assert_eq!(flows(frames::UDP, IP, &[0x44]), 0, "shorter than 20 bytes");
    assert_eq!(flows(frames::UDP, IP, &[0x65]), 0, "version 6 under IPv4's Ethernet type");
    assert_eq!(flows(frames::TCP6_SYN, IP, &[0x40]), 0, "version 4 under IPv6's Ethernet type");
    assert_eq!(flows(frames::UDP, 12, &[0x88, 0xcc]), 0, "LLDP");
}

#[test]
fn arp_packets() {
    assert_eq!(flows(frames::ARP_REQUEST, IP, &[0, 1]), 1);
    assert_eq!(flows(frames::ARP_REQUEST, IP, &[0, 32]), 0, "InfiniBand addresses");
    assert_eq!(flows(frames::ARP_REQUEST, IP + 5, &[16]), 0, "protocol addresses of 16 bytes");
}

#[test]
fn vxlan_headers() {
    assert_eq!(flows(frames::VXLAN, BEHIND_UDP, &[0x88]), 2, "other flags are ignored (RFC 7348)");
    assert_eq!(flows(frames::VXLAN, BEHIND_UDP, &[0x00]), 1, "no valid VNI");
    assert_eq!(flows(frames::VXLAN, BEHIND_IP + 2, &[0, 53]), 1, "another port");
}

#[test]
fn geneve_headers() {
    assert_eq!(flows(frames::GENEVE_OPTIONS, BEHIND_UDP, &[0x02]), 2);
    assert_eq!(flows(frames::GENEVE_OPTIONS, BEHIND_UDP, &[0x42]), 1, "version 1");
    assert_eq!(flows(frames::GENEVE_OPTIONS, BEHIND_UDP, &[0x3f]), 1, "options past the end");
}

#[test]
fn gre_headers() {
    assert_eq!(flows(frames::GRE, BEHIND_IP, &[0x00, 0x00]), 2);
    assert_eq!(flows(frames::GRE, BEHIND_IP, &[0x40, 0x00]), 1, "routing entries (RFC 1701)");
    assert_eq!(flows(frames::GRE, BEHIND_IP, &[0x20, 0x01]), 1, "version 1 (PPTP)");
    assert_eq!(flows(frames::GRE, BEHIND_IP + 2, &[0x88, 0x47]), 1, "MPLS");
}

/// A tunnel header is at the start of what was sent, so only a first fragment has one.
#[test]
fn later_fragments_of_tunnels() {
    for frame in [frames::VXLAN, frames::GENEVE, frames::GRE, frames::IPIP, frames::IP6_IN_IP4] {
        assert_eq!(flows(frame, IP + 6, &[0x20, 0]), 2, "a first fragment");
        assert_eq!(flows(frame, IP + 6, &[0, 1]), 1, "a later one");
    }
}

/// A later IPv6 fragment begins in the middle of something: what stands there is no header, even
/// where one was announced.
#[test]
fn extension_headers_of_later_fragments() {
    const DESTINATION_OPTIONS: u8 = 60;
    let mut frame = hex(frames::LAST_FRAGMENT6);
    frame[IP + 40] = DESTINATION_OPTIONS;
    let layers = layers(&frame);
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0].network.proto, u16::from(DESTINATION_OPTIONS));
    assert_eq!(layers[0].network.transport_at as usize, IP + 40 + 8);
}

/// Two tags are named, the outermost; the flow behind a third is found all the same.
#[test]
fn three_tags() {
    let mut frame = hex(frames::QINQ);
    assert_eq!(layers(&frame).len(), 1);
    frame.splice(12..12, [0x88, 0xa8, 0, 9]);
    let lines = describe(&frame);
    assert_eq!(lines.first().map(String::as_str), Some("vlan s9p0 s100p0"));
    assert_eq!(layers(&frame).len(), 1);
}
