//! Drops that are no news: what the kernel frees as a drop in the ordinary course of things.

use tracer_common::drops::{
    TRAIT_GROUP, TRAIT_MULTICAST, TRAIT_NOT_SYN, TRAIT_OTHERHOST, TRAIT_PROMISCUOUS, TRAIT_RESET,
};

use crate::reconstruct::everyday::{DESTRUCTORS, SOCKET_GONE, TCP_HANDLED, UNWANTED};

/// Functions that let go of what was sent to a group without a reason: nobody here has joined it
/// (`net/ipv6/ip6_input.c`, `net/ipv4/ip_input.c`), no UDP socket wants a copy of it
/// (`net/ipv4/udp.c`, `net/ipv6/udp.c`; a wrong checksum has a reason of its own), no protocol is
/// there for its LLC address (`net/llc/llc_input.c`), or it has been dealt with (`net/ipv4/igmp.c`,
/// `net/ipv6/mcast.c`; `net/802/stp.c`, `net/bridge/br_stp_bpdu.c`, which end every BPDU as a drop).
const GROUP_FILTERS: &[&str] = &[
    "ip6_mc_input",
    "ip6_input",
    "ip6_input_finish",
    "ip6_protocol_deliver_rcu",
    "ip_mr_input",
    "ip6_mr_input",
    "igmp_rcv",
    "icmpv6_rcv",
    "__udp4_lib_rcv",
    "__udp4_lib_mcast_deliver",
    "__udp6_lib_rcv",
    "__udp6_lib_mcast_deliver",
    "llc_rcv",
    "stp_pdu_rcv",
    "br_stp_rcv",
];

/// Functions in which the input route ends what was sent to an IPv4 group that nobody here has joined
/// (`ip_route_input_rcu`). What they refuse for its source has reasons of its own from Linux 5.18 on;
/// before that one cannot be told from the other.
const GROUP_ROUTES: &[&str] = &["ip_rcv_finish_core", "ip_rcv_finish"];

/// Functions that end an echo reply after raw sockets, which most programs ping by, had their copies:
/// `ping_rcv` says that no ping socket wants it, and on some kernels (6.1) its callers free it.
const ECHO_ENDS: &[&str] = &["ping_rcv", "icmp_rcv", "icmpv6_rcv"];

/// Functions that end without a reason an ACK that they have dealt with, in a connection one half of
/// which is closed (`tcp_rcv_state_process`), or that answered its SYN (`net/ipv4/tcp_input.c`).
/// Whatever they refuse has a reason of its own, on kernels that have reasons.
const TCP_SILENT: &[&str] = &["tcp_rcv_state_process", "tcp_rcv_synsent_state_process"];

