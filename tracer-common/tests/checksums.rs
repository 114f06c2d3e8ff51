//! Checksums of real frames. The TCP and UDP frames were taken before the network card would have
//! filled theirs in (`CHECKSUM_PARTIAL`): they hold the sum of the pseudo header only.

mod common;

use common::{frames, hex, layers};
use tracer_common::checksum::is_right;

fn judged(frame: &[u8]) -> Option<bool> {
    is_right(frame, &layers(frame).first()?.network)
}

#[test]
fn true_ones_are_right_and_any_flipped_bit_is_seen() {
    let whole = [
        frames::ICMP_ECHO,
        frames::ICMP_ECHO_REPLY,
        frames::ICMP_TIME_EXCEEDED,
        frames::ICMP_PORT_UNREACHABLE,
        frames::ICMP6_ECHO,
        frames::ICMP6_PORT_UNREACHABLE,
    ];
    for frame in whole {
        let mut frame = hex(frame);
        assert_eq!(judged(&frame), Some(true), "{frame:02x?}");
        let from = layers(&frame)[0].network.transport_at as usize;
        for at in from..frame.len() {
            frame[at] ^= 0x10;
            assert_eq!(judged(&frame), Some(false), "byte {at} of {frame:02x?}");
            frame[at] ^= 0x10;
        }
    }
}

#[test]
fn one_that_is_still_to_be_filled_in_is_wrong() {
    for frame in [frames::TCP_SYN, frames::TCP_SYN_ACK, frames::TCP_DATA, frames::UDP] {
        assert_eq!(judged(&hex(frame)), Some(false));
    }
}

/// The same SYN with the complement of the whole sum in place of that of the pseudo header.
#[test]
fn one_that_was_filled_in_is_right() {
    let mut frame = hex(frames::TCP_SYN);
    let at = layers(&frame)[0].network.transport_at as usize;
    let words = frame[at..].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let filled = !(((folded & 0xffff) + (folded >> 16)) as u16);
    frame[at + 16..at + 18].copy_from_slice(&filled.to_be_bytes());
    assert_eq!(judged(&frame), Some(true));
}

#[test]
fn nothing_is_said_of_what_is_not_all_there() {
    // Fragments, what was cut, another protocol, options and headers in between.
    for frame in [
        frames::FIRST_FRAGMENT,
        frames::ICMP_FRAGMENTATION_NEEDED,
        frames::ARP_REQUEST,
        frames::ICMP_RECORD_ROUTE,
        frames::MLD_REPORT,
    ] {
        assert_eq!(judged(&hex(frame)), None);
    }
    let whole = hex(frames::ICMP_ECHO);
    for cut in 0..whole.len() {
        assert_eq!(judged(&whole[..cut]), None, "cut to {cut}");
    }
}
