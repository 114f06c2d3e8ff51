//! What is told of a packet that Open vSwitch refused, or sent to one who refuses it.

use super::{all, at, consumed, enters, packet, runs, verdict};
use crate::reconstruct::Story;
use crate::reconstruct::asked::Answer;
use crate::reconstruct::testing::{HopExt, OWN_MAC, hop, tuple};
use crate::record::HookName::{Deliver, Drop, OvsOutput, TcEgress, TcIngress};
use crate::record::{Eth, Hop, Outcome, OvsTrace, PktType, TraceKind, Verdict, Vlan};

/// The verdict on one flow, of whose first packet Open vSwitch answers this.
fn answered(hops: Vec<Hop>, answer: OvsTrace) -> Verdict {
    let mut story = Story::new();
    for mut h in hops {
        story.observe(&mut h);
    }
    story.answered(Answer::OpenVswitch(Box::new(OvsTrace { packet: 1, ..answer })));
    let mut verdicts = story.finish(60_000_000_000).1;
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    verdicts.remove(0)
}

fn rule(kind: TraceKind, actions: &str) -> OvsTrace {
    OvsTrace {
        kind,
        bridge: Some("br0".to_owned()),
        table: Some(0),
        priority: Some(100),
        r#match: Some("in_port=1".to_owned()),
        cookie: Some("0x14".to_owned()),
        rule_actions: Some(actions.to_owned()),
        ..OvsTrace::default()
    }
}

/// A frame for `was` that leaves for `now`, and who gets it is another.
fn strays(was: &str, now: &str, actions: &str) -> Vec<Hop> {
    let eth = |dst: &str| {
        Some(Eth { src: "02:00:00:00:00:07".parse().unwrap(), dst: dst.parse().unwrap() })
    };
    let arrives = hop(TcIngress, 3, 1).on("b", "eth0", Some("veth")).paired();
    let refused = hop(Drop, 4, 1).on("b", "eth0", Some("veth")).paired();
    let mut before = enters(1, 1);
    before.push(runs(2, 1, actions));
    let after = vec![
        at(hop(OvsOutput, 2, 1), "vb").in_ovs(|o| o.port = Some("vb".to_owned())),
        at(hop(TcEgress, 2, 1), "vb"),
        arrives.for_whom(PktType::OtherHost),
        refused.because(Some("OTHERHOST"), "ip_rcv_core"),
    ];
    for h in &mut before {
        h.eth = eth(was);
    }
    let after = after.into_iter().map(|mut h| {
        h.eth = eth(now);
        h
    });
    before.into_iter().chain(after).collect()
}

const ONE: &str = "02:00:00:00:00:08";
const OTHER: &str = "02:00:00:00:00:09";

#[test]
fn a_mac_that_a_rule_gave_is_not_the_senders() {
    let list = format!("set(eth(dst={OTHER})),3");
    let v = answered(strays(ONE, OTHER, &list), rule(TraceKind::Passes, "output:3"));
    assert_eq!(v.outcome, Outcome::Misaddressed);
    assert!(
        v.text.contains(&format!("It came to Open vSwitch for {ONE}: a rule there")),
        "{}",
        v.text
    );
    assert!(!v.text.contains("neighbour entry"), "{}", v.text);
    assert!(
        v.text.contains("`priority=100,in_port=1 actions=output:3`, cookie 0x14"),
        "{}",
        v.text
    );
    assert_eq!(v.rule.unwrap().kind, TraceKind::Passes);
}

#[test]
fn a_frame_that_open_vswitch_sends_to_another_may_be_its_own_mistake() {
    let v = answered(strays(ONE, ONE, "3"), rule(TraceKind::Passes, "output:3"));
    assert!(v.text.contains("Open vSwitch took the wrong port for it"), "{}", v.text);
    let words = Some("forwarding to learned port".to_owned());
    let v =
        answered(strays(ONE, ONE, "3"), OvsTrace { words, ..rule(TraceKind::Passes, "NORMAL") });
    assert!(v.text.contains("The bridge's MAC table has that MAC at this port"), "{}", v.text);
    assert!(!v.text.contains("neighbour entry"), "{}", v.text);
    let v = answered(strays(ONE, ONE, "3"), rule(TraceKind::Mirrored, "drop"));
    assert!(!v.text.contains("neighbour entry"), "{}", v.text);
    assert!(v.text.contains("actions=drop`, cookie 0x14 in table 0 ends it"), "{}", v.text);
    assert!(v.text.contains("a copy that a mirror makes"), "{}", v.text);
    // Tables that would drop it now are no reason to say that they did.
    let v = answered(strays(ONE, ONE, "3"), rule(TraceKind::Rule, "drop"));
    assert_eq!(v.outcome, Outcome::Misaddressed);
}

/// Dies in the datapath's `ct` action.
fn refused(actions: &str) -> Vec<Hop> {
    let end = at(hop(Drop, 2, 1), "va").because(Some("OVS_DROP_CONNTRACK"), "do_execute_actions");
    all(vec![enters(1, 1), vec![runs(2, 1, actions), end]])
}

#[test]
fn a_connection_that_conntrack_has_no_room_for_shows_where_to_look() {
    let v = answered(refused("ct(commit,zone=9),3"), rule(TraceKind::Passes, "output:3"));
    assert!(v.text.contains("in `ct(commit,zone=9),3`"), "{}", v.text);
    assert!(v.text.contains("or zone 9 at its limit"), "{}", v.text);
    assert!(v.text.contains("cookie 0x14 on bridge br0, table 0, sends it on"), "{}", v.text);
    let limits = "ovs-appctl dpctl/ct-get-limits zone=9".to_owned();
    assert!(v.next.contains(&limits), "{:?}", v.next);
    let v = answered(refused("ct(commit),3"), OvsTrace::default());
    assert!(v.text.contains("or zone 0 at its limit"), "{}", v.text);
}

