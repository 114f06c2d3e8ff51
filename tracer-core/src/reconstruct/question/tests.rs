use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, OWN_MAC, hop};
use crate::record::HookName::{Consume, Deliver, Drop, TcEgress, TcIngress};
use crate::record::{Arp, ArpOp, Hop, Icmp, Outcome, PktType, Proto, Tuple, Verdict};

const ASKER: &str = "10.0.0.1";
const OWNER: &str = "10.0.0.2";

/// Shown as ARP at this place.
fn arp(hop: Hop, packet: u64, op: ArpOp, src: &str, dst: &str) -> Hop {
    let mut hop = hop.print(&packet.to_string());
    hop.packet = packet;
    hop.ip = None;
    hop.tuple = Some(Tuple {
        proto: Proto::Arp,
        src: src.parse().unwrap(),
        sport: None,
        dst: dst.parse().unwrap(),
        dport: None,
    });
    let mac = OWN_MAC.parse().unwrap();
    hop.arp = Some(Arp { op, sender_mac: mac, target_mac: mac });
    hop
}

fn at(netns: &str, hop: Hop) -> Hop {
    hop.on(netns, "eth0", Some("veth")).paired().for_whom(PktType::Broadcast)
}

/// Sent by the asker at `ms`, and taken by each of these hosts, which have no use for it.
fn asked(ms: u64, packet: u64, src: &str, takers: &[&str]) -> Vec<Hop> {
    let show = |hop| arp(hop, packet, ArpOp::Request, src, OWNER);
    let mut hops = vec![show(at("asker", hop(TcEgress, ms, packet * 100)))];
    for (taker, life) in takers.iter().zip(packet * 100 + 1..) {
        hops.push(show(at(taker, hop(TcIngress, ms + 1, life))));
        hops.push(show(at(taker, hop(Consume, ms + 2, life).taken_by("arp_process"))));
    }
    hops
}

fn answered(ms: u64, packet: u64) -> Vec<Hop> {
    let show = |hop| arp(hop, packet, ArpOp::Reply, OWNER, ASKER);
    vec![
        show(at("owner", hop(TcEgress, ms, packet * 100))),
        show(at("asker", hop(TcIngress, ms + 1, packet * 100))),
        show(at("asker", hop(Consume, ms + 2, packet * 100).taken_by("arp_process"))),
    ]
}

/// The one verdict, and the journeys' outcomes by packet, of a trace that ends at `end` ms.
fn told(hops: Vec<Hop>, end: u64, one_way: bool) -> (Verdict, Vec<(u64, Outcome)>) {
    let mut story = Story::new();
    if one_way {
        story.sees_one_way();
    }
    for mut hop in hops {
        story.observe(&mut hop);
    }
    let (ways, mut verdicts) = story.finish(end * 1_000_000);
    let mut ways: Vec<_> = ways.iter().map(|way| (way.packet, way.outcome)).collect();
    ways.sort_by_key(|(packet, _)| *packet);
    (verdicts.remove(0), ways)
}

#[test]
fn a_bystander_is_not_whom_a_broadcast_was_for() {
    let hops = [asked(1, 1, ASKER, &["one"]), asked(1001, 2, ASKER, &["one", "two"])].concat();
    let (verdict, ways) = told(hops, 3000, false);
    assert_eq!((verdict.outcome, verdict.delivered), (Outcome::Vanished, 0));
    // Each is told once, as it ended: with a bystander.
    assert_eq!(ways, [(1, Outcome::Delivered), (2, Outcome::Delivered)]);
    assert!(verdict.text.contains("were never answered"), "{}", verdict.text);
}

