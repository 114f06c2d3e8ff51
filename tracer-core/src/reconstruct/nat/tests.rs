//! A client, a router that translates a service address, and a server; what is a lost translation
//! and what is not.

mod at_home;
mod in_a_row;
mod midst;

use crate::record::HookName::{Consume, Deliver, Drop, TcEgress, TcIngress};
use std::sync::Arc;

use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, fingerprint, hop, tuple};
use crate::record::{Ct, HookName, Hop, Outcome, Tuple, Verdict};

const END: u64 = 60_000_000_000;

fn out() -> Tuple {
    tuple("tcp", "10.0.0.1", 4000, "10.96.0.1", 443)
}

fn translated() -> Tuple {
    tuple("tcp", "10.0.0.1", 4000, "10.0.2.2", 8443)
}

fn back(t: &Tuple) -> Tuple {
    Tuple { src: t.dst, sport: t.dport, dst: t.src, dport: t.sport, ..*t }
}

fn at(hook: HookName, ms: u64, life: u64, netns: &str, dev: &str, t: &Tuple, flags: &str) -> Hop {
    hop(hook, ms, life)
        .on(netns, dev, Some("veth"))
        .paired()
        .tuple(*t)
        .tcp(flags)
        .print(&format!("{life}"))
}

/// The entry by which the router translates.
fn entry(orig: &Tuple, reply: &Tuple) -> Arc<Ct> {
    Arc::new(Ct {
        state: Some("new".to_owned()),
        zone: Some(0),
        orig: Some(*orig),
        reply: Some(*reply),
        status: vec!["confirmed".to_owned()],
        entry: Some("0xffff888000000100".to_owned()),
        ..Ct::default()
    })
}

/// A packet from the client to the server.
fn forth(ms: u64, life: u64, flags: &str) -> Vec<Hop> {
    let mut egress = at(TcEgress, ms + 2, life, "router", "eth-s", &translated(), flags);
    egress.ct = Some(entry(&out(), &back(&translated())));
    vec![
        at(TcEgress, ms, life, "client", "eth0", &out(), flags),
        at(TcIngress, ms + 1, life, "router", "eth-c", &out(), flags),
        egress,
        at(TcIngress, ms + 3, life, "server", "eth0", &translated(), flags),
        at(Deliver, ms + 4, life, "server", "eth0", &translated(), flags),
    ]
}

/// A reply as far as the router; then, as `t`, to the client.
fn reply(ms: u64, life: u64, flags: &str, t: &Tuple) -> Vec<Hop> {
    let before = back(&translated());
    vec![
        at(TcEgress, ms, life, "server", "eth0", &before, flags),
        at(TcIngress, ms + 1, life, "router", "eth-s", &before, flags),
        at(TcEgress, ms + 2, life, "router", "eth-c", t, flags),
        at(TcIngress, ms + 3, life, "client", "eth0", t, flags),
    ]
}

fn refused(ms: u64, life: u64, t: &Tuple, flags: &str) -> Hop {
    at(Drop, ms, life, "client", "eth0", t, flags).because(Some("NO_SOCKET"), "tcp_v4_rcv")
}

fn verdicts(hops: Vec<Hop>) -> Vec<Verdict> {
    let mut story = Story::new();
    for mut hop in hops {
        story.observe(&mut hop);
    }
    story.finish(END).1
}

fn lost() -> Vec<Hop> {
    let mut hops = forth(0, 1, "S");
    hops.extend(reply(10, 2, "SA", &back(&translated())));
    hops.push(refused(14, 2, &back(&translated()), "SA"));
    hops
}

#[test]
fn a_reply_that_reaches_the_client_as_it_left_the_server_is_lost() {
    let mut hops = lost();
    hops.push(at(TcEgress, 15, 3, "client", "eth0", &translated(), "R"));
    hops.push(at(Deliver, 16, 3, "server", "eth0", &translated(), "R"));
    let all = verdicts(hops);
    let [verdict] = &all[..] else { panic!("{all:#?}") };
    assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated);
    assert_eq!(verdict.r#where.as_ref().unwrap().netns.as_deref(), Some("client"));
    let due = verdict.due.as_ref().unwrap();
    assert_eq!((due.netns.as_deref(), due.dev.as_deref()), (Some("router"), Some("eth-c")));
    assert_eq!(verdict.evidence, [2, 3]);
    for word in ["without a conntrack entry", "RST (packet 3)", "zone 0", "10.96.0.1:443"] {
        assert!(verdict.text.contains(word), "{word}: {}", verdict.text);
    }
}