fn dropped(actions: &str) -> Vec<Hop> {
    all(vec![enters(1, 1), vec![runs(2, 1, actions), consumed(2, 1)]])
}

#[test]
fn a_tunnels_packet_without_a_port_came_to_no_table() {
    let lacks = Some("no OpenFlow port for datapath port 5".to_owned());
    let v = answered(dropped("drop"), OvsTrace { lacks, ..OvsTrace::default() });
    assert_eq!(v.outcome, Outcome::DroppedByOvs);
    assert!(v.text.contains("no bridge has a port for it"), "{}", v.text);
    assert!(!v.text.contains("OpenFlow tables") && !v.text.contains("Not found out"), "{}", v.text);
}

#[test]
fn a_drop_of_what_is_too_long_for_the_tables_says_so() {
    let v = answered(dropped("check_pkt_len(size=1000,gt(drop),le(1))"), OvsTrace::default());
    assert!(v.text.contains("drop what is longer than the size named there"), "{}", v.text);
}

#[test]
fn a_frame_that_no_port_takes_shows_the_state_of_the_ports() {
    let words = Some("no learned MAC for destination, flooding".to_owned());
    let v = answered(dropped("drop"), OvsTrace { words, ..rule(TraceKind::Rule, "NORMAL") });
    assert!(v.text.contains("flooding), but no port takes it"), "{}", v.text);
    for command in ["ovs-ofctl show br0", "ovs-appctl bond/show"] {
        assert!(v.next.contains(&command.to_owned()), "{:?}", v.next);
    }
    let words = Some("the port that it came in by takes nothing".to_owned());
    let v = answered(dropped("drop"), OvsTrace { words, ..rule(TraceKind::Refused, "") });
    assert!(v.text.contains("table 0, the port that it came in by takes nothing"), "{}", v.text);
    assert!(!v.text.contains("rule"), "{}", v.text);
}

#[test]
fn what_a_rule_translates_conntrack_does_not_translate_back() {
    let service = tuple("tcp", "10.0.0.1", 1000, "10.0.0.100", 443);
    let backend = tuple("tcp", "10.0.0.1", 1000, "10.0.0.2", 9443);
    let back = tuple("tcp", "10.0.0.2", 9443, "10.0.0.1", 1000);
    let side = |hops: Vec<Hop>, at, flags: &str| -> Vec<Hop> {
        hops.into_iter().map(|h| h.tuple(at).tcp(flags)).collect()
    };
    let leaves = |ms, life, dev: &str| {
        let port = at(hop(OvsOutput, ms, life), dev).in_ovs(|o| o.port = Some(dev.to_owned()));
        vec![port, at(hop(TcEgress, ms, life), dev)]
    };
    let told = |rewrite: &str| {
        let mut out = enters(1, 1);
        out.insert(0, hop(TcEgress, 1, 1).on("a", "eth0", Some("veth")).paired());
        out.push(runs(2, 1, rewrite));
        let mut home = vec![
            hop(TcEgress, 5, 2).on("b", "eth0", Some("veth")).paired(),
            at(hop(TcIngress, 5, 2), "vb").enslaved(),
            runs(6, 2, "2"),
        ];
        home.extend(leaves(6, 2, "va"));
        let client = |h: Hop| h.on("a", "eth0", Some("veth")).paired();
        home.push(client(hop(TcIngress, 7, 2)).for_whom(PktType::Host));
        home.push(client(hop(Drop, 8, 2)).because(Some("NO_SOCKET"), "tcp_v4_rcv"));
        let server = |h: Hop| h.on("b", "eth0", Some("veth")).paired();
        let mut arrives = leaves(2, 1, "vb");
        arrives.push(server(hop(TcIngress, 3, 1)).for_whom(PktType::Host));
        arrives.push(server(hop(Deliver, 4, 1)));
        let hops = [
            packet(1, vec![side(out, service, "S"), side(arrives, backend, "S")]),
            packet(2, vec![side(home, back, "SA")]),
        ];
        verdict(hops.concat())
    };
    let v = told("set(ipv4(dst=10.0.0.2)),set(tcp(dst=9443)),3");
    assert_eq!(v.outcome, Outcome::ReplyNotTranslated);
    assert!(v.text.contains("An OpenFlow rule set its addresses without conntrack"), "{}", v.text);
    assert!(!v.next.iter().any(|c| c.contains("conntrack")), "{:?}", v.next);
    let v = told("ct(commit,zone=5,nat(dst=10.0.0.2:9443)),3");
    assert!(v.text.contains("without a conntrack entry"), "{}", v.text);
    assert!(v.next.iter().any(|c| c.contains("dump-conntrack")), "{:?}", v.next);
}

#[test]
fn a_tag_that_nobody_takes_is_not_a_wrong_mac() {
    let mut hops = strays(OWN_MAC, OWN_MAC, "push_vlan(vid=10,pcp=0),3");
    for h in hops.iter_mut().skip(3) {
        h.vlan = vec![Vlan { id: 10, tpid: 0x8100, pcp: 0 }];
    }
    let v = answered(hops, OvsTrace::default());
    assert!(v.text.contains("is this device's MAC, but it is tagged for VLAN 10"), "{}", v.text);
    assert!(!v.text.contains("neighbour entry"), "{}", v.text);
}
