use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, OWN_MAC, hop, tuple};
use crate::record::HookName::{Consume, Deliver, Drop, TcEgress, TcIngress};
use crate::record::{Hop, Icmp, Outcome, PktType};

const OTHER_MAC: &str = "02:00:00:00:00:77";

/// The outcome of the one packet that these hops are, 10 s later.
fn outcome(hops: Vec<Hop>) -> Outcome {
    let mut story = Story::new();
    for mut h in hops {
        h.packet = 1;
        story.observe(&mut h);
    }
    let (journeys, _) = story.end(10_000_000_000);
    assert_eq!(journeys.len(), 1);
    journeys[0].outcome
}

fn ingress() -> Hop {
    hop(TcIngress, 1, 1).on("server", "eth0", Some("veth")).paired().for_whom(PktType::Host)
}

#[test]
fn a_socket_takes_it() {
    assert_eq!(outcome(vec![ingress(), hop(Deliver, 2, 1)]), Outcome::Delivered);
    let read = hop(Consume, 3, 1).taken_by("skb_consume_udp");
    assert_eq!(outcome(vec![ingress(), hop(Deliver, 2, 1), read]), Outcome::Delivered);
}

#[test]
fn a_full_buffer_overrules_the_delivery() {
    let full = hop(Drop, 3, 1).because(Some("SOCKET_RCVBUFF"), "__udp_enqueue_schedule_skb");
    assert_eq!(outcome(vec![ingress(), hop(Deliver, 2, 1), full]), Outcome::Dropped);
}

#[test]
fn what_tcp_lets_go_of_it_has_taken() {
    let taken =
        |end: Hop| outcome(vec![ingress().tcp("A"), hop(Deliver, 2, 1).tcp("A"), end.tcp("A")]);
    for reason in ["TCP_RESET", "TCP_OLD_DATA", "TCP_OLD_ACK", "TCP_OFOMERGE", "QUEUE_PURGE"] {
        let end = hop(Drop, 3, 1).because(Some(reason), "tcp_data_queue");
        assert_eq!(taken(end), Outcome::Delivered, "{reason}");
    }
    for reason in [Some("NOT_SPECIFIED"), None] {
        let end = hop(Drop, 3, 1).because(reason, "tcp_rcv_state_process");
        assert_eq!(taken(end), Outcome::Delivered, "{reason:?}");
    }
    let overflow = hop(Drop, 3, 1).because(Some("TCP_LISTEN_OVERFLOW"), "tcp_conn_request");
    assert_eq!(taken(overflow), Outcome::Dropped);
}

#[test]
fn an_end_after_tcps_delivery_counts_though_it_comes_as_a_new_life() {
    let mut end = hop(Drop, 3, 2).because(Some("TCP_LISTEN_OVERFLOW"), "tcp_conn_request");
    end.skb = hop(Drop, 3, 1).skb;
    let hops = vec![ingress().tcp("S"), hop(Deliver, 2, 1).tcp("S"), end.tcp("S")];
    assert_eq!(outcome(hops), Outcome::Dropped);
}

#[test]
fn what_a_socket_is_closed_with_had_reached_it() {
    for symbol in
        ["udp_destruct_common", "udp_destruct_sock", "inet_sock_destruct", "skb_queue_purge"]
    {
        for reason in [Some("NOT_SPECIFIED"), None] {
            let unread = hop(Drop, 3, 1).because(reason, symbol);
            let hops = vec![ingress(), hop(Deliver, 2, 1), unread.clone()];
            assert_eq!(outcome(hops), Outcome::Delivered, "{symbol} {reason:?}");
        }
    }
    // Another reason at the same place is another matter.
    let refused = hop(Drop, 3, 1).because(Some("SOCKET_FILTER"), "udp_destruct_common");
    assert_eq!(outcome(vec![ingress(), hop(Deliver, 2, 1), refused]), Outcome::Dropped);
}

#[test]
fn udp_has_no_such_excuse() {
    let end = hop(Drop, 3, 1).because(Some("NOT_SPECIFIED"), "udp_queue_rcv_one_skb");
    assert_eq!(outcome(vec![ingress(), hop(Deliver, 2, 1), end]), Outcome::Dropped);
}

#[test]
fn time_wait_answers_a_fin_and_a_closed_port_refuses_a_syn() {
    let end = |flags: &str, reason| {
        outcome(vec![
            ingress().tcp(flags),
            hop(Drop, 2, 1).because(reason, "tcp_v4_rcv").tcp(flags),
        ])
    };
    assert_eq!(end("FA", Some("NOT_SPECIFIED")), Outcome::Delivered);
    assert_eq!(end("FA", None), Outcome::Delivered);
    assert_eq!(end("S", Some("NOT_SPECIFIED")), Outcome::Dropped);
    assert_eq!(end("S", None), Outcome::Dropped);
    assert_eq!(end("PA", None), Outcome::Dropped);
    assert_eq!(end("S", Some("NO_SOCKET")), Outcome::Dropped);
    assert_eq!(end("R", Some("NO_SOCKET")), Outcome::Delivered);
}

