//! Which packet a new skb is of.

use super::*;
use crate::record::{Ip, Proto, Tuple};

/// What a proxy for handshakes lets through has other numbers from then on.
#[test]
fn a_segment_that_is_given_other_numbers_is_the_same_packet() {
    let segment = |h: Hop, skb: u64, id: u32, print: &str| {
        let mut h = h.on("router", "c0", Some("veth")).paired().tcp("PA").print(print);
        h.skb = Some(Address(skb));
        h.ip = h.ip.map(|ip| Ip { id: Some(id), ..ip });
        h
    };
    let came = segment(hop(TcIngress, 1, 1), 0x100, 7, "before");
    let goes = |skb, id| segment(hop(TcEgress, 2, 2), skb, id, "after");
    let packet = |next| observe(&mut Story::new(), vec![came.clone(), next])[1];
    assert_eq!(packet(goes(0x100, 7)), (1, 2));
    assert_eq!(packet(goes(0x200, 7)), (2, 1), "another skb");
    assert_eq!(packet(goes(0x100, 8)), (2, 1), "another packet at the same address");
    assert_eq!(packet(goes(0x100, 7).tcp("A")), (2, 1), "another segment");
}

/// Hosts on a link report the same groups, in the same words.
#[test]
fn what_two_hosts_say_alike_on_a_link_is_two_packets() {
    let report = |src: &str| Tuple {
        proto: Proto::Icmp6,
        src: src.parse().unwrap(),
        sport: None,
        dst: "ff02::16".parse().unwrap(),
        dport: None,
    };
    let at = |netns, hook, ms, life, src| {
        hop(hook, ms, life).on(netns, "eth0", Some("veth")).paired().tuple(report(src))
    };
    for (one, other) in [("fe80::1", "fe80::2"), ("::", "::"), ("::", "fe80::2")] {
        let hops = vec![
            at("a", TcEgress, 1, 1, one),
            at("b", TcIngress, 1, 1, one),
            at("b", TcEgress, 2, 2, other),
            at("a", TcIngress, 2, 2, other),
        ];
        let found = observe(&mut Story::new(), hops);
        assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2)], "{one} {other}");
    }
}

#[test]
fn what_a_host_sends_is_no_copy_of_what_another_sent_unless_it_was_forwarded() {
    let forwarded = |mut h: Hop| {
        h.ip = h.ip.map(|ip| Ip { ttl: 63, ..ip });
        h
    };
    let there = |life| hop(TcEgress, 2, life).on("other", "veth-o", Some("veth")).paired();
    let packet = |next| observe(&mut Story::new(), vec![out(1, 1), next])[1].0;
    assert_eq!(packet(there(2)), 2);
    assert_eq!(packet(forwarded(there(2))), 1);
    assert_eq!(packet(there(2).enslaved()), 1, "a switch lowers no TTL");
}

#[test]
fn fragments_of_a_translated_datagram_are_of_the_same_packet() {
    let cut = |hop: Hop, offset, more| hop.on("router", "eth0", None).fragment(offset, more);
    let now = |mut hop: Hop| {
        let tuple = hop.tuple.as_mut().unwrap();
        tuple.dst = "10.7.7.7".parse().unwrap();
        hop
    };
    let hops = vec![
        cut(hop(TcIngress, 1, 1), 0, true),
        cut(hop(TcIngress, 1, 2), 1400, false),
        now(cut(hop(TcEgress, 2, 3), 0, true)),
        now(cut(hop(TcEgress, 2, 4), 1400, false)),
    ];
    let packets: Vec<_> = observe(&mut Story::new(), hops).iter().map(|hop| hop.0).collect();
    assert_eq!(packets, [1; 4]);
}