/// Why a drop is everyday life, or `None` where it may well be somebody's trouble. `reason` and
/// `symbol` are the kernel's names, `traits` are `TRAIT_*`.
pub fn why_everyday(
    reason: Option<&str>,
    symbol: Option<&str>,
    traits: u16,
) -> Option<&'static str> {
    let has = |bits: u16| traits & bits == bits;
    let unexplained = reason.is_none_or(|reason| reason == "NOT_SPECIFIED");
    let unspecified = reason.is_some() && unexplained;
    let within = |functions: &[&str]| symbol.is_some_and(|symbol| functions.contains(&symbol));
    let reason = reason.unwrap_or("NOT_SPECIFIED");
    if TCP_HANDLED.contains(&reason) || (unspecified && within(TCP_SILENT)) {
        return Some("TCP had dealt with the segment");
    }
    if SOCKET_GONE.contains(&reason) || (unexplained && within(DESTRUCTORS)) {
        return Some("its socket was closed with this unread");
    }
    if has(TRAIT_OTHERHOST | TRAIT_PROMISCUOUS) && (reason == "OTHERHOST" || unexplained) {
        return Some("a promiscuous device took in a frame for another host");
    }
    if (has(TRAIT_GROUP) && (UNWANTED.contains(&reason) || (unexplained && within(GROUP_FILTERS))))
        || (has(TRAIT_MULTICAST) && unspecified && within(GROUP_ROUTES))
    {
        return Some("sent to a group, and nobody here wanted it");
    }
    if reason == "NO_SOCKET" && has(TRAIT_RESET) {
        return Some("a late RST: both ends are done with the connection");
    }
    if reason == "NO_SOCKET" && within(ECHO_ENDS) {
        return Some("an echo reply of which the sockets have their copies");
    }
    // It makes the skb before it looks whether there is a listener (`net/unix/af_unix.c`, up to 6.12):
    // nothing was sent, and who would connect is told.
    if unexplained && symbol == Some("unix_stream_connect") {
        return Some("a UNIX socket that nobody listens on");
    }
    if unexplained && symbol == Some("icmpv6_rcv") {
        return Some("an ICMPv6 message that the host has dealt with");
    }
    if unexplained && has(TRAIT_NOT_SYN) && matches!(symbol, Some("tcp_v4_rcv" | "tcp_v6_rcv")) {
        return Some("the end of a connection in TIME-WAIT");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_somebodys_trouble_is_not_folded() {
        for (reason, symbol, traits) in [
            (Some("NETFILTER_DROP"), Some("nft_do_chain"), 0),
            (Some("NO_SOCKET"), Some("tcp_v4_rcv"), 0),
            (Some("NO_SOCKET"), Some("tcp_v4_rcv"), TRAIT_NOT_SYN),
            (Some("OTHERHOST"), Some("ip_rcv_core"), TRAIT_OTHERHOST),
            (Some("NOT_SPECIFIED"), Some("tcp_v4_rcv"), 0),
            (Some("NETFILTER_DROP"), Some("nft_do_chain"), TRAIT_GROUP),
            (Some("SOCKET_RCVBUFF"), Some("__udp_enqueue_schedule_skb"), TRAIT_GROUP),
            (None, None, TRAIT_GROUP),
            (Some("SOCKET_FILTER"), Some("udp_destruct_common"), 0),
            // A datagram to one host, to all, and where a reverse-path filter may have refused it.
            (Some("NOT_SPECIFIED"), Some("__udp4_lib_rcv"), 0),
            (Some("UDP_CSUM"), Some("__udp4_lib_rcv"), TRAIT_GROUP),
            (Some("NOT_SPECIFIED"), Some("ip_rcv_finish_core"), TRAIT_GROUP),
            (Some("IP_RPFILTER"), Some("ip_rcv_finish_core"), TRAIT_GROUP | TRAIT_MULTICAST),
            (None, Some("ip_rcv_finish_core"), TRAIT_GROUP | TRAIT_MULTICAST),
            (None, Some("tcp_rcv_state_process"), 0),
            (Some("TCP_ABORT_ON_DATA"), Some("tcp_rcv_state_process"), 0),
        ] {
            assert_eq!(why_everyday(reason, symbol, traits), None, "{reason:?} {symbol:?}");
        }
    }

    #[test]
    fn everyday_life_is_known() {
        for (reason, symbol, traits) in [
            (Some("TCP_RESET"), Some("tcp_reset"), TRAIT_RESET | TRAIT_NOT_SYN),
            (Some("NO_SOCKET"), Some("tcp_v6_rcv"), TRAIT_RESET | TRAIT_NOT_SYN),
            (Some("OTHERHOST"), Some("ip_rcv_core"), TRAIT_OTHERHOST | TRAIT_PROMISCUOUS),
            (Some("NO_SOCKET"), Some("ping_rcv"), 0),
            (Some("NO_SOCKET"), Some("icmp_rcv"), 0),
            (Some("NOT_SPECIFIED"), Some("unix_stream_connect"), 0),
            (Some("NOT_SPECIFIED"), Some("ip6_mc_input"), TRAIT_GROUP),
            (None, Some("ip6_mc_input"), TRAIT_GROUP),
            (Some("NOT_SPECIFIED"), Some("tcp_v4_rcv"), TRAIT_NOT_SYN),
            (Some("NOT_SPECIFIED"), Some("udp_destruct_common"), 0),
            (None, Some("inet_sock_destruct"), 0),
            (Some("NOT_SPECIFIED"), Some("ip_rcv_finish_core"), TRAIT_GROUP | TRAIT_MULTICAST),
            (Some("NOT_SPECIFIED"), Some("__udp4_lib_rcv"), TRAIT_GROUP),
            (Some("NOT_SPECIFIED"), Some("br_stp_rcv"), TRAIT_GROUP | TRAIT_MULTICAST),
            (Some("NOT_SPECIFIED"), Some("tcp_rcv_state_process"), 0),
        ] {
            assert!(why_everyday(reason, symbol, traits).is_some(), "{reason:?} {symbol:?}");
        }
    }
}
