//! What several listeners get a copy of is one packet, and dies only where none of them has it.

use super::*;
use crate::record::{Outcome, PktType};

/// It came in by the server's device.
fn came(ms: u64, life: u64) -> Vec<Hop> {
    vec![out(ms, life), arrive(ms + 1, life)]
}

/// A socket of the server's takes a copy.
fn taken(ms: u64, life: u64) -> Hop {
    hop(Deliver, ms, life).on("server", "veth-s", Some("veth"))
}

fn refused_copy(ms: u64, life: u64, reason: &str, symbol: &str) -> Hop {
    hop(Drop, ms, life).on("server", "veth-s", Some("veth")).because(Some(reason), symbol)
}

/// A socket lets go of a copy that it has long had; no device is known then.
fn unread(ms: u64, life: u64) -> Hop {
    let mut hop = hop(Drop, ms, life).on("server", "veth-s", Some("veth"));
    hop.dev = None;
    hop.because(Some("QUEUE_PURGE"), "inet_sock_destruct")
}

/// How many packets it is, and what became of the first.
fn told(hops: Vec<Hop>) -> (u64, Outcome) {
    let mut story = Story::new();
    observe(&mut story, hops);
    let ways = story.end(60 * S).0;
    (story.packets(), ways[0].outcome)
}

/// As two pings at once make it: the second one's socket never reads, and is closed at the end.
#[test]
fn a_copy_that_a_socket_never_read_is_of_the_packet_it_came_with() {
    let ends = refused_copy(4, 1, "NO_SOCKET", "ping_rcv");
    let hops = [came(1, 1), vec![taken(3, 2), taken(3, 3), ends, unread(30_000, 4)]].concat();
    assert_eq!(told(hops.clone()), (1, Outcome::Delivered));
    let mut story = Story::new();
    let (last, before) = hops.split_last().unwrap();
    observe(&mut story, before.to_vec());
    story.settle(20 * S);
    assert_eq!(observe(&mut story, vec![last.clone()]), [(1, 6)], "though it was told of already");
    assert_eq!(told(vec![unread(1, 1)]), (1, Outcome::Delivered), "a socket had it");
}

#[test]
fn one_full_socket_of_several_is_no_loss_and_all_of_them_are() {
    let group = |mut h: Hop| {
        h.pkt_type = Some(PktType::Multicast);
        h
    };
    let full = |ms, life| group(refused_copy(ms, life, "SOCKET_RCVBUFF", "udp_queue_rcv_one_skb"));
    let sent = || came(1, 1).into_iter().map(group).collect::<Vec<_>>();
    let one = vec![group(taken(3, 2)), full(4, 2), group(taken(5, 1))];
    assert_eq!(told([sent(), one].concat()), (1, Outcome::Delivered));
    let all = vec![group(taken(3, 2)), full(4, 2), group(taken(5, 3)), full(6, 3), full(7, 1)];
    assert_eq!(told([sent(), all].concat()), (1, Outcome::Dropped));
}

#[test]
fn raw_sockets_decide_over_what_nobody_else_handles() {
    let handed = || {
        hop(Consume, 9, 1).on("server", "veth-s", Some("veth")).taken_by("ip_local_deliver_finish")
    };
    let refused = |reason| refused_copy(4, 2, reason, "raw_rcv");
    let fate = |copies: Vec<Hop>| told([came(1, 1), copies, vec![handed()]].concat());
    assert_eq!(fate(vec![taken(3, 2)]), (1, Outcome::Delivered));
    assert_eq!(fate(vec![taken(3, 2), refused("SOCKET_RCVBUFF")]), (1, Outcome::Dropped));
    assert_eq!(fate(vec![refused("SOCKET_RCVBUFF"), taken(5, 3)]), (1, Outcome::Delivered));
    assert_eq!(fate(vec![refused("SOCKET_FILTER")]), (1, Outcome::Delivered), "it had it to judge");
}

#[test]
fn a_packet_socket_that_misses_its_copy_hides_nothing() {
    let missed = || refused_copy(3, 2, "PACKET_SOCK_ERROR", "tpacket_rcv");
    let fate = |end: Vec<Hop>| told([came(1, 1), vec![missed()], end].concat());
    assert_eq!(fate(vec![taken(4, 1)]), (1, Outcome::Delivered));
    let firewall = refused_copy(4, 1, "NETFILTER_DROP", "nft_do_chain");
    assert_eq!(fate(vec![firewall]), (1, Outcome::Dropped));
    assert_eq!(fate(Vec::new()), (1, Outcome::Vanished), "it says nothing of the packet");
    let fragment = |h: Hop| h.fragment(0, true);
    let gone = hop(TcEgress, 5, 1).on("server", "eth1", None);
    let hops: Vec<_> = [came(1, 1), vec![missed(), gone]].concat();
    let hops = hops.into_iter().map(fragment).collect();
    assert_eq!(told(hops), (1, Outcome::Forwarded));
    let alone = vec![refused_copy(3, 1, "PACKET_SOCK_ERROR", "tpacket_rcv")];
    assert_eq!(told([came(1, 1), alone].concat()), (1, Outcome::Dropped), "nobody else wanted it");
}

#[test]
fn what_tcpdump_reads_was_not_delivered() {
    let mut read =
        hop(Consume, 4, 2).on("server", "veth-s", Some("veth")).taken_by("skb_free_datagram");
    read.stack =
        Some(["skb_free_datagram+0x10".to_owned(), "packet_recvmsg+0x99".to_owned()].into());
    let firewall = refused_copy(3, 1, "NETFILTER_DROP", "nft_do_chain");
    assert_eq!(told([came(1, 1), vec![firewall, read]].concat()), (1, Outcome::Dropped));
}

/// What a host sends to a group comes in by the same device first, where it has a copy for itself.
#[test]
fn a_hosts_own_copy_of_what_it_sends_is_no_packet_of_its_own() {
    let mut own = out(1, 1);
    own.hook = TcIngress;
    own.pkt_type = Some(PktType::Loopback);
    let mut story = Story::new();
    assert_eq!(observe(&mut story, vec![own, out(2, 2)]), [(1, 1), (1, 2)]);
}
