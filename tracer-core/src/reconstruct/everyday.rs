//! What the kernel reports of packets that met no harm.
//!
//! `kfree_skb` fires for many a packet that arrived, and `consume_skb` for some that did not. All
//! knowledge of which is which is here, by the kernel's names: numbers differ between kernels.
//! Sources: `net/ipv4/tcp_input.c`, `net/ipv4/ping.c`, `net/core/dev.c`, `drivers/net/tun.c`,
//! `net/ipv4/ip_output.c` of Linux 5.10 to 6.18.

use std::net::IpAddr;

use crate::reconstruct::listeners;
use crate::reconstruct::sight::{Cause, Sight};
use crate::record::{HookName, PktType, Proto, TcpFlags};

/// Reasons for which TCP lets go of a segment that it has dealt with: what it carried was acted
/// upon, or had been received before.
pub const TCP_HANDLED: &[&str] =
    &["TCP_RESET", "TCP_OLD_DATA", "TCP_OLD_ACK", "TCP_OLD_SEQUENCE", "TCP_OFOMERGE"];

/// Reasons for which a socket lets go of what it had taken, whatever the protocol: it was closed
/// with data unread.
pub const SOCKET_GONE: &[&str] = &["QUEUE_PURGE", "SOCKET_CLOSE"];

/// Functions that let go of what a socket had taken, without a reason on kernels before 6.10: it was
/// closed with data unread.
const SOCKET_CLOSES: &[&str] = &["skb_queue_purge", "skb_queue_purge_reason"];

/// Functions that destroy a socket, and with it what its process had not read. UDP's give no reason on
/// any kernel up to 6.18 (`udp_destruct_common`, `net/ipv4/udp.c`; older ones have it in its callers).
pub const DESTRUCTORS: &[&str] = &[
    "inet_sock_destruct",
    "sk_stream_kill_queues",
    "tcp_write_queue_purge",
    "udp_destruct_common",
    "udp_destruct_sock",
    "udpv6_destruct_sock",
];

/// Functions of TCP that give a segment up without saying why, after having dealt with it.
const TCP_SILENT: &[&str] = &[
    "tcp_rcv_state_process",
    "tcp_rcv_synsent_state_process",
    "tcp_rcv_established",
    "tcp_data_queue",
    "tcp_ack",
    "tcp_drop",
    "tcp_drop_reason",
];

/// A drop that follows a delivery, and is the socket's own handling, not a loss.
pub fn is_socket_handling(delivered: &Sight, drop: &Sight) -> bool {
    let Some(cause) = &drop.cause else {
        return false;
    };
    let tcp = delivered.tuple.or(drop.tuple).is_some_and(|t| t.proto == Proto::Tcp);
    match cause.reason() {
        Some(reason) => SOCKET_GONE.contains(&reason) || (tcp && TCP_HANDLED.contains(&reason)),
        None => cause.place().is_some_and(|(s, _)| {
            SOCKET_CLOSES.contains(&s)
                || DESTRUCTORS.contains(&s)
                || (tcp && TCP_SILENT.contains(&s))
        }),
    }
}

/// A segment that a connection in TIME-WAIT (or FIN-WAIT-2 without a process) has answered.
///
/// `tcp_v4_rcv` and `tcp_v6_rcv` end every such segment, the peer's FIN of each orderly close
/// included, as a drop with `NOT_SPECIFIED`; whatever else they refuse has a reason of its own.
/// Kernels without reasons leave only the flags to tell it from a closed port.
pub fn is_time_wait(drop: &Sight) -> bool {
    let (Some(cause), Some(flags)) = (&drop.cause, drop.tcp) else {
        return false;
    };
    let in_rcv = cause.place().is_some_and(|(s, _)| s == "tcp_v4_rcv" || s == "tcp_v6_rcv");
    let ours = !matches!(drop.pkt_type, Some(PktType::OtherHost));
    in_rcv
        && ours
        && match drop.raw_reason() {
            Some(reason) => reason == "NOT_SPECIFIED" && !flags.is_syn(),
            None => flags.is_fin() || flags.is_bare_ack(),
        }
}