#[test]
fn a_reply_that_takes_another_way_is_lost_where_it_arrives() {
    let mut hops = forth(0, 1, "S");
    let before = back(&translated());
    hops.push(at(TcEgress, 10, 2, "server", "eth1", &before, "SA"));
    hops.push(at(TcIngress, 11, 2, "client", "eth1", &before, "SA"));
    hops.push(refused(12, 2, &before, "SA"));
    let all = verdicts(hops);
    assert_eq!(all[0].outcome, Outcome::ReplyNotTranslated, "{}", all[0].text);
    assert_eq!(all[0].r#where.as_ref().unwrap().netns.as_deref(), Some("client"));
    assert!(all[0].text.contains("never passed netns router"), "{}", all[0].text);
}

#[test]
fn a_reply_that_is_translated_back_is_none_of_it() {
    let mut hops = forth(0, 1, "S");
    hops.extend(reply(10, 2, "SA", &back(&out())));
    hops.push(at(Deliver, 14, 2, "client", "eth0", &back(&out()), "SA"));
    assert_eq!(verdicts(hops)[0].outcome, Outcome::Delivered);
}

#[test]
fn a_reply_seen_at_the_servers_side_alone_is_none_of_it() {
    let mut hops = forth(0, 1, "S");
    let before = back(&translated());
    hops.push(at(TcEgress, 10, 2, "server", "eth0", &before, "SA"));
    hops.push(at(TcIngress, 11, 2, "router", "eth-s", &before, "SA"));
    hops.push(at(Consume, 12, 2, "router", "eth-s", &before, "SA").taken_by("skb_unshare"));
    assert_ne!(verdicts(hops)[0].outcome, Outcome::ReplyNotTranslated);
}

#[test]
fn a_copy_flooded_to_the_clients_bridge_port_is_none_of_it() {
    let mut hops = forth(0, 1, "S");
    hops.extend(reply(10, 2, "SA", &back(&out())));
    hops.push(at(Deliver, 14, 2, "client", "eth0", &back(&out()), "SA"));
    let mut copy = at(Drop, 13, 9, "client", "eth0", &back(&translated()), "SA")
        .because(Some("OTHERHOST"), "ip_rcv_core");
    copy.fingerprint = Some(fingerprint("2"));
    hops.push(copy);
    assert_eq!(verdicts(hops)[0].outcome, Outcome::Delivered);
}

#[test]
fn what_comes_after_the_end_of_a_connection_is_none_of_it() {
    let mut hops = forth(0, 1, "S");
    hops.extend(reply(10, 2, "SA", &back(&out())));
    hops.push(at(Deliver, 14, 2, "client", "eth0", &back(&out()), "SA"));
    hops.extend(forth(20, 3, "R"));
    hops.extend(reply(30, 4, "A", &back(&translated())));
    hops.push(refused(34, 4, &back(&translated()), "A"));
    assert_ne!(verdicts(hops)[0].outcome, Outcome::ReplyNotTranslated);
}

#[test]
fn the_refusal_of_an_untranslated_reply_ends_no_connection() {
    let mut hops = lost();
    hops.push(at(TcEgress, 15, 3, "client", "eth0", &translated(), "R"));
    hops.push(at(Deliver, 16, 3, "server", "eth0", &translated(), "R"));
    // The answer to a SYN that was sent again before it was refused.
    hops.extend(reply(20, 4, "SA", &back(&translated())));
    hops.push(refused(24, 4, &back(&translated()), "SA"));
    let all = verdicts(hops);
    assert_eq!((all.len(), all[0].outcome), (1, Outcome::ReplyNotTranslated));
    assert_eq!((&all[0].evidence[..], &all[0].also[..]), (&[2, 4, 3][..], &[][..]));
}

#[test]
fn a_conversation_with_the_server_itself_from_the_same_port_is_none_of_it() {
    let mut hops = forth(0, 1, "S");
    hops.push(at(TcEgress, 10, 5, "client", "eth1", &translated(), "S"));
    hops.push(at(Deliver, 11, 5, "server", "eth1", &translated(), "S"));
    let answer = back(&translated());
    hops.push(at(TcEgress, 12, 6, "server", "eth1", &answer, "SA"));
    hops.push(at(TcIngress, 13, 6, "client", "eth1", &answer, "SA"));
    hops.push(at(Deliver, 14, 6, "client", "eth1", &answer, "SA"));
    let all = verdicts(hops);
    let [service, direct] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((service.outcome, service.packets), (Outcome::Delivered, 1));
    assert_eq!((direct.outcome, direct.packets), (Outcome::Delivered, 2), "{}", direct.text);
    assert_eq!(direct.forward, Some(translated()));
}

#[test]
fn a_reply_to_a_translated_source_is_lost_in_the_router_beyond_its_first_hooks() {
    let inside = tuple("tcp", "10.0.0.1", 4000, "10.0.2.2", 8443);
    let outside = tuple("tcp", "10.0.2.254", 5000, "10.0.2.2", 8443);
    let story = |symbol: &str, stack: &[&str]| {
        let answer = back(&outside);
        let mut end = at(Drop, 12, 2, "router", "eth-s", &answer, "SA");
        end = end.because(Some("NO_SOCKET"), symbol);
        end.stack = Some(stack.iter().map(|s| format!("{s}+0x1")).collect());
        let hops = vec![
            at(TcEgress, 0, 1, "client", "eth0", &inside, "S"),
            at(TcIngress, 1, 1, "router", "eth-c", &inside, "S"),
            at(TcEgress, 2, 1, "router", "eth-s", &outside, "S"),
            at(Deliver, 3, 1, "server", "eth0", &outside, "S"),
            at(TcEgress, 10, 2, "server", "eth0", &answer, "SA"),
            at(TcIngress, 11, 2, "router", "eth-s", &answer, "SA"),
            end,
        ];
        verdicts(hops).remove(0)
    };
    let lost = story("tcp_v4_rcv", &["ip_protocol_deliver_rcu", "ip_local_deliver_finish"]);
    assert_eq!(lost.outcome, Outcome::ReplyNotTranslated, "{}", lost.text);
    assert!(lost.text.contains("source was translated"), "{}", lost.text);
    // Dropped before conntrack saw it, that is a drop.
    let dropped = story("nf_hook_slow", &["ip_rcv", "__netif_receive_skb_one_core"]);
    assert_eq!(dropped.outcome, Outcome::Dropped, "{}", dropped.text);
}

#[test]
fn a_client_beyond_this_node_gets_it_by_the_device_that_its_packets_came_in_by() {
    let uplink = |hook, ms, life, t: &Tuple, flags: &str| {
        let mut hop = at(hook, ms, life, "router", "eth-c", t, flags);
        Arc::make_mut(hop.dev.as_mut().unwrap()).peer = None;
        Arc::make_mut(hop.dev.as_mut().unwrap()).kind = None;
        hop
    };
    let with_reply_as = |t: &Tuple| {
        let mut egress = at(TcEgress, 1, 1, "router", "eth-s", &translated(), "S");
        egress.ct = Some(entry(&out(), &back(&translated())));
        let hops = vec![
            uplink(TcIngress, 0, 1, &out(), "S"),
            egress,
            at(Deliver, 2, 1, "server", "eth0", &translated(), "S"),
            at(TcEgress, 10, 2, "server", "eth0", &back(&translated()), "SA"),
            at(TcIngress, 11, 2, "router", "eth-s", &back(&translated()), "SA"),
            uplink(TcEgress, 12, 2, t, "SA"),
        ];
        verdicts(hops).remove(0).outcome
    };
    assert_eq!(with_reply_as(&back(&translated())), Outcome::ReplyNotTranslated);
    assert_eq!(with_reply_as(&back(&out())), Outcome::Forwarded);
}