#[test]
fn the_host_stack_consumes_what_it_handles() {
    let taken = hop(Consume, 2, 1).taken_by("icmp_rcv");
    assert_eq!(outcome(vec![ingress(), taken]), Outcome::Delivered);
    assert_eq!(outcome(vec![ingress(), hop(Consume, 2, 1)]), Outcome::Delivered);
}

#[test]
fn the_host_behind_a_device_without_a_hook_consumes_it() {
    let out = hop(TcEgress, 1, 1).on("host", "veth0", Some("veth")).paired();
    let at = |netns, dev| hop(Consume, 2, 1).on(netns, dev, Some("veth")).taken_by("icmp_rcv");
    assert_eq!(outcome(vec![out.clone(), at("server", "eth0")]), Outcome::Delivered);
    assert_eq!(outcome(vec![out, at("host", "veth0")]), Outcome::Vanished);
}

#[test]
fn a_switch_port_does_not_lead_into_the_host() {
    let port = ingress().enslaved();
    assert_eq!(outcome(vec![port, hop(Consume, 2, 1)]), Outcome::Vanished);
}

#[test]
fn a_copy_for_a_listener_is_no_delivery() {
    let copy = hop(Consume, 2, 2).taken_by("packet_rcv");
    let died = hop(Drop, 3, 1).because(Some("NETFILTER_DROP"), "nf_hook_slow");
    assert_eq!(outcome(vec![ingress(), copy, died]), Outcome::Dropped);
}

#[test]
fn what_is_cut_up_goes_on_in_pieces() {
    for symbol in ["ip_finish_output_gso", "__ip_finish_output", "__ip6_finish_output"] {
        let cut = hop(Consume, 3, 1).on("server", "eth0", Some("veth")).taken_by(symbol);
        assert_eq!(outcome(vec![ingress(), cut]), Outcome::Forwarded, "{symbol}");
    }
}

#[test]
fn a_guest_reads_from_its_tap() {
    let tap = hop(TcEgress, 1, 1).on("host", "tap0", Some("tun"));
    assert_eq!(outcome(vec![tap.clone(), hop(Consume, 2, 1)]), Outcome::Delivered);
    assert_eq!(outcome(vec![tap.clone()]), Outcome::Vanished);
    let full = hop(Drop, 2, 1).because(Some("FULL_RING"), "tun_net_xmit");
    assert_eq!(outcome(vec![tap, full]), Outcome::Dropped);
}

#[test]
fn what_leaves_by_hardware_is_forwarded_and_what_enters_a_tunnel_is_not() {
    for kind in [None, Some("dummy")] {
        let out = hop(TcEgress, 1, 1).on("host", "eth0", kind);
        assert_eq!(outcome(vec![out.clone()]), Outcome::Forwarded);
        assert_eq!(outcome(vec![out.clone(), hop(Consume, 2, 1)]), Outcome::Forwarded);
        let full = hop(Drop, 2, 1).because(Some("QDISC_DROP"), "__dev_queue_xmit");
        assert_eq!(outcome(vec![out, full]), Outcome::Dropped);
    }
    for kind in ["vxlan", "bridge", "bond", "vlan"] {
        let out = hop(TcEgress, 1, 1).on("host", "dev0", Some(kind));
        assert_eq!(outcome(vec![out]), Outcome::Vanished, "{kind}");
    }
    let veth = hop(TcEgress, 1, 1).on("host", "veth0", Some("veth"));
    assert_eq!(outcome(vec![veth.clone().paired()]), Outcome::Vanished);
    assert_eq!(outcome(vec![veth]), Outcome::Forwarded);
}

#[test]
fn a_bridge_floods_and_one_copy_counts() {
    let other = hop(Drop, 3, 2).because(Some("OTHERHOST"), "ip_rcv_core");
    let hops = vec![ingress(), hop(Deliver, 2, 1), other];
    assert_eq!(outcome(hops), Outcome::Delivered);
}

#[test]
fn a_ping_reply_freed_as_no_socket_was_delivered_as_a_copy() {
    let freed = hop(Drop, 3, 1).because(Some("NO_SOCKET"), "ping_rcv");
    let hops = vec![ingress(), hop(Deliver, 2, 2), freed.clone()];
    assert_eq!(outcome(hops), Outcome::Delivered);
    assert_eq!(outcome(vec![ingress(), freed]), Outcome::Dropped);
}

