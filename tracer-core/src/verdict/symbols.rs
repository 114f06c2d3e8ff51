//! What it means that a kernel function dropped a packet, where the reason says nothing: kernels
//! before 5.17 have none, and later ones still give `NOT_SPECIFIED` in places. Only functions that
//! drop for one cause, or for causes that can be listed, are here; `net/` of Linux 5.10 to 6.18.

use crate::verdict::matter::Matter::{
    self, Backlog, Bridge, CpuBacklog, Device, Fragment, Mtu, Multicast, Neighbour, Netfilter,
    NoSocket, Ovs, ReceiveBuffer, Route, RpFilter, Tap, Tc, Tunnel, VlanFilter, Xdp,
};

/// The matter and the meaning of a drop in this function; `None` where it can be anything.
pub fn meaning(symbol: &str) -> Option<(Matter, &'static str)> {
    // What the compiler split off a function is still that function.
    let symbol = symbol.split('.').next().unwrap_or(symbol);
    MEANINGS.iter().find(|(name, _, _)| *name == symbol).map(|(_, matter, words)| (*matter, *words))
}

#[rustfmt::skip]
const MEANINGS: &[(&str, Matter, &str)] = &[
    ("nf_hook_slow", Netfilter, "a netfilter rule (nftables or iptables) said drop"),
    ("nf_hook_slow_list", Netfilter, "a netfilter rule (nftables or iptables) said drop"),
    ("__allowed_ingress", VlanFilter, "the bridge's VLAN filter does not allow this VLAN on the port it came in by"),
    ("br_allowed_ingress", VlanFilter, "the bridge's VLAN filter does not allow this VLAN on the port it came in by"),
    ("br_handle_vlan", VlanFilter, "the bridge's VLAN filter does not allow this VLAN on the port it would leave by"),
    ("br_handle_frame_finish", Bridge, "the bridge refused it: the port it came in by is locked or not forwarding (STP), or no port may take it (isolated ports, one that is not forwarding, or the one it came in by with hairpin off)"),
    ("br_forward", Bridge, "the port that it is for may not take it: it is isolated as that it came in by, not forwarding (STP), or the same one with hairpin off"),
    ("br_handle_frame", Bridge, "the bridge refused it: an invalid source MAC, or a port that is not forwarding"),
    ("ip_rcv_finish_core", RpFilter, "routing refused it on input: the reverse-path filter, no route, or an invalid source"),
    ("ip_rcv_finish", RpFilter, "routing refused it on input: the reverse-path filter, no route, or an invalid source"),
    ("ip_error", Route, "no route to the destination (on input)"),
    ("ip6_pkt_discard", Route, "no route to the destination (on input), or a route or a policy rule that says unreachable"),
    ("ip6_pkt_discard_out", Route, "no route to the destination (on output), or a route or a policy rule that says unreachable"),
    ("ip6_pkt_prohibit", Route, "a route or a policy rule says prohibit"),
    ("ip6_pkt_prohibit_out", Route, "a route or a policy rule says prohibit"),
    ("ip6_mc_input", Multicast, "it is for a multicast group that nobody on this host has joined on the device"),
    ("ip6_pkt_drop", Route, "the route says discard"),
    ("dst_discard_out", Route, "the route says discard (a blackhole)"),
    ("dst_discard", Route, "the route says discard (a blackhole)"),
    ("ip_fragment", Mtu, "the packet is bigger than the MTU of the way out and may not be fragmented"),
    ("ip6_fragment", Mtu, "the packet is bigger than the MTU of the way out, or could not be fragmented"),
    ("arp_error_report", Neighbour, "the next hop did not answer ARP"),
    ("ndisc_error_report", Neighbour, "the next hop did not answer neighbour discovery"),
    ("neigh_invalidate", Neighbour, "the next hop did not answer ARP (or neighbour discovery)"),
    ("__neigh_event_send", Neighbour, "the next hop's neighbour entry has failed, or too many packets wait for it"),
    ("__udp4_lib_rcv", NoSocket, "no socket is open for this address and port, or the checksum is wrong"),
    ("__udp6_lib_rcv", NoSocket, "no socket is open for this address and port, or the checksum is wrong"),
    ("__udp_enqueue_schedule_skb", ReceiveBuffer, "the socket's receive buffer is full: its process does not read fast enough"),
    ("udp_queue_rcv_one_skb", ReceiveBuffer, "the socket did not take it: its receive buffer is full, or a filter or checksum refused it"),
    ("udpv6_queue_rcv_one_skb", ReceiveBuffer, "the socket did not take it: its receive buffer is full, or a filter or checksum refused it"),
    ("__udp_queue_rcv_skb", ReceiveBuffer, "the socket's receive buffer is full: its process does not read fast enough"),
    ("raw_rcv", ReceiveBuffer, "the raw socket did not take it"),
    ("raw_rcv_skb", ReceiveBuffer, "the raw socket's receive buffer is full"),
    ("tcp_add_backlog", ReceiveBuffer, "the socket's backlog is full: its process holds it busy"),
    ("tcp_conn_request", Backlog, "the listener does not take the connection: its queue is full"),
    ("tcp_v4_syn_recv_sock", Backlog, "the listener's accept queue is full: its process does not accept fast enough"),
    ("tcp_v6_syn_recv_sock", Backlog, "the listener's accept queue is full: its process does not accept fast enough"),
    ("br_dev_queue_push_xmit", Device, "the packet is bigger than the MTU of the bridge's port it would leave by (a bridge fragments nothing), or that port is down"),
    ("br_nf_dev_queue_xmit", Device, "the packet is bigger than the MTU of the bridge's port it would leave by (a bridge fragments nothing), or that port is down"),
    ("dev_forward_skb", Device, "the device at the other end did not take it: it is down, or its MTU is smaller than the packet"),
    ("__dev_forward_skb", Device, "the device at the other end did not take it: it is down, or its MTU is smaller than the packet"),
    ("__dev_forward_skb2", Device, "the device at the other end did not take it: it is down, or its MTU is smaller than the packet"),
    ("veth_xmit", Device, "the other end of the veth is gone, or did not take it"),
    ("veth_xdp_rcv_skb", Xdp, "an XDP program dropped it, or its copy for XDP could not be made"),
    ("do_xdp_generic", Xdp, "an XDP program dropped it"),
    ("bpf_prog_run_generic_xdp", Xdp, "an XDP program dropped it"),
    ("netif_receive_generic_xdp", Xdp, "an XDP program dropped it"),
    ("sch_handle_ingress", Tc, "a tc filter or BPF program at the device's ingress dropped it"),
    ("sch_handle_egress", Tc, "a tc filter or BPF program at the device's egress dropped it"),
    ("enqueue_to_backlog", CpuBacklog, "the processor's receive backlog is full (net.core.netdev_max_backlog)"),
    ("tun_net_xmit", Tap, "the tap's queue is full, its reader is gone, or a filter on it refused it"),
    ("vxlan_xmit_one", Tunnel, "VXLAN could not send it: no route to the other end, or its own MTU"),
    ("gre_rcv", Tunnel, "no GRE tunnel here takes it: none has these addresses and this key, or the header is bad"),
    ("ipgre_rcv", Tunnel, "no GRE tunnel here takes it: none has these addresses and this key, or the header is bad"),
    ("geneve_udp_encap_recv", Tunnel, "no Geneve tunnel here takes it: none has this key and this other end, or the header is bad"),
    ("vxlan_rcv", Tunnel, "no VXLAN here takes it: none has this VNI and this other end, or the header is bad"),
    ("ip_defrag", Fragment, "its fragments could not be kept to be put together: their memory is used up (ipfrag_high_thresh), or they contradict each other"),
    ("ip_frag_queue", Fragment, "the fragment does not fit the others of its datagram"),
    ("ipv6_frag_rcv", Fragment, "its fragments could not be kept to be put together: their memory is used up (ip6frag_high_thresh), or they contradict each other"),
    ("nf_ct_frag6_gather", Fragment, "conntrack could not keep its fragments to put them together: their memory is used up (nf_conntrack_frag6_high_thresh), or they contradict each other"),
    ("ip_frag_reasm", Fragment, "the datagram could not be put together"),
    ("ip_expire", Fragment, "other fragments of the datagram never came"),
    ("inet_frag_rbtree_purge", Fragment, "other fragments of the datagram never came"),
    ("do_execute_actions", Ovs, "Open vSwitch's actions dropped it"),
    ("ovs_dp_process_packet", Ovs, "Open vSwitch found no flow and could not ask ovs-vswitchd"),
];
