//! What a drop is about: reasons and kernel functions with one remedy have one matter.

use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Proto};
use crate::verdict::{reasons, symbols};

/// What a drop is about; decides which commands are worth running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of the reasons and functions that have it say it")]
pub enum Matter {
    Address,
    Backlog,
    Bpf,
    Bridge,
    Checksum,
    CpuBacklog,
    Device,
    Forwarding,
    Fragment,
    Header,
    Ipsec,
    Ipv6,
    Memory,
    Mtu,
    Multicast,
    Ndisc,
    Neighbour,
    Netfilter,
    NoSocket,
    Ovs,
    Qdisc,
    ReceiveBuffer,
    Ring,
    Route,
    RpFilter,
    Security,
    Socket,
    Tap,
    Tc,
    Tcp,
    TcpAuth,
    Ttl,
    Tunnel,
    VlanFilter,
    Xdp,
    Unknown,
}

/// What a drop is about, and in words: by the kernel's reason, made more exact by its function;
/// by the function alone where there is no reason that says anything. `None` words: unknown.
pub fn of(drop: &Sight, before: Option<&Sight>) -> (Matter, Option<&'static str>) {
    let Some(cause) = drop.cause.as_deref() else {
        return (Matter::Unknown, None);
    };
    let by_symbol = || cause.place().and_then(|(symbol, _)| symbols::meaning(symbol));
    let of_reason = || reasons::meaning(cause.reason()?);
    let found = match cause.reason() {
        Some("IP_INHDR") if is_forwarding(drop) => Some(TTL_EXPIRED),
        Some("IP_INNOROUTES" | "IP_OUTNOROUTES") => {
            by_symbol().filter(|(matter, _)| *matter == Matter::Route).or_else(of_reason)
        }
        None if drop.symbol() == Some("ip6_mc_input") && is_solicitation(drop) => Some(NOT_HERE),
        None if is_unjoined(drop) => Some(not_joined(drop)),
        None if drop.symbol() == Some("ip_error") && drop.raw_reason().is_some() => {
            Some(REFUSED_BY_ROUTE)
        }
        Some("QDISC_DROP") if has_no_carrier(drop) => Some(no_carrier(drop)),
        Some("NO_SOCKET") if is_udp(drop) => Some(NO_UDP_SOCKET),
        Some("NO_SOCKET") if is_mid_connection(drop) => Some(NO_CONNECTION),
        Some("TCP_FLAGS") if is_mid_connection(drop) && is_at_listener(drop) => Some(FORGOTTEN),
        Some("UNHANDLED_PROTO") if drop.symbol() == Some("ip6_tlvopt_unknown") => {
            Some(UNKNOWN_OPTION)
        }
        Some(_) => of_reason(),
        None if is_forwarding(drop) && ttl(drop, before).is_some_and(|ttl| ttl <= 1) => {
            Some(TTL_EXPIRED)
        }
        None => by_symbol(),
    };
    found.map_or((Matter::Unknown, None), |(matter, words)| (matter, Some(words)))
}

/// What drops are about where no packet is at hand: by the kernel's names alone.
pub fn named(reason: Option<&str>, symbol: Option<&str>) -> (Matter, Option<&'static str>) {
    let forwarding = matches!(symbol, Some("ip_forward" | "ip6_forward"));
    let found = match reason {
        Some("IP_INHDR") if forwarding => Some(TTL_EXPIRED),
        Some("UNHANDLED_PROTO") if symbol == Some("ip6_tlvopt_unknown") => Some(UNKNOWN_OPTION),
        Some("UNHANDLED_PROTO") if matches!(symbol, Some("icmp_rcv" | "icmpv6_rcv")) => {
            Some(UNKNOWN_ICMP)
        }
        Some("OTHERHOST") => Some(OTHER_HOST),
        Some(reason) => reasons::meaning(reason).or_else(|| symbols::meaning(symbol?)),
        None => symbol.and_then(symbols::meaning),
    };
    found.map_or((Matter::Unknown, None), |(matter, words)| (matter, Some(words)))
}

