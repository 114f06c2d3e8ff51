//! Drops that are no news: what the kernel frees as a drop in the ordinary course of things.

use tracer_common::drops::{
    TRAIT_GROUP, TRAIT_NOT_SYN, TRAIT_OTHERHOST, TRAIT_PROMISCUOUS, TRAIT_RESET,
};

use crate::reconstruct::everyday::{DESTRUCTORS, SOCKET_GONE, TCP_HANDLED, UNWANTED};

/// Functions that refuse what was sent to a group that nobody here has joined, without a reason
/// (`net/ipv6/ip6_input.c`, `net/ipv4/ip_input.c`, `net/ipv4/igmp.c`, `net/ipv6/mcast.c`).
const GROUP_FILTERS: &[&str] = &[
    "ip6_mc_input",
    "ip6_input",
    "ip6_input_finish",
    "ip6_protocol_deliver_rcu",
    "ip_mr_input",
    "ip6_mr_input",
    "igmp_rcv",
    "icmpv6_rcv",
];

/// Why a drop is everyday life, or `None` where it may well be somebody's trouble. `reason` and
/// `symbol` are the kernel's names, `traits` are `TRAIT_*`.
pub fn why_everyday(
    reason: Option<&str>,
    symbol: Option<&str>,
    traits: u16,
) -> Option<&'static str> {
    let has = |bits: u16| traits & bits == bits;
    let unexplained = reason.is_none_or(|reason| reason == "NOT_SPECIFIED");
    let reason = reason.unwrap_or("NOT_SPECIFIED");
    if TCP_HANDLED.contains(&reason) {
        return Some("TCP had dealt with the segment");
    }
    if SOCKET_GONE.contains(&reason)
        || (unexplained && symbol.is_some_and(|symbol| DESTRUCTORS.contains(&symbol)))
    {
        return Some("its socket was closed with this unread");
    }
    if has(TRAIT_OTHERHOST | TRAIT_PROMISCUOUS) && (reason == "OTHERHOST" || unexplained) {
        return Some("a promiscuous device took in a frame for another host");
    }
    if has(TRAIT_GROUP)
        && (UNWANTED.contains(&reason)
            || (unexplained && symbol.is_some_and(|symbol| GROUP_FILTERS.contains(&symbol))))
    {
        return Some("sent to a group, and nobody here wanted it");
    }
    if reason == "NO_SOCKET" && has(TRAIT_RESET) {
        return Some("a late RST: both ends are done with the connection");
    }
    // The kernel frees an echo reply this way after the sockets had their copies.
    if reason == "NO_SOCKET" && symbol == Some("ping_rcv") {
        return Some("an echo reply of which the sockets have their copies");
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
            (Some("NOT_SPECIFIED"), Some("ip6_mc_input"), TRAIT_GROUP),
            (None, Some("ip6_mc_input"), TRAIT_GROUP),
            (Some("NOT_SPECIFIED"), Some("tcp_v4_rcv"), TRAIT_NOT_SYN),
            (Some("NOT_SPECIFIED"), Some("udp_destruct_common"), 0),
            (None, Some("inet_sock_destruct"), 0),
        ] {
            assert!(why_everyday(reason, symbol, traits).is_some(), "{reason:?} {symbol:?}");
        }
    }
}