/// What a socket had taken and not handed to its process when it was destroyed: kernels give no reason
/// for it before 6.1, and some none after.
pub fn is_left_in_socket(drop: &Sight) -> bool {
    let is_unread = |reason| reason == "NOT_SPECIFIED" || SOCKET_GONE.contains(&reason);
    drop.symbol().is_some_and(|symbol| DESTRUCTORS.contains(&symbol))
        && drop.raw_reason().is_none_or(is_unread)
}

/// An `ICMPv6` message that the host has dealt with: before Linux 6.3 `icmpv6_rcv` ends them all as
/// drops, those that it answered included. What it refuses is counted as an error there, and from
/// 5.18 on has a reason of its own.
pub fn is_handled_icmp6(drop: &Sight) -> bool {
    let in_rcv = drop.symbol() == Some("icmpv6_rcv");
    in_rcv && drop.raw_reason().is_none_or(|reason| reason == "NOT_SPECIFIED")
}

/// A listener whose queues are full refused it.
pub fn is_refused_by_listener(drop: &Sight) -> bool {
    const LISTENER: &[&str] = &["tcp_conn_request", "tcp_v4_syn_recv_sock", "tcp_v6_syn_recv_sock"];
    drop.raw_reason() == Some("TCP_LISTEN_OVERFLOW")
        || drop.symbol().is_some_and(|symbol| LISTENER.contains(&symbol))
}

/// Consumed by a program or filter at the device's ingress that answers `TC_ACT_STOLEN`: no protocol
/// saw it. Who takes it for another use sends it on from there as a new skb, which is seen elsewhere.
pub fn is_stolen(consumed: &Sight) -> bool {
    const INGRESS: &[&str] = &["__netif_receive_skb_core", "sch_handle_ingress"];
    let symbol = consumed.symbol().and_then(|symbol| symbol.split('.').next());
    symbol.is_some_and(|symbol| INGRESS.contains(&symbol))
}

/// A lone RST that found no socket: both ends are done with the connection, nobody waits for it.
pub fn is_stray_reset(drop: &Sight) -> bool {
    drop.tcp.is_some_and(TcpFlags::is_reset) && drop.raw_reason() == Some("NO_SOCKET")
}

/// Reasons for which a receiver refuses its copy of what was sent to a group.
pub const UNWANTED: &[&str] = &[
    "NO_SOCKET",
    "OTHERHOST",
    "UNHANDLED_PROTO",
    "UNICAST_IN_L2_MULTICAST",
    "IPV6_NDISC_NS_OTHERHOST",
    "NO_TX_TARGET",
    "IP_INADDRERRORS",
    "IP_NOPROTO",
];

/// A copy of a broadcast or multicast that this receiver had no use for.
pub fn is_unwanted_copy(drop: &Sight) -> bool {
    drop.is_group() && drop.raw_reason().is_none_or(|r| UNWANTED.contains(&r))
}

