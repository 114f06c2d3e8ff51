//! What the kernel's drop reasons mean, by name: `include/net/dropreason-core.h` up to Linux 6.18
//! and `net/openvswitch/drop.h`. A name that is not here is shown as it is.

use crate::verdict::matter::Matter::{
    self, Address, Backlog, Bpf, Bridge, Checksum, CpuBacklog, Device, Forwarding, Fragment,
    Header, Ipsec, Ipv6, Memory, Mtu, Ndisc, Neighbour, Netfilter, NoSocket, Ovs, Qdisc,
    ReceiveBuffer, Ring, Route, RpFilter, Security, Socket, Tap, Tc, Tcp, TcpAuth, Tunnel, Xdp,
};

/// The matter a reason belongs to and what it means, as a clause; `None` for an unknown name.
pub fn meaning(reason: &str) -> Option<(Matter, &'static str)> {
    MEANINGS.iter().find(|(name, _, _)| *name == reason).map(|(_, matter, words)| (*matter, *words))
}

/// `NOT_SPECIFIED` is missing on purpose: it says nothing.
#[rustfmt::skip]
const MEANINGS: &[(&str, Matter, &str)] = &[
    ("NO_SOCKET", NoSocket, "no socket is open for this address and port"),
    ("SOCKET_CLOSE", Socket, "the socket was closed with data unread"),
    ("SOCKET_FILTER", Socket, "a BPF filter on the socket (or its cgroup) refused it"),
    ("SOCKET_RCVBUFF", ReceiveBuffer, "the socket's receive buffer is full: its process does not read fast enough"),
    ("UNIX_DISCONNECT", Socket, "the UNIX socket was disconnected"),
    ("UNIX_SKIP_OOB", Socket, "out-of-band data on a UNIX socket was passed over"),
    ("PKT_TOO_SMALL", Header, "the packet is shorter than its headers"),
    ("TCP_CSUM", Checksum, "the TCP checksum is wrong"),
    ("UDP_CSUM", Checksum, "the UDP checksum is wrong"),
    ("NETFILTER_DROP", Netfilter, "a netfilter rule (nftables or iptables) said drop"),
    ("OTHERHOST", Address, "the frame's destination MAC is not the receiving device's"),
    ("IP_CSUM", Checksum, "the IP header checksum is wrong"),
    ("IP_INHDR", Header, "the IP header is malformed"),
    ("IP_RPFILTER", RpFilter, "the reverse-path filter refused it: the route back to its source does not lead out of the device it came in by"),
    ("UNICAST_IN_L2_MULTICAST", Address, "a unicast IP packet came in a broadcast or multicast frame"),
    ("XFRM_POLICY", Ipsec, "an IPsec policy refused it: it says block, or demands a protection for which there is no state (SA)"),
    ("IP_NOPROTO", NoSocket, "nobody on this host handles that IP protocol, or the raw socket that does has a full buffer"),
    ("PROTO_MEM", ReceiveBuffer, "the protocol's memory limit (tcp_mem or udp_mem) is reached"),
    ("TCP_AUTH_HDR", TcpAuth, "the TCP authentication options contradict each other"),
    ("TCP_MD5NOTFOUND", TcpAuth, "the socket wants TCP MD5 signatures and the segment has none"),
    ("TCP_MD5UNEXPECTED", TcpAuth, "the segment is MD5-signed and the socket has no key"),
    ("TCP_MD5FAILURE", TcpAuth, "the TCP MD5 signature is wrong"),
    ("TCP_AONOTFOUND", TcpAuth, "the socket wants TCP-AO and the segment has none"),
    ("TCP_AOUNEXPECTED", TcpAuth, "the segment has TCP-AO and the socket does not expect it"),
    ("TCP_AOKEYNOTFOUND", TcpAuth, "the segment's TCP-AO key is unknown"),
    ("TCP_AOFAILURE", TcpAuth, "the TCP-AO signature is wrong"),
    ("SOCKET_BACKLOG", ReceiveBuffer, "the socket's backlog is full: its process holds it busy"),
    ("TCP_FLAGS", Tcp, "the TCP flags make no sense in the connection's state"),
    ("TCP_ABORT_ON_DATA", Tcp, "data came for a connection whose process has closed it"),
    ("TCP_ZEROWINDOW", Tcp, "data came while the receive window is zero: its process does not read"),
    ("TCP_OLD_DATA", Tcp, "the data had been received before"),
    ("TCP_OVERWINDOW", Tcp, "the data lies beyond the receive window"),
    ("TCP_OFOMERGE", Tcp, "the data was in the out-of-order queue already"),
    ("TCP_RFC7323_PAWS", Tcp, "the TCP timestamp is older than the last one (PAWS, RFC 7323)"),
    ("TCP_RFC7323_PAWS_ACK", Tcp, "an ACK with an older TCP timestamp (PAWS, RFC 7323)"),
    ("TCP_RFC7323_TW_PAWS", Tcp, "a new SYN with an older TCP timestamp met a connection in TIME-WAIT"),
    ("TCP_RFC7323_TSECR", Tcp, "the echoed TCP timestamp was never sent (RFC 7323)"),
    ("TCP_LISTEN_OVERFLOW", Backlog, "the listener's accept queue is full: its process does not accept fast enough"),
    ("TCP_OLD_SEQUENCE", Tcp, "the sequence number is before what was received"),
    ("TCP_INVALID_SEQUENCE", Tcp, "the sequence number is outside the window"),
    ("TCP_INVALID_END_SEQUENCE", Tcp, "the segment ends beyond the window"),
    ("TCP_INVALID_ACK_SEQUENCE", Tcp, "it acknowledges what was never sent"),
    ("TCP_RESET", Tcp, "the RST was acted upon"),
    ("TCP_INVALID_SYN", Tcp, "a SYN inside an established connection"),
    ("TCP_CLOSE", Tcp, "the connection is closed already"),
    ("TCP_FASTOPEN", Tcp, "the handling of TCP Fast Open dropped it"),
    ("TCP_OLD_ACK", Tcp, "the ACK is older than the last one"),
    ("TCP_TOO_OLD_ACK", Tcp, "the ACK is too old (RFC 5961)"),
    ("TCP_ACK_UNSENT_DATA", Tcp, "it acknowledges data that was never sent"),
    ("TCP_OFO_QUEUE_PRUNE", ReceiveBuffer, "the out-of-order queue was cut back for lack of memory"),
    ("TCP_OFO_DROP", ReceiveBuffer, "the out-of-order queue has no room"),
    ("IP_OUTNOROUTES", Route, "no route to the destination (on output)"),
    ("BPF_CGROUP_EGRESS", Bpf, "a cgroup's BPF egress program refused it"),
    ("IPV6DISABLED", Ipv6, "IPv6 is disabled on the device"),
    ("NEIGH_CREATEFAIL", Neighbour, "no neighbour entry could be made: the table is full or the next hop is wrong"),
    ("NEIGH_FAILED", Neighbour, "the next hop did not answer ARP (or neighbour discovery)"),
    ("NEIGH_QUEUEFULL", Neighbour, "too many packets wait for the next hop to answer ARP (or neighbour discovery)"),
    ("NEIGH_DEAD", Neighbour, "the next hop's neighbour entry was being removed"),
    ("NEIGH_HH_FILLFAIL", Neighbour, "the link-layer header could not be filled in from the neighbour entry"),
    ("TC_EGRESS", Tc, "a tc filter or BPF program at the device's egress dropped it"),
    ("SECURITY_HOOK", Security, "a security module (SELinux, AppArmor, Smack) refused it"),
    ("QDISC_DROP", Qdisc, "the device's queueing discipline dropped it: its queue is full, it polices, or the device is down"),
    ("QDISC_OVERLIMIT", Qdisc, "the queueing discipline's limit was exceeded"),
    ("QDISC_CONGESTED", Qdisc, "the queueing discipline's congestion control dropped it"),
    ("CAKE_FLOOD", Qdisc, "sch_cake takes the flow for a flood"),
    ("FQ_BAND_LIMIT", Qdisc, "sch_fq: the band's limit is reached"),
    ("FQ_HORIZON_LIMIT", Qdisc, "sch_fq: its send time lies beyond the horizon"),
    ("FQ_FLOW_LIMIT", Qdisc, "sch_fq: the flow's limit is reached"),
    ("CPU_BACKLOG", CpuBacklog, "the processor's receive backlog is full (net.core.netdev_max_backlog)"),
    ("XDP", Xdp, "an XDP program dropped it"),
    ("TC_INGRESS", Tc, "a tc filter or BPF program at the device's ingress dropped it"),
    ("UNHANDLED_PROTO", Header, "nobody on this host handles that EtherType"),
    ("SKB_CSUM", Checksum, "the checksum could not be computed"),
    ("SKB_GSO_SEG", Device, "the packet could not be segmented for the device"),
    ("SKB_UCOPY_FAULT", Memory, "copying from or to user memory failed"),
    ("DEV_HDR", Device, "the device's driver could not make room for its header"),
    ("DEV_READY", Device, "the device is not ready: it is down, or nothing is attached to its other end"),
    ("FULL_RING", Ring, "the device's ring is full: its reader does not keep up"),
    ("NOMEM", Memory, "out of memory"),
    ("HDR_TRUNC", Header, "the headers are cut off"),
    ("TAP_FILTER", Tap, "a BPF filter on the tap refused it"),
    ("TAP_TXFILTER", Tap, "the tap's transmit filter refused its destination MAC"),
    ("ICMP_CSUM", Checksum, "the ICMP checksum is wrong"),
    ("INVALID_PROTO", Header, "an ICMP request to a broadcast address, which must not be answered (RFC 1122)"),
    ("IP_INADDRERRORS", Forwarding, "its destination is no address of this host, and forwarding is off"),
    ("IP_INNOROUTES", Route, "no route to the destination (on input)"),
    ("IP_LOCAL_SOURCE", Address, "its source is an address of this host itself (a martian; see accept_local)"),
    ("IP_INVALID_SOURCE", RpFilter, "its source is multicast, the limited broadcast, or zero (a martian)"),
    ("IP_LOCALNET", Route, "a loopback address came in from outside (see route_localnet)"),
    ("IP_INVALID_DEST", Route, "its destination is no valid one (0.0.0.0)"),
    ("PKT_TOO_BIG", Mtu, "the packet is bigger than the MTU of the way out and may not be fragmented"),
    ("DUP_FRAG", Fragment, "the same fragment came before, and waits for the others of its datagram"),
    ("FRAG_REASM_TIMEOUT", Fragment, "other fragments of the datagram never came"),
    ("FRAG_TOO_FAR", Fragment, "the fragments are too far apart (ipfrag_max_dist)"),
    ("TCP_MINTTL", Tcp, "the TTL is below what the socket demands (IP_MINTTL)"),
    ("IPV6_BAD_EXTHDR", Header, "a bad IPv6 extension header"),
    ("IPV6_NDISC_FRAG", Ndisc, "neighbour discovery must not be fragmented (RFC 6980)"),
    ("IPV6_NDISC_HOP_LIMIT", Ndisc, "neighbour discovery with a hop limit that is not 255"),
    ("IPV6_NDISC_BAD_CODE", Ndisc, "neighbour discovery with a bad code"),
    ("IPV6_NDISC_BAD_OPTIONS", Ndisc, "neighbour discovery with bad options"),
    ("IPV6_NDISC_NS_OTHERHOST", Ndisc, "a neighbour solicitation for an address that is not this host's"),
    ("QUEUE_PURGE", Socket, "its queue was thrown away: the socket or device was closed"),
    ("TC_COOKIE_ERROR", Tc, "tc: an error with the action's cookie"),
    ("PACKET_SOCK_ERROR", Socket, "a packet socket could not take its copy"),
    ("TC_CHAIN_NOTFOUND", Tc, "tc: goto to a chain that does not exist"),
    ("TC_RECLASSIFY_LOOP", Tc, "tc: the filters reclassify in a circle"),
    ("VXLAN_INVALID_HDR", Tunnel, "the VXLAN header is invalid"),
    ("VXLAN_VNI_NOT_FOUND", Tunnel, "no VXLAN device has this VNI"),
    ("MAC_INVALID_SOURCE", Bridge, "the source MAC is invalid: multicast, or the receiver's own"),
    ("VXLAN_ENTRY_EXISTS", Tunnel, "VXLAN: the source MAC has a static entry that leads elsewhere"),
    ("NO_TX_TARGET", Bridge, "there is no device to send it to: no port or forwarding entry accepts it"),
    ("IP_TUNNEL_ECN", Tunnel, "the tunnel's ECN bits contradict the inner packet's (RFC 6040)"),
    ("TUNNEL_TXINFO", Tunnel, "the packet carries no tunnel metadata where the device needs it"),
    ("LOCAL_MAC", Bridge, "the source MAC is one of the receiver's own"),
    ("ARP_PVLAN_DISABLE", Neighbour, "the ARP reply would go back out of the port it came from (see proxy_arp_pvlan)"),
    ("MAC_IEEE_MAC_CONTROL", Bridge, "an IEEE MAC control frame, which bridges do not forward"),
    ("BRIDGE_INGRESS_STP_STATE", Bridge, "the bridge port's STP state does not let it learn or forward (no port does while the bridge itself is down)"),
    ("CAN_RX_INVALID_FRAME", Header, "an invalid CAN frame"),
    ("CANFD_RX_INVALID_FRAME", Header, "an invalid CAN FD frame"),
    ("CANXL_RX_INVALID_FRAME", Header, "an invalid CAN XL frame"),
    ("PFMEMALLOC", Memory, "it came out of the emergency memory, and its socket is not for swapping"),
    ("DUALPI2_STEP_DROP", Qdisc, "sch_dualpi2: the L4S queue is over its step threshold"),
    ("PSP_INPUT", TcpAuth, "PSP: the input check refused it"),
    ("PSP_OUTPUT", TcpAuth, "PSP: the output check refused it"),
    ("RECURSION_LIMIT", Device, "devices are stacked in a circle: the recursion limit was reached"),
    ("OVS_DROP_LAST_ACTION", Ovs, "Open vSwitch's actions for it end without an output: no flow forwards it, or one says drop"),
    ("OVS_DROP_ACTION_ERROR", Ovs, "an Open vSwitch action failed"),
    ("OVS_DROP_EXPLICIT", Ovs, "an Open vSwitch flow says drop"),
    ("OVS_DROP_EXPLICIT_WITH_ERROR", Ovs, "ovs-vswitchd told the datapath to drop it because the translation failed"),
    ("OVS_DROP_METER", Ovs, "an Open vSwitch meter dropped it: over its rate"),
    ("OVS_DROP_RECURSION_LIMIT", Ovs, "Open vSwitch's actions are nested too deeply"),
    ("OVS_DROP_DEFERRED_LIMIT", Ovs, "Open vSwitch has too many deferred actions"),
    ("OVS_DROP_FRAG_L2_TOO_LONG", Ovs, "Open vSwitch could not fragment it: its link-layer header is too long"),
    ("OVS_DROP_FRAG_INVALID_PROTO", Ovs, "Open vSwitch could not fragment it: neither IPv4 nor IPv6"),
    ("OVS_DROP_CONNTRACK", Ovs, "Open vSwitch's connection tracking refused it"),
    ("OVS_DROP_IP_TTL", Ovs, "Open vSwitch: the TTL reached zero"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_is_explained_once() {
        let names: HashSet<_> = MEANINGS.iter().map(|(name, _, _)| name).collect();
        assert_eq!(names.len(), MEANINGS.len());
    }

    #[test]
    fn what_says_nothing_is_not_explained() {
        assert_eq!(meaning("NOT_SPECIFIED"), None);
        assert_eq!(meaning("A_REASON_OF_LINUX_9"), None);
    }
}
