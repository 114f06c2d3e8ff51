//! What identifies a packet stays the same on its way, and differs from that of any other.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::HashMap;

use common::{frames, hex, innermost_packet, pairs};
use tracer_common::fingerprint::fingerprint;
use tracer_common::flow::proto;
use tracer_common::source::Bytes;
use tracer_common::transport::mark;

fn fingerprint_of(frame: &[u8]) -> Option<u64> {
    let layer = innermost_packet(frame);
    fingerprint(&Bytes(frame), &layer.network, &layer.transport)
}

fn mark_of(frame: &[u8]) -> u32 {
    let layer = innermost_packet(frame);
    mark(&layer.network, &layer.transport)
}

macro_rules! same_packet {
    ($($test:ident: $before:ident $after:ident;)*) => {$(
        #[test]
        fn $test() {
            let (before, after) = (hex(pairs::$before), hex(pairs::$after));
            assert_ne!(before, after);
            assert!(fingerprint_of(&before).is_some());
            assert_eq!(fingerprint_of(&before), fingerprint_of(&after));
            assert_eq!(mark_of(&before), mark_of(&after));
        }
    )*};
}

same_packet! {
    echo_through_nat: ECHO_BEFORE ECHO_AFTER;
    echo_reply_through_nat: ECHO_REPLY_BEFORE ECHO_REPLY_AFTER;
    fragment_through_nat: FRAGMENT_BEFORE FRAGMENT_AFTER;
    syn_through_nat_and_mss_clamping: SYN_BEFORE SYN_AFTER;
    data_through_nat: DATA_BEFORE DATA_AFTER;
    udp_through_nat: UDP_BEFORE UDP_AFTER;
    quotation_through_nat: PORT_UNREACHABLE_BEFORE PORT_UNREACHABLE_AFTER;
    sctp_through_nat: SCTP_INIT_BEFORE SCTP_INIT_AFTER;
    echo_into_vxlan: ENCAPSULATED_ECHO_BEFORE ENCAPSULATED_ECHO_AFTER;
    syn_into_vxlan: ENCAPSULATED_SYN_BEFORE ENCAPSULATED_SYN_AFTER;
}

#[test]
fn packets_of_their_own_have_fingerprints_of_their_own() {
    let all = [
        ("arp request", frames::ARP_REQUEST),
        ("arp reply", frames::ARP_REPLY),
        ("echo", frames::ICMP_ECHO),
        ("echo reply", frames::ICMP_ECHO_REPLY),
        ("echo with record route", frames::ICMP_RECORD_ROUTE),
        ("echo over IPv6", frames::ICMP6_ECHO),
        ("SYN", frames::TCP_SYN),
        ("SYN-ACK", frames::TCP_SYN_ACK),
        ("data", frames::TCP_DATA),
        ("SYN unanswered", frames::SYN_UNANSWERED),
        ("SYN again", frames::SYN_AGAIN),
        ("SYN over IPv6", frames::TCP6_SYN),
        ("UDP", frames::UDP),
        ("UDP, one byte", frames::UDP_ONE_BYTE),
        ("SCTP", frames::SCTP_INIT),
        ("SCTP over IPv6", frames::SCTP6_INIT),
        ("first fragment", frames::FIRST_FRAGMENT),
        ("middle fragment", frames::MIDDLE_FRAGMENT),
        ("last fragment", frames::LAST_FRAGMENT),
        ("middle IPv6 fragment", frames::MIDDLE_FRAGMENT6),
        ("last IPv6 fragment", frames::LAST_FRAGMENT6),
        ("time exceeded", frames::ICMP_TIME_EXCEEDED),
        ("port unreachable", frames::ICMP_PORT_UNREACHABLE),
        ("fragmentation needed", frames::ICMP_FRAGMENTATION_NEEDED),
        ("packet too big", frames::ICMP6_PACKET_TOO_BIG),
        ("port unreachable over IPv6", frames::ICMP6_PORT_UNREACHABLE),
    ];
    let mut seen = HashMap::new();
    for (name, frame) in all {
        let fingerprint = fingerprint_of(&hex(frame)).expect(name);
        assert_eq!(seen.insert(fingerprint, name), None, "{name} looks the same");
    }
}

/// The same over IPv6, where no IP id helps: only the timestamp tells them apart.
#[test]
fn a_retransmission_without_an_ip_id_differs_by_its_timestamp() {
    let first = hex(frames::TCP6_SYN);
    let timestamp = first.windows(2).rposition(|w| w == [8, 10]).unwrap() + 2;
    let mut again = first.clone();
    again[timestamp + 3] ^= 1;
    assert_ne!(fingerprint_of(&first), fingerprint_of(&again));
    assert_eq!(mark_of(&first), mark_of(&again));
}

#[test]
fn padding_of_a_short_frame_is_no_payload() {
    let frame = hex(frames::UDP_ONE_BYTE);
    let mut padded = frame.clone();
    padded.resize(60, 0);
    assert_eq!(fingerprint_of(&frame), fingerprint_of(&padded));
}

#[test]
fn tcp_payload_that_a_hook_cannot_see_makes_no_difference() {
    let whole = hex(frames::TCP_DATA);
    let headers_only = &whole[..14 + 20 + 32];
    assert_eq!(fingerprint_of(&whole), fingerprint_of(headers_only));
    let options_cut = &headers_only[..headers_only.len() - 1];
    assert_eq!(fingerprint_of(options_cut), None);
}

#[test]
fn udp_payload_that_is_cut_short_gives_no_fingerprint() {
    let whole = hex(frames::UDP);
    assert_eq!(fingerprint_of(&whole[..whole.len() - 1]), None);
}

/// Ends in a NOP where the kind of a timestamps option stands, and its length in the payload.
#[test]
fn an_option_outside_the_header_is_none() {
    let mut frame = hex(frames::TCP_DATA);
    let payload = 14 + 20 + 32;
    frame[14 + 20 + 20..payload].fill(1);
    frame[payload - 1] = 8;
    frame[payload..payload + 9].copy_from_slice(&[10, 1, 2, 3, 4, 5, 6, 7, 8]);
    let with = fingerprint_of(&frame);
    frame[payload + 5] ^= 0xff;
    assert_eq!(with, fingerprint_of(&frame));
}

#[test]
fn a_mark_notices_another_packet_at_the_same_place() {
    let marks = [
        frames::ICMP_ECHO,
        frames::ICMP_ECHO_REPLY,
        frames::TCP_SYN,
        frames::TCP_DATA,
        frames::UDP,
        frames::UDP_ONE_BYTE,
        frames::SCTP_INIT,
        frames::TCP6_SYN,
        frames::ICMP6_ECHO,
    ]
    .map(|frame| mark_of(&hex(frame)));
    for (i, a) in marks.iter().enumerate() {
        assert!(marks[i + 1..].iter().all(|b| a != b));
    }
}

#[test]
fn the_innermost_flow_is_the_one_that_counts() {
    let echo = innermost_packet(&hex(frames::VXLAN));
    assert_eq!(echo.network.proto, proto::ICMP);
}