/// A copy of what was told to a link's neighbours (MLD and IGMP reports, router solicitations, probes
/// for a duplicate address, mDNS), at a host that listens to none of it: that is how most of them end.
/// A neighbour solicitation of one that looks for somebody is not of these.
pub fn is_unheard(drop: &Sight) -> bool {
    /// Where the input routes of both families end what no socket of the host has joined.
    const NOT_JOINED: &[&str] = &["ip_rcv_finish_core", "ip_rcv_finish", "ip6_mc_input"];
    const NEIGHBOUR_SOLICITATION: u8 = 135;
    let Some(tuple) = drop.tuple else { return false };
    let seeks = drop.icmp.as_ref().is_some_and(|icmp| icmp.r#type == NEIGHBOUR_SOLICITATION)
        && !tuple.src.is_unspecified();
    let not_joined = drop.raw_reason().is_none_or(|reason| reason == "NOT_SPECIFIED")
        && drop.symbol().is_some_and(|symbol| NOT_JOINED.contains(&symbol));
    // A host that has no address yet has no route for them either.
    let no_route = drop.symbol() == Some("ip6_pkt_discard");
    (is_link_local_group(tuple.dst) || is_discovery(tuple.dst))
        && !seeks
        && (not_joined || no_route)
}

/// Where it is asked who is there: SSDP and WS-Discovery, SLP (IANA's registry of IPv4 multicast addresses,
/// 239.255.255.0/24).
fn is_discovery(to: IpAddr) -> bool {
    matches!(to, IpAddr::V4(v4) if matches!(v4.octets(), [239, 255, 255, 250 | 253]))
}

/// A group that no router forwards: 224.0.0.0/24 (RFC 5771), `ff02::/16` (RFC 4291, 2.7).
fn is_link_local_group(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Where the kernel first looks at an IP packet.
const FIRST_LOOK: &[&str] = &["ip_rcv", "ip_rcv_core", "ip6_rcv", "ip6_rcv_core", "ipv6_rcv"];

/// The kernel's first look at an IP packet, where a frame for another host ends. Kernels before
/// 5.17 give no reason there, and some later ones none that says it.
pub fn is_otherhost(drop: &Sight) -> bool {
    let Some(cause) = &drop.cause else {
        return false;
    };
    match cause.reason() {
        Some(reason) => reason == "OTHERHOST",
        None => {
            drop.pkt_type == Some(PktType::OtherHost)
                && cause.place().is_some_and(|(s, _)| FIRST_LOOK.contains(&s))
        }
    }
}

/// Where the kernel is done with the hooks before routing, which undo translations.
const ROUTED: &[&str] = &[
    "ip_rcv_finish",
    "ip_rcv_finish_core",
    "ip_route_input_noref",
    "ip_route_input_slow",
    "ip_sublist_rcv_finish",
    "ip_list_rcv_finish",
    "ip_error",
    "ip_forward",
    "ip_local_deliver",
    "ip_local_deliver_finish",
    "ip_protocol_deliver_rcu",
    "tcp_v4_rcv",
    "__udp4_lib_rcv",
    "icmp_rcv",
    "ip6_rcv_finish",
    "ip6_sublist_rcv_finish",
    "ip6_list_rcv_finish",
    "ip6_pkt_drop",
    "ip6_pkt_discard",
    "ip6_pkt_prohibit",
    "ip6_forward",
    "ip6_input",
    "ip6_input_finish",
    "ip6_protocol_deliver_rcu",
    "tcp_v6_rcv",
    "__udp6_lib_rcv",
    "icmpv6_rcv",
    "sctp_rcv",
    "raw_rcv",
    "rawv6_rcv",
];

/// A packet that ended beyond the hooks before routing. What they drop themselves has none of these
/// functions among its callers: `ip_rcv` calls the hooks first.
pub fn is_past_prerouting(end: &Sight) -> bool {
    if end.hook == HookName::Deliver {
        return true;
    }
    end.cause.as_ref().is_some_and(|c| c.symbols().any(|s| ROUTED.contains(&s)))
}

/// Who consumed an skb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The host's own network stack, or a reader of a socket.
    Host,
    /// The reader behind a tap.
    Guest,
    /// Something that let its copies go on instead.
    Copies,
    /// A listener beside the way (a packet socket, a netlink group): the way is not ended by it.
    Listener,
    /// A device that has sent it.
    Sender,
}

/// How far up the call chain the taker is looked for: further out are those who handed it over.
pub(super) const NEAR: usize = 5;

/// Who consumed it, where the kernel's function tells; `None` where it does not.
pub fn taker(cause: &Cause) -> Option<Taker> {
    /// They serve sockets of every family: who called them tells more.
    const ANY_SOCKET: &[&str] = &["skb_free_datagram", "__skb_free_datagram_locked"];
    if cause.place().is_some_and(|(symbol, _)| listeners::RAW_TOOK.contains(&symbol)) {
        return Some(Taker::Host);
    }
    let near = || cause.symbols().take(NEAR);
    let known = near().filter(|symbol| !ANY_SOCKET.contains(symbol)).find_map(taker_by_symbol);
    known.or_else(|| near().find_map(taker_by_symbol))
}

fn taker_by_symbol(symbol: &str) -> Option<Taker> {
    Some(match symbol {
        "icmp_rcv"
        | "icmpv6_rcv"
        | "ping_rcv"
        | "arp_process"
        | "arp_rcv"
        | "ndisc_rcv"
        | "igmp_rcv"
        | "skb_consume_udp"
        | "skb_free_datagram"
        | "__skb_free_datagram_locked"
        | "raw_recvmsg"
        | "rawv6_recvmsg"
        | "ping_recvmsg"
        | "udp_recvmsg"
        | "udpv6_recvmsg"
        | "tcp_rcv_state_process"
        | "tcp_rcv_established"
        | "tcp_data_queue"
        | "tcp_recvmsg"
        | "sctp_rcv" => Taker::Host,
        "tun_do_read" | "tun_recvmsg" | "tun_chr_read_iter" | "tap_do_read" | "tap_recvmsg" => {
            Taker::Guest
        }
        "ip_do_fragment"
        | "ip6_fragment"
        | "validate_xmit_skb"
        | "ip_finish_output_gso"
        // The same, where the compiler has put it into its caller.
        | "__ip_finish_output"
        | "__ip6_finish_output"
        | "ip6_finish_output_gso_slowpath_drop"
        | "skb_unshare"
        | "skb_share_check"
        | "skb_expand_head"
        | "skb_vlan_untag"
        | "br_flood"
        | "veth_convert_skb_to_xdp_buff"
        | "skb_pp_cow_data" => Taker::Copies,
        "packet_rcv"
        | "packet_rcv_spkt"
        | "tpacket_rcv"
        | "packet_recvmsg"
        | "netlink_broadcast_filtered" => Taker::Listener,
        "dummy_xmit" | "napi_consume_skb" | "free_old_xmit_skbs" | "free_old_xmit" => Taker::Sender,
        _ => return None,
    })
}

/// Kinds of device that hand a packet on inside this node: what leaves through them has not left
/// the node. `IFLA_INFO_KIND` names.
const STACKED: &[&str] = &[
    "bareudp",
    "batadv",
    "bond",
    "bridge",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "hsr",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ipvlan",
    "ipvtap",
    "loopback",
    "macsec",
    "macvlan",
    "macvtap",
    "openvswitch",
    "sit",
    "team",
    "tun",
    "vlan",
    "vrf",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
];

/// A fragment that was put together with others, and is freed as a part of what came of it: what became
/// of that tells (`kfree_skb_list` of `skb_release_data`, `net/core/skbuff.c`).
pub fn is_freed_with_its_whole(drop: &Sight) -> bool {
    let place = drop.cause.as_deref().and_then(|cause| cause.place());
    place.is_some_and(|(symbol, _)| symbol == "skb_release_data")
}

/// A fragment that had come before, as another skb: that one waits for the others of its datagram.
pub fn is_second_of_a_fragment(drop: &Sight) -> bool {
    drop.raw_reason() == Some("DUP_FRAG")
}

/// Whether what passes this device's egress leaves the node (or the part of it that can be seen).
pub fn leaves_node(sight: &Sight) -> bool {
    let Some(dev) = &sight.site.dev else { return false };
    dev.peer.is_none() && !STACKED.contains(&sight.kind()) && dev.name != "lo"
}
