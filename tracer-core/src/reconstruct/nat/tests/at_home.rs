//! Hosts that translate what they send themselves, hosts that were not traced, and what conntrack
//! knows nothing of.

use super::*;
use crate::reconstruct::asked::Answer;
use crate::record::{Conntrack, CtEntry};

/// A packet that the client itself translates, in its `OUTPUT` hook: no device sees it before.
fn forth_translated_at_home(ms: u64, life: u64, flags: &str, now: &Tuple) -> Vec<Hop> {
    let mut egress = at(TcEgress, ms, life, "client", "eth0", now, flags);
    egress.ct = Some(entry(&out(), &back(now)));
    vec![
        egress,
        at(TcIngress, ms + 1, life, "router", "eth-c", now, flags),
        at(TcEgress, ms + 2, life, "router", "eth-s", now, flags),
        at(TcIngress, ms + 3, life, "server", "eth0", now, flags),
    ]
}

/// Its answer, as far as the client's device.
fn reply_to_home(ms: u64, life: u64, now: &Tuple) -> Vec<Hop> {
    let answer = back(now);
    vec![
        at(TcEgress, ms, life, "server", "eth0", &answer, "SA"),
        at(TcIngress, ms + 1, life, "router", "eth-s", &answer, "SA"),
        at(TcEgress, ms + 2, life, "router", "eth-c", &answer, "SA"),
        at(TcIngress, ms + 3, life, "client", "eth0", &answer, "SA"),
    ]
}

#[test]
fn what_is_translated_before_the_first_device_goes_by_the_address_that_was_asked() {
    let masqueraded = tuple("tcp", "192.0.2.1", 5000, "10.96.0.1", 443);
    for now in [translated(), masqueraded] {
        let mut hops = forth_translated_at_home(0, 1, "S", &now);
        hops.push(at(Deliver, 4, 1, "server", "eth0", &now, "S"));
        hops.extend(reply_to_home(10, 2, &now));
        hops.push(at(Deliver, 14, 2, "client", "eth0", &back(&out()), "SA"));
        hops.extend(forth_translated_at_home(20, 3, "A", &now));
        hops.push(at(Deliver, 24, 3, "server", "eth0", &now, "A"));
        let all = verdicts(hops);
        let [verdict] = &all[..] else { panic!("{all:#?}") };
        assert_eq!(verdict.outcome, Outcome::Delivered, "{}", verdict.text);
        assert_eq!((verdict.forward, verdict.translated), (Some(out()), Some(now)));
        assert_eq!(verdict.packets, 3);
        assert!(verdict.text.contains("the answer") || verdict.text.contains("1 answer"));
    }
}

#[test]
fn a_trace_that_begins_with_a_reply_is_the_right_way_round() {
    let mut reply = at(Deliver, 0, 2, "client", "eth0", &back(&out()), "A");
    let mut ct = (*entry(&out(), &back(&translated()))).clone();
    ct.state = Some("reply".to_owned());
    reply.ct = Some(Arc::new(ct));
    let mut hops = vec![reply];
    hops.extend(forth_translated_at_home(10, 3, "A", &translated()));
    hops.push(at(Deliver, 14, 3, "server", "eth0", &translated(), "A"));
    let all = verdicts(hops);
    let [verdict] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((verdict.forward, verdict.translated), (Some(out()), Some(translated())));
    assert!(verdict.text.contains("; 1 answer"), "{}", verdict.text);
}

#[test]
fn a_packet_that_dies_behind_its_own_hosts_translation_is_told_by_the_address_that_was_asked() {
    let mut hops = forth_translated_at_home(0, 1, "S", &translated());
    hops.truncate(2);
    hops.push(
        at(Drop, 2, 1, "router", "eth-c", &translated(), "S")
            .because(Some("IP_INNOROUTES"), "ip_error"),
    );
    let verdict = verdicts(hops).remove(0);
    assert_eq!((verdict.outcome, verdict.forward), (Outcome::Dropped, Some(out())));
    for words in
        ["10.0.0.1:4000 -> 10.96.0.1:443", "by then translated to 10.0.0.1:4000 -> 10.0.2.2"]
    {
        assert!(verdict.text.contains(words), "{words}: {}", verdict.text);
    }
}