/// The kernel has no reason of its own for it: `ip_forward` and `ip6_forward` say `IP_INHDR`.
const TTL_EXPIRED: (Matter, &str) =
    (Matter::Ttl, "its TTL (hop limit) ran out here: too many routers, or a loop");

/// `ip_error` in `net/ipv4/route.c` has a reason of its own where there is no route at all.
const REFUSED_BY_ROUTE: (Matter, &str) =
    (Matter::Route, "a route or a policy rule refuses it: blackhole, unreachable or prohibit");

/// `__udp4_lib_lookup` and `__udp6_lib_lookup` look for a socket that is bound to nothing else and
/// connected to nobody else.
const NO_UDP_SOCKET: (Matter, &str) = (
    Matter::NoSocket,
    "no socket is open for this address and port, or only one that is connected to another peer or \
     bound to another device",
);

const NO_CONNECTION: (Matter, &str) = (
    Matter::Tcp,
    "no connection with these ends is known here, and nobody listens on the port: it was closed or \
     forgotten here (a restart, a failover), or never was this host's",
);

/// `tcp_rcv_state_process` of a listening socket: what is acknowledged to it was never sent.
const FORGOTTEN: (Matter, &str) = (
    Matter::Tcp,
    "the port has a listener, but no connection with these ends is known here: it was closed or \
     forgotten here (a restart, a failover), or never was this host's",
);

/// A segment that opens no connection.
fn is_mid_connection(drop: &Sight) -> bool {
    drop.tcp.is_some_and(|flags| flags.has("A") && !flags.has("S"))
}

/// Who ends a segment that the socket's state has no place for with a RST; of a connection that stands,
/// `tcp_rcv_established` and others end it.
fn is_at_listener(drop: &Sight) -> bool {
    matches!(drop.symbol(), Some("tcp_v4_do_rcv" | "tcp_v6_do_rcv"))
}

/// The kernel's reason is the same as for an `EtherType` that nobody handles (`net/ipv6/exthdrs.c`).
const UNKNOWN_OPTION: (Matter, &str) = (
    Matter::Header,
    "it has an IPv6 option that this host does not know, and that says not to pass it over (RFC 8200, 4.2)",
);

/// Likewise (`net/ipv4/icmp.c`).
const UNKNOWN_ICMP: (Matter, &str) =
    (Matter::Header, "an ICMP message of a type that this host does not know");

/// The kernel makes such of frames with a tag that no device takes (`__netif_receive_skb_core`).
const OTHER_HOST: (Matter, &str) = (
    Matter::Address,
    "the frame's destination MAC is not the receiving device's, or it has a VLAN tag and there is no \
     device for that VLAN",
);

fn is_udp(drop: &Sight) -> bool {
    drop.tuple.is_some_and(|t| t.proto == Proto::Udp)
}

/// A host joins the group of each of its addresses (RFC 4861, 7.2.1).
const NOT_HERE: (Matter, &str) = (
    Matter::Ndisc,
    "it asks for an address that this host does not have: its solicited-node group is not joined here",
);

