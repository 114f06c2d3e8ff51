use std::sync::Arc;

use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::HookName::{Drop, TcIngress};
use crate::record::{Hop, Tunnel, Tuple};

/// Text and commands of the verdict about a packet that came in by `r`'s `c0` and died there.
fn told(reason: &str, symbol: &str, flow: Tuple) -> (String, Vec<String>) {
    let at = |hop: Hop| hop.on("r", "c0", Some("veth")).paired().tuple(flow);
    let mut story = Story::new();
    story.observe(&mut at(hop(TcIngress, 1, 1)));
    story.observe(&mut at(hop(Drop, 2, 1)).because(Some(reason), symbol));
    let verdict = story.finish(20_000_000_000).1.remove(0);
    (verdict.text, verdict.next)
}

#[test]
fn what_is_inside_of_a_tunnel_is_routed_by_what_is_around_it() {
    let flow = tuple("udp", "10.0.0.1", 1, "10.0.0.2", 2);
    let mut lost = hop(Drop, 2, 1).on("r", "u0", Some("veth")).tuple(flow);
    lost = lost.because(Some("NEIGH_FAILED"), "neigh_invalidate");
    lost.tunnel = Some(Arc::new(Tunnel {
        kind: "vxlan".to_owned(),
        key: Some(7),
        src: "10.97.0.1".parse().unwrap(),
        dst: "10.97.0.9".parse().unwrap(),
        dport: Some(4789),
    }));
    let mut story = Story::new();
    story.observe(&mut hop(TcIngress, 1, 1).on("r", "c0", Some("veth")).paired().tuple(flow));
    story.observe(&mut lost);
    let verdict = story.finish(20_000_000_000).1.remove(0);
    assert_eq!(verdict.next[0], "ip -n r route get 10.97.0.9");
    let inside = "inside of vxlan, from 10.97.0.1 to 10.97.0.9";
    assert!(verdict.text.contains(inside), "{}", verdict.text);
}

#[test]
fn each_death_has_words_and_commands_of_its_own() {
    let v4 = tuple("udp", "10.0.0.1", 1, "10.0.0.2", 2);
    let v6 = tuple("udp", "fd05:1::2", 1, "fd05:2::2", 2);
    let group = tuple("udp", "10.0.0.1", 1, "239.1.1.1", 2);
    let (way4, way6) = (
        "ip -n r route get 10.0.0.2 from 10.0.0.1 iif c0",
        "ip -n r route get fd05:2::2 from fd05:1::2 iif c0",
    );
    let link = "ip -n r -s -d link show dev c0";
    let cases: [(&str, &str, Tuple, &str, &[&str]); 14] = [
        ("NOT_SPECIFIED", "__dev_forward_skb2", v4, "its MTU is smaller", &[link]),
        (
            "NOT_SPECIFIED",
            "br_nf_dev_queue_xmit",
            v4,
            "bigger than the MTU of the bridge's port",
            &[link],
        ),
        (
            "IP_INNOROUTES",
            "ip_error",
            v4,
            "no route to the destination",
            &[way4, "ip -n r route show table all match 10.0.0.2", "ip -n r rule"],
        ),
        ("NOT_SPECIFIED", "ip_error", v4, "blackhole, unreachable or prohibit", &[way4]),
        (
            "IP_INNOROUTES",
            "ip6_pkt_prohibit",
            v6,
            "says prohibit",
            &[way6, "ip -n r -6 route show table all match fd05:2::2", "ip -n r -6 rule"],
        ),
        ("IP_INNOROUTES", "ip6_pkt_discard", v6, "says unreachable", &[way6]),
        (
            "IP_OUTNOROUTES",
            "ip6_pkt_discard_out",
            v6,
            "on output",
            &["ip -n r route get fd05:2::2 from fd05:1::2"],
        ),
        (
            "NOT_SPECIFIED",
            "ip_rcv_finish_core",
            group,
            "nobody on this host has joined",
            &["ip -n r maddr show dev c0"],
        ),
        (
            "IP_RPFILTER",
            "ip_rcv_finish_core",
            group,
            "reverse-path",
            &["ip netns exec r sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.c0.rp_filter"],
        ),
        ("NOT_SPECIFIED", "br_handle_frame_finish", v4, "isolated", &["bridge -n r -d link show"]),
        (
            "NOT_SPECIFIED",
            "ip_defrag",
            v4,
            "ipfrag_high_thresh",
            &["ip netns exec r sysctl -ar 'net.ipv4.*frag'"],
        ),
        (
            "XFRM_POLICY",
            "ip_forward",
            v4,
            "IPsec",
            &[
                "ip -n r -s xfrm policy",
                "ip netns exec r cat /proc/net/xfrm_stat",
                "ip -n r -s xfrm state",
            ],
        ),
        ("NOT_SPECIFIED", "dst_discard_out", v6, "a blackhole", &[way6]),
        ("IP_LOCAL_SOURCE", "ip_rcv_finish_core", v4, "a martian", &[link, "ip -n r addr"]),
    ];
    for (reason, symbol, flow, words, commands) in cases {
        let (text, next) = told(reason, symbol, flow);
        assert!(text.contains(words), "{reason} {symbol}: {text}");
        assert_eq!(next[..commands.len()], *commands, "{reason} {symbol}");
    }
}