#[test]
fn a_reply_that_its_own_host_does_not_translate_back_is_lost_there() {
    let rewritten = tuple("tcp", "10.0.2.9", 8443, "10.0.0.1", 4000);
    for end in [back(&translated()), rewritten] {
        let mut hops = forth_translated_at_home(0, 1, "S", &translated());
        hops.push(at(Deliver, 4, 1, "server", "eth0", &translated(), "S"));
        hops.extend(reply_to_home(10, 2, &translated()));
        let last = hops.last_mut().unwrap();
        last.tuple = Some(end);
        let mut refused = refused(14, 2, &end, "SA");
        refused.stack = Some(Arc::from(["ip_protocol_deliver_rcu+0x1".to_owned()]));
        hops.push(refused);
        let verdict = verdicts(hops).remove(0);
        assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated, "{}", verdict.text);
        assert_eq!(verdict.forward, Some(out()));
        let due = verdict.due.as_ref().unwrap();
        assert_eq!(due.netns.as_deref(), Some("client"), "{}", verdict.text);
        assert!(verdict.text.contains("10.96.0.1:443"), "{}", verdict.text);
    }
}

#[test]
fn a_flow_through_two_translations_is_not_mistaken_for_a_rewritten_reply() {
    let middle = tuple("tcp", "10.0.0.1", 4000, "10.97.0.1", 80);
    let udp = |t: &Tuple| Tuple { proto: crate::record::Proto::Udp, ..*t };
    let (out, middle, translated) = (udp(&out()), udp(&middle), udp(&translated()));
    let at = |hook, ms, life, netns: &str, dev: &str, t: &Tuple| {
        let hop = hop(hook, ms, life).on(netns, dev, Some("veth")).paired().tuple(*t);
        hop.print(&format!("{life}"))
    };
    let hops = vec![
        at(TcEgress, 0, 1, "client", "eth0", &out),
        at(TcIngress, 1, 1, "first", "a", &out),
        at(TcEgress, 2, 1, "first", "b", &middle),
        at(TcIngress, 3, 1, "second", "a", &middle),
        at(TcEgress, 4, 1, "second", "b", &translated),
        at(Deliver, 5, 1, "server", "eth0", &translated),
        at(TcEgress, 10, 2, "server", "eth0", &back(&translated)),
        at(TcEgress, 11, 2, "second", "a", &back(&middle)),
        at(TcEgress, 12, 2, "first", "a", &back(&out)),
        at(TcIngress, 13, 2, "client", "eth0", &back(&out)),
        at(Deliver, 14, 2, "client", "eth0", &back(&out)),
    ];
    let all = verdicts(hops);
    assert_eq!(all[0].outcome, Outcome::Delivered, "{}", all[0].text);
}

/// As with `--netns router`: only there are devices seen; what sockets do is seen everywhere.
fn only_in(netns: &str, hops: Vec<Hop>) -> Vec<Hop> {
    let seen = |hop: &Hop| {
        !matches!(hop.hook, TcEgress | TcIngress)
            || hop.netns.as_ref().is_some_and(|n| n.name.as_deref() == Some(netns))
    };
    hops.into_iter().filter(seen).collect()
}

#[test]
fn a_reply_that_leaves_the_only_node_traced_untranslated_is_lost() {
    let all = verdicts(only_in("router", lost()));
    let verdict = &all[0];
    assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated, "{}", verdict.text);
    let due = verdict.due.as_ref().unwrap();
    assert_eq!((due.netns.as_deref(), due.dev.as_deref()), (Some("router"), Some("eth-c")));
    // Translated back, and then refused for another reason: that is a drop.
    let mut hops = forth(0, 1, "S");
    hops.extend(reply(10, 2, "SA", &back(&out())));
    hops.push(refused(14, 2, &back(&out()), "SA"));
    let all = verdicts(only_in("router", hops));
    assert_eq!(all[0].outcome, Outcome::Dropped, "{}", all[0].text);
}