#[test]
fn a_strangers_mac_is_misaddressed() {
    let refused = hop(Drop, 2, 1).because(Some("OTHERHOST"), "ip_rcv_core");
    assert_eq!(outcome(vec![ingress(), refused]), Outcome::Misaddressed);
    // Before 5.17 there is no reason: the frame itself says it.
    let stranger = ingress().for_whom(PktType::OtherHost).to_mac(OTHER_MAC);
    let old = hop(Drop, 2, 1).because(None, "ip_rcv_core").for_whom(PktType::OtherHost);
    assert_eq!(outcome(vec![stranger.clone(), old]), Outcome::Misaddressed);
    assert_eq!(outcome(vec![stranger.clone()]), Outcome::Misaddressed);
    let real = hop(Drop, 2, 1).because(Some("XDP"), "do_xdp_generic");
    assert_eq!(outcome(vec![stranger, real]), Outcome::Dropped);
    let own = ingress().for_whom(PktType::OtherHost).to_mac(OWN_MAC);
    assert_eq!(outcome(vec![own]), Outcome::Vanished);
    let port = ingress().enslaved().for_whom(PktType::OtherHost).to_mac(OTHER_MAC);
    assert_eq!(outcome(vec![port]), Outcome::Vanished);
}

#[test]
fn a_broadcast_that_one_host_does_not_want_is_no_loss() {
    let unwanted =
        || hop(Drop, 3, 2).because(Some("NO_SOCKET"), "__udp4_lib_rcv").to_mac("ff:ff:ff:ff:ff:ff");
    let out = hop(TcEgress, 1, 1).on("host", "eth0", None);
    assert_eq!(outcome(vec![out, unwanted()]), Outcome::Forwarded);
    // Nobody at all wanted it: that is what became of it.
    assert_eq!(
        outcome(vec![ingress(), hop(Consume, 2, 1).taken_by("br_flood"), unwanted()]),
        Outcome::Dropped
    );
}

#[test]
fn what_is_told_to_the_link_need_not_be_heard() {
    let end = |src: &str, dst: &str, kind: u8, reason| {
        let mut tuple = tuple("icmp6", src, 0, dst, 0);
        (tuple.sport, tuple.dport) = (None, None);
        let mut end = hop(Drop, 2, 1).because(reason, "ip6_mc_input").tuple(tuple);
        end.icmp = Some(Icmp {
            r#type: kind,
            code: 0,
            id: None,
            seq: None,
            mtu: None,
            about: None,
            about_id: None,
        });
        outcome(vec![ingress().tuple(tuple), end])
    };
    let unheard = Some("NOT_SPECIFIED");
    assert_eq!(end("fe80::1", "ff02::16", 143, unheard), Outcome::Delivered, "a report");
    assert_eq!(end("::", "ff02::1:ff00:2", 135, unheard), Outcome::Delivered, "a probe");
    assert_eq!(
        end("fe80::1", "ff02::2", 133, None),
        Outcome::Delivered,
        "before there were reasons"
    );
    assert_eq!(end("fe80::1", "ff02::1:ff00:2", 135, unheard), Outcome::Dropped, "it seeks one");
    assert_eq!(end("fe80::1", "ff05::16", 143, unheard), Outcome::Dropped, "routers forward it");
    assert_eq!(end("fe80::1", "ff02::16", 143, Some("NETFILTER_DROP")), Outcome::Dropped);
}

#[test]
fn whoever_is_asked_for_need_not_be_there() {
    let end = |group: &str| {
        let asked = tuple("udp", "10.0.0.1", 50_000, group, 1900);
        let end = hop(Drop, 2, 1).because(Some("NOT_SPECIFIED"), "ip_rcv_finish_core").tuple(asked);
        outcome(vec![ingress().tuple(asked), end])
    };
    assert_eq!(end("239.255.255.250"), Outcome::Delivered, "SSDP");
    assert_eq!(end("239.1.1.1"), Outcome::Dropped, "a group of somebody's own");
}

#[test]
fn a_fragment_that_dies_is_a_loss_though_others_go_on() {
    let out =
        |life, offset, more| hop(TcEgress, 2, life).on("host", "eth0", None).fragment(offset, more);
    let cut = hop(Consume, 1, 1).taken_by("ip_do_fragment");
    assert_eq!(
        outcome(vec![cut.clone(), out(2, 0, true), out(3, 1400, false)]),
        Outcome::Forwarded
    );
    let died = hop(Drop, 3, 3).because(Some("QDISC_DROP"), "__dev_queue_xmit");
    assert_eq!(outcome(vec![cut, out(2, 0, true), out(3, 1400, false), died]), Outcome::Dropped);
}

#[test]
fn open_vswitch_has_an_outcome_of_its_own() {
    let died = hop(Drop, 2, 1).because(Some("OVS_DROP_LAST_ACTION"), "do_execute_actions");
    assert_eq!(outcome(vec![ingress(), died]), Outcome::DroppedByOvs);
}

#[test]
fn what_a_tunnels_socket_takes_goes_on() {
    let inner = hop(TcIngress, 3, 1).on("server", "vxlan0", Some("vxlan")).for_whom(PktType::Host);
    let died = hop(Drop, 4, 1).because(Some("NETFILTER_DROP"), "nf_hook_slow");
    assert_eq!(outcome(vec![ingress(), hop(Deliver, 2, 1), inner, died]), Outcome::Dropped);
}