#[test]
fn what_a_filter_refused_beats_the_bystanders() {
    let mut hops = asked(1, 1, ASKER, &["one", "two"]);
    let refused = hop(Drop, 5, 110).because(Some("NETFILTER_DROP"), "nft_do_chain");
    hops.push(arp(at("owner", refused), 1, ArpOp::Request, ASKER, OWNER));
    let (verdict, _) = told(hops.clone(), 3000, false);
    assert_eq!(verdict.outcome, Outcome::Dropped);
    assert_eq!(verdict.reason.as_deref(), Some("NETFILTER_DROP"));
    assert_eq!(verdict.r#where.unwrap().netns.as_deref(), Some("owner"));
    // Where it is answered all the same, it was a bystander who refused it.
    hops.extend(answered(10, 2));
    assert_eq!(told(hops, 3000, false).0.outcome, Outcome::Delivered);
}

#[test]
fn what_is_answered_or_wants_no_answer_is_well() {
    let is_well =
        |hops: Vec<Hop>, end, one_way| told(hops, end, one_way).0.outcome == Outcome::Delivered;
    let silent = || asked(1, 1, ASKER, &["owner"]);
    assert!(is_well([silent(), answered(5, 2)].concat(), 3000, false));
    // Not yet; not seen; not wanted: an announcement, and a probe for a duplicate (RFC 5227).
    assert!(is_well(silent(), 500, false));
    assert!(is_well(silent(), 3000, true));
    assert!(is_well(asked(1, 1, OWNER, &["one"]), 3000, false));
    assert!(is_well(asked(1, 1, "0.0.0.0", &["one"]), 3000, false));
    // An answer to the first is none to the second.
    let again = [silent(), answered(5, 2), asked(6000, 3, ASKER, &["owner"])].concat();
    assert!(!is_well(again, 9000, false));
    // Asked elsewhere: the answer goes another way than by here.
    let mut heard = silent();
    heard.remove(0);
    assert!(is_well(heard, 3000, false));
}

#[test]
fn an_advertisement_answers_who_asked_the_group() {
    let show = |hop: Hop, packet: u64, r#type: u8, src: &str, dst: &str| {
        let mut hop = hop.print(&packet.to_string());
        hop.packet = packet;
        hop.tuple = Some(Tuple {
            proto: Proto::Icmp6,
            src: src.parse().unwrap(),
            sport: None,
            dst: dst.parse().unwrap(),
            dport: None,
        });
        hop.icmp = Some(Icmp {
            r#type,
            code: 0,
            id: None,
            seq: None,
            mtu: None,
            about: None,
            about_id: None,
        });
        hop
    };
    let question = |hop| show(hop, 1, 135, "fd05::1", "ff02::1:ff02:399");
    let asked = vec![
        question(at("asker", hop(TcEgress, 1, 1))),
        question(at("owner", hop(TcIngress, 2, 1))),
        question(at("owner", hop(Consume, 3, 1).taken_by("icmpv6_rcv"))),
    ];
    assert_eq!(told(asked.clone(), 3000, false).0.outcome, Outcome::Vanished);
    // A host that takes it and does not answer may free it as a drop: that refuses nothing.
    let mut unusable = asked.clone();
    unusable[2] =
        question(at("owner", hop(Drop, 3, 1))).because(Some("NOT_SPECIFIED"), "icmpv6_rcv");
    let (verdict, _) = told(unusable, 3000, false);
    assert_eq!((verdict.outcome, verdict.reason), (Outcome::Vanished, None));
    assert!(verdict.text.contains("was never answered"), "{}", verdict.text);
    assert!(verdict.text.contains("an address that ends in 02:0399"), "{}", verdict.text);
    let answer = |from| {
        let answer = |hop| show(hop, 2, 136, from, "fd05::1");
        let arrives = hop(Consume, 5, 2).taken_by("icmpv6_rcv");
        vec![answer(at("owner", hop(TcEgress, 4, 2))), answer(at("asker", arrives))]
    };
    let told_by = |from| told([asked.clone(), answer(from)].concat(), 3000, false).0.outcome;
    assert_eq!(told_by("fd05::aa02:399"), Outcome::Delivered);
    assert_eq!(told_by("fd05::aa02:398"), Outcome::Vanished);
}

/// A SYN that the listener's socket took at `ms`.
fn knocks(ms: u64, packet: u64) -> Vec<Hop> {
    let show = |hop: Hop| {
        let mut hop = at("server", hop).for_whom(PktType::Host).tcp("S").print(&packet.to_string());
        hop.packet = packet;
        hop
    };
    vec![show(hop(TcIngress, ms, packet)), show(hop(Deliver, ms + 1, packet))]
}

fn opened(ms: u64, packet: u64) -> Vec<Hop> {
    let mut hop = at("server", hop(TcEgress, ms, packet)).tcp("SA").print(&packet.to_string());
    hop.tuple = hop.tuple.map(Tuple::reversed);
    hop.packet = packet;
    vec![hop]
}

#[test]
fn a_listener_that_does_not_answer_has_a_full_queue_or_no_way_back() {
    let (verdict, ways) = told([knocks(1, 1), knocks(1001, 2)].concat(), 3000, false);
    assert_eq!((verdict.outcome, verdict.delivered), (Outcome::Dropped, 0));
    assert_eq!(ways, [(1, Outcome::Delivered), (2, Outcome::Delivered)]);
    assert!(verdict.text.contains("accept queue"), "{}", verdict.text);
    assert_eq!(verdict.next[0], "ip netns exec server ss -ltn 'sport = :53'");
    assert!(
        verdict.next.iter().any(|n| n == "ip -n server route get 10.0.0.1"),
        "{:?}",
        verdict.next
    );
}

#[test]
fn a_listener_that_answers_or_may_have_done_so_is_well() {
    let outcome = |hops: Vec<Vec<Hop>>, one_way| told(hops.concat(), 3000, one_way).0.outcome;
    // The answer to the second is the answer: the first was lost, or late.
    let second = vec![knocks(1, 1), knocks(1001, 2), opened(1002, 3), knocks(1500, 4)];
    assert_ne!(outcome(second, false), Outcome::Dropped);
    assert_eq!(outcome(vec![knocks(1, 1)], false), Outcome::Delivered);
    assert_eq!(outcome(vec![knocks(1, 1), knocks(1001, 2)], true), Outcome::Delivered);
}