#[test]
fn a_reply_that_passes_by_the_only_node_traced_is_lost_where_no_socket_wants_it() {
    let mut hops = forth(0, 1, "S");
    hops.push(at(TcEgress, 10, 2, "server", "eth1", &back(&translated()), "SA"));
    hops.push(refused(12, 2, &back(&translated()), "SA"));
    let all = verdicts(only_in("router", hops));
    let verdict = &all[0];
    assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated, "{}", verdict.text);
    assert!(verdict.text.contains("never passed netns router"), "{}", verdict.text);
}

#[test]
fn a_translator_that_was_not_traced_is_not_named() {
    let all = verdicts(only_in("client", lost()));
    let verdict = &all[0];
    assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated, "{}", verdict.text);
    assert!(
        verdict
            .text
            .contains("somewhere between netns client leaving by eth0 (veth) and netns server on"),
        "{}",
        verdict.text
    );
    assert!(!verdict.text.contains("never passed"), "{}", verdict.text);
    assert!(verdict.due.is_none());
    assert!(verdict.next[0].contains("--netns all"), "{:?}", verdict.next);
    assert!(verdict.next.iter().all(|c| !c.contains("conntrack")), "{:?}", verdict.next);
}

#[test]
fn a_rewrite_without_conntrack_has_no_entry_to_look_for() {
    let mut hops = lost();
    for hop in &mut hops {
        hop.ct = None;
    }
    let netns = (**hops[1].netns.as_ref().unwrap()).clone();
    let told = |entry: Option<CtEntry>| {
        let answer = Conntrack {
            ts: 1_000_000_000,
            netns: netns.clone(),
            tuple: Some(out()),
            zone: Some(0),
            entry,
            count: Some(0),
            max: Some(1000),
            failed: None,
        };
        let mut story = Story::new();
        for mut hop in hops.clone() {
            story.observe(&mut hop);
        }
        story.answered(Answer::Conntrack(answer));
        story.finish(END).1.remove(0)
    };
    let verdict = told(None);
    assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated, "{}", verdict.text);
    assert!(verdict.text.contains("without conntrack,"), "{}", verdict.text);
    assert!(!verdict.text.contains("entry that"), "{}", verdict.text);
    assert_eq!(verdict.next, ["ip netns exec router nft list ruleset"]);
    // A kernel whose entries cannot be read on the way: the table tells.
    let reply = Some(back(&translated()));
    let verdict = told(Some(CtEntry { orig: Some(out()), reply, ..CtEntry::default() }));
    assert!(verdict.text.contains("was still there"), "{}", verdict.text);
    assert!(verdict.next[0].contains("conntrack -L"), "{:?}", verdict.next);
}

#[test]
fn a_later_fragment_without_ports_is_not_translated() {
    let t = tuple("udp", "10.0.0.1", 4000, "10.0.2.2", 9000);
    let hop = |hook, ms, life, offset, more| {
        let hop = hop(hook, ms, life).on("router", "eth-c", Some("veth")).paired();
        hop.tuple(t).fragment(offset, more)
    };
    let hops = vec![
        hop(TcIngress, 0, 1, 0, true),
        hop(TcIngress, 1, 2, 1480, false),
        hop(Drop, 2, 2, 1480, false).because(Some("NETFILTER_INGRESS"), "nf_hook_slow"),
    ];
    let verdict = verdicts(hops).remove(0);
    assert_eq!(verdict.outcome, Outcome::Dropped, "{}", verdict.text);
    assert!(!verdict.text.contains("translated"), "{}", verdict.text);
}
