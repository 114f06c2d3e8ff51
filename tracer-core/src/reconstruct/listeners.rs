//! Listeners beside the one that a packet is for: raw and packet sockets.
//!
//! Each has a copy of its own, and what becomes of that says nothing of the packet.

use crate::reconstruct::everyday;
use crate::reconstruct::sight::Sight;
use crate::record::HookName;

/// Where packet sockets refuse what they are shown (`net/packet/af_packet.c`). They get it before, or
/// beside, whomever it is for.
const TAPS: &[&str] = &["packet_rcv", "packet_rcv_spkt", "packet_rcv_fanout", "tpacket_rcv"];

/// Where raw sockets refuse their copies (`net/ipv4/raw.c`, `net/ipv6/raw.c`). Each gets one of its own of
/// every packet of its protocol, beside the protocol's handler.
const RAW: &[&str] = &[
    "raw_rcv",
    "raw_rcv_skb",
    "raw_v4_input",
    "raw_local_deliver",
    "rawv6_rcv",
    "rawv6_rcv_skb",
    "ipv6_raw_deliver",
    "raw6_local_deliver",
];

/// Where a packet is consumed of which raw sockets have got copies, and that no other protocol handles
/// (`ip_protocol_deliver_rcu`, `ip6_protocol_deliver_rcu`, or who has them inlined).
pub const RAW_TOOK: &[&str] = &[
    "ip_protocol_deliver_rcu",
    "ip_local_deliver_finish",
    "ip6_protocol_deliver_rcu",
    "ip6_input_finish",
];

/// The copy for a packet socket (tcpdump's, say) that had no room for it, or was closed with it unread.
pub fn is_tap_copy(drop: &Sight) -> bool {
    let Some(cause) = drop.cause.as_deref() else { return false };
    drop.hook == HookName::Drop
        && (drop.symbol().is_some_and(|symbol| TAPS.contains(&symbol))
            || cause.symbols().take(everyday::NEAR).any(|symbol| symbol == "packet_release"))
}

/// The copy for a raw socket, which refused it.
pub fn is_raw_copy(drop: &Sight) -> bool {
    drop.hook == HookName::Drop && drop.symbol().is_some_and(|symbol| RAW.contains(&symbol))
}

/// The copy for a raw socket whose filter did not want it.
pub fn is_unwanted_raw_copy(drop: &Sight) -> bool {
    is_raw_copy(drop) && drop.raw_reason() == Some("SOCKET_FILTER")
}

/// Consumed because raw sockets have got copies of it: they decide.
pub fn is_taken_by_raw(consumed: &Sight) -> bool {
    consumed.hook == HookName::Consume
        && consumed.symbol().is_some_and(|symbol| RAW_TOOK.contains(&symbol))
}

/// The end of an skb that a socket had taken, however long before: its process read it, or never did.
pub fn is_let_go_of_by_socket(end: &Sight) -> bool {
    /// Where packets of a socket's queue end that were read.
    const READ: &[&str] = &[
        "skb_consume_udp",
        "skb_free_datagram",
        "__skb_free_datagram_locked",
        "raw_recvmsg",
        "rawv6_recvmsg",
        "ping_recvmsg",
        "udp_recvmsg",
        "udpv6_recvmsg",
        "packet_recvmsg",
    ];
    match end.hook {
        HookName::Drop => everyday::is_left_in_socket(end) || is_tap_copy(end),
        HookName::Consume => end.symbol().is_some_and(|symbol| READ.contains(&symbol)),
        _ => false,
    }
}