fn is_solicitation(drop: &Sight) -> bool {
    const NEIGHBOUR_SOLICITATION: u8 = 135;
    let is_icmp6 = drop.tuple.is_some_and(|t| t.proto == Proto::Icmp6);
    is_icmp6 && drop.icmp.as_ref().is_some_and(|icmp| icmp.r#type == NEIGHBOUR_SOLICITATION)
}

/// A packet for an IPv4 group, refused by `ip_route_input_mc`, or not taken by it.
fn is_unjoined(drop: &Sight) -> bool {
    let to_group = drop.tuple.is_some_and(|t| t.dst.is_ipv4() && t.dst.is_multicast());
    to_group && matches!(drop.symbol(), Some("ip_rcv_finish_core" | "ip_rcv_finish"))
}

fn not_joined(drop: &Sight) -> (Matter, &'static str) {
    let words = if drop.raw_reason().is_some() {
        "it is for a multicast group that nobody on this host has joined on the device"
    } else {
        "it is for a multicast group: nobody on this host has joined it on the device, or its \
         source was refused"
    };
    (Matter::Multicast, words)
}

/// A device without a carrier has `noop` for a queueing discipline, which drops everything
/// (`dev_deactivate` in `net/sched/sch_generic.c`).
fn no_carrier(drop: &Sight) -> (Matter, &'static str) {
    if drop.site.dev.as_ref().is_some_and(|dev| dev.kind.as_deref() == Some("tun")) {
        (Matter::Tap, "the tap has no carrier: no process has it open to read from it")
    } else {
        (
            Matter::Device,
            "the device has no carrier: its other end, or the device that it is on, is down, or nothing is attached to it",
        )
    }
}

fn has_no_carrier(drop: &Sight) -> bool {
    drop.site.dev.as_ref().is_some_and(|dev| dev.carrier == Some(false))
}

fn is_forwarding(drop: &Sight) -> bool {
    matches!(drop.symbol(), Some("ip_forward" | "ip6_forward"))
}

fn ttl(drop: &Sight, before: Option<&Sight>) -> Option<u8> {
    drop.ttl.or_else(|| before.filter(|b| b.hook == HookName::TcIngress)?.ttl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconstruct::sight::Catalog;
    use crate::reconstruct::testing::{HopExt, hop};
    use crate::record::{Hop, Icmp};

    fn words(hop: &Hop) -> &'static str {
        of(&Catalog::default().sight(hop), None).1.unwrap()
    }

    fn refused(reason: &str, symbol: &str) -> Hop {
        hop(HookName::Drop, 1, 1).because(Some(reason), symbol)
    }

    #[test]
    fn a_datagram_may_find_a_socket_that_is_not_for_it() {
        let udp = refused("NO_SOCKET", "__udp4_lib_rcv");
        assert!(words(&udp).contains("connected to another peer"));
        let syn = refused("NO_SOCKET", "tcp_v4_rcv").tcp("S");
        assert_eq!(words(&syn), "no socket is open for this address and port");
    }

    #[test]
    fn a_connection_that_only_one_side_knows_is_told_from_a_closed_port() {
        let data = refused("NO_SOCKET", "tcp_v4_rcv").tcp("PA");
        assert!(words(&data).contains("nobody listens on the port"));
        let at_listener = refused("TCP_FLAGS", "tcp_v6_do_rcv").tcp("PA");
        assert!(words(&at_listener).contains("the port has a listener"));
        for (symbol, flags) in [("tcp_v4_do_rcv", "SF"), ("tcp_rcv_established", "PA")] {
            let other = refused("TCP_FLAGS", symbol).tcp(flags);
            assert!(words(&other).contains("make no sense"), "{symbol} {flags}");
        }
    }

    #[test]
    fn who_is_asked_for_and_not_here_is_told_from_a_group() {
        let group = refused("NOT_SPECIFIED", "ip6_mc_input");
        assert!(words(&group).contains("multicast group"));
        let mut asked = group;
        asked.tuple.as_mut().unwrap().proto = Proto::Icmp6;
        asked.icmp = Some(Icmp {
            r#type: 135,
            code: 0,
            id: None,
            seq: None,
            mtu: None,
            about: None,
            about_id: None,
        });
        assert!(words(&asked).contains("an address that this host does not have"));
    }

    #[test]
    fn an_unknown_option_is_no_unknown_ethertype() {
        let option = refused("UNHANDLED_PROTO", "ip6_tlvopt_unknown");
        assert!(words(&option).contains("IPv6 option"));
        assert!(
            words(&refused("UNHANDLED_PROTO", "__netif_receive_skb_core")).contains("EtherType")
        );
        let named = |symbol| named(Some("UNHANDLED_PROTO"), Some(symbol)).1.unwrap();
        assert!(named("ip6_tlvopt_unknown").contains("IPv6 option"));
        assert!(named("icmp_rcv").contains("ICMP message"));
        assert!(named("__netif_receive_skb_core").contains("EtherType"));
    }

    #[test]
    fn a_frame_for_another_host_may_be_one_of_an_unknown_vlan() {
        assert!(named(Some("OTHERHOST"), Some("ip_rcv_core")).1.unwrap().contains("VLAN"));
    }
}
