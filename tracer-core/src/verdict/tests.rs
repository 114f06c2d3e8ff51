use crate::record::HookName::{Consume, Deliver, Drop, TcEgress, TcIngress};
use std::sync::Arc;

use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::{HookName, Hop, Icmp, Lost, Outcome, PktType, Proto, Tuple, Verdict};
use crate::verdict::judge;

mod lossy_ovs;

/// The only verdict of a live trace with these hops, which ends 20 s after its beginning.
fn verdict(hops: Vec<Hop>) -> Verdict {
    let mut verdicts = verdicts(hops);
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    verdicts.remove(0)
}

fn verdicts(hops: Vec<Hop>) -> Vec<Verdict> {
    let mut story = Story::new();
    for mut h in hops {
        story.observe(&mut h);
    }
    story.finish(20_000_000_000).1
}

fn out(ms: u64, life: u64) -> Hop {
    hop(TcEgress, ms, life).on("client", "veth-c", Some("veth")).paired().print(&life.to_string())
}

fn arrive(ms: u64, life: u64) -> Hop {
    let at = hop(TcIngress, ms, life).on("server", "veth-s", Some("veth")).paired();
    at.for_whom(PktType::Host).print(&life.to_string())
}

fn drop(ms: u64, life: u64, reason: Option<&str>, symbol: &str) -> Hop {
    let at = hop(Drop, ms, life).on("server", "veth-s", Some("veth")).paired();
    at.because(reason, symbol).print(&life.to_string())
}

fn taken(ms: u64, life: u64) -> Hop {
    hop(Deliver, ms, life).on("server", "veth-s", Some("veth")).paired().print(&life.to_string())
}

#[test]
fn each_outcome_has_its_rule() {
    let hardware = hop(TcEgress, 1, 1).on("host", "eth0", None);
    let cases = [
        (vec![arrive(1, 1), drop(2, 1, Some("OVS_DROP_METER"), "x")], Outcome::DroppedByOvs),
        (vec![arrive(1, 1), drop(2, 1, Some("XDP"), "do_xdp_generic")], Outcome::Dropped),
        (vec![arrive(1, 1), drop(2, 1, Some("OTHERHOST"), "ip_rcv_core")], Outcome::Misaddressed),
        (vec![out(1, 1)], Outcome::Vanished),
        (vec![out(19_000, 1)], Outcome::InFlight),
        (vec![hardware], Outcome::Forwarded),
        (vec![arrive(1, 1), taken(2, 1)], Outcome::Delivered),
    ];
    for (hops, expected) in cases {
        assert_eq!(verdict(hops).outcome, expected);
    }
}

#[test]
fn the_gravest_of_several_gives_the_verdict() {
    let hops = vec![
        out(1, 1),
        arrive(1, 1),
        taken(2, 1),
        out(3, 2),
        arrive(4, 3),
        drop(5, 3, Some("OTHERHOST"), "ip_rcv_core"),
        arrive(6, 4),
        drop(7, 4, Some("IP_RPFILTER"), "ip_rcv_finish_core"),
    ];
    let v = verdict(hops);
    assert_eq!((v.outcome, v.packets, v.delivered), (Outcome::Dropped, 4, 1));
    assert_eq!(v.reason.as_deref(), Some("IP_RPFILTER"));
    assert_eq!(v.evidence, [4]);
    assert!(v.text.contains("1 other got through"), "{}", v.text);
    assert!(
        v.text.contains("1 of 4 UDP packets 10.0.0.1:1000 -> 10.0.0.2:53 was refused"),
        "{}",
        v.text
    );
    let also: Vec<_> = v.also.iter().map(|a| (a.outcome, a.packets, a.evidence.clone())).collect();
    assert_eq!(also, [(Outcome::Misaddressed, 1, vec![3]), (Outcome::Vanished, 1, vec![2])]);
}

#[test]
fn a_verdict_says_who_where_why_and_what_next() {
    let v = verdict(vec![out(1, 1), arrive(2, 1), drop(3, 1, Some("NO_SOCKET"), "__udp4_lib_rcv")]);
    assert_eq!(
        v.text,
        "The UDP packet 10.0.0.1:1000 -> 10.0.0.2:53 was dropped in netns server on veth-s (veth) \
         by __udp4_lib_rcv+0x10: no socket is open for this address and port, or only one that is connected \
         to another peer or bound to another device [NO_SOCKET]."
    );
    assert_eq!(v.next, ["ip netns exec server ss -aunp 'sport = :53'"]);
    let place = v.r#where.map(|at| (at.netns, at.symbol)).unwrap();
    assert_eq!(place, (Some("server".to_owned()), Some("__udp4_lib_rcv".to_owned())));
}

#[test]
fn three_syns_without_an_answer_are_one_verdict() {
    let syn = |n: u64| {
        let ms = n * 1000;
        vec![
            out(ms, n).tcp("S"),
            arrive(ms + 1, n).tcp("S"),
            drop(ms + 2, n, Some("NETFILTER_DROP"), "nf_hook_slow").tcp("S"),
        ]
    };
    let v = verdict((1..=3).flat_map(syn).collect());
    assert_eq!((v.packets, v.evidence.len()), (3, 3));
    assert!(v.text.starts_with("All 3 TCP SYNs 10.0.0.1:1000 -> 10.0.0.2:53 were dropped"));
    assert!(v.text.ends_with("No answer was seen."), "{}", v.text);
    assert_eq!(v.next[0], "ip netns exec server nft list ruleset");
}

#[test]
fn the_last_packet_of_a_whole_flow_may_be_on_its_way() {
    let v = verdict(vec![out(1, 1), arrive(1, 1), taken(2, 1), out(19_000, 2)]);
    assert_eq!(v.outcome, Outcome::Delivered);
    assert!(v.text.contains("1 more packet was still on the way"), "{}", v.text);
}

#[test]
fn a_translation_is_told() {
    let inside = tuple("udp", "10.0.0.1", 1000, "10.7.7.7", 5353);
    let hops = vec![
        out(1, 1),
        arrive(2, 1).tuple(inside),
        drop(3, 1, Some("NO_SOCKET"), "__udp4_lib_rcv").tuple(inside),
    ];
    let v = verdict(hops);
    assert_eq!(v.translated, Some(inside));
    assert!(v.text.contains("(by then translated to 10.0.0.1:1000 -> 10.7.7.7:5353)"));
    assert_eq!(v.next, ["ip netns exec server ss -aunp 'sport = :5353'"]);
}

#[test]
fn ttl_is_told_by_what_forwards() {
    let expired = |reason, ttl| {
        let mut end = drop(2, 1, reason, "ip_forward");
        end.ip.as_mut().unwrap().ttl = ttl;
        verdict(vec![arrive(1, 1), end]).text
    };
    assert!(expired(Some("IP_INHDR"), 1).contains("TTL (hop limit) ran out"));
    assert!(expired(None, 1).contains("TTL (hop limit) ran out"));
    assert!(!expired(None, 64).contains("TTL"));
    let bad = verdict(vec![arrive(1, 1), drop(2, 1, Some("IP_INHDR"), "ip_rcv_core")]);
    assert!(bad.text.contains("the IP header is malformed"));
}

#[test]
fn without_a_reason_a_well_known_function_tells_and_another_does_not() {
    let text = |reason, symbol| verdict(vec![arrive(1, 1), drop(2, 1, reason, symbol)]).text;
    assert!(text(None, "nf_hook_slow").contains("a netfilter rule"));
    assert!(text(Some("NOT_SPECIFIED"), "br_handle_vlan").contains("VLAN filter"));
    assert!(text(Some("NOT_SPECIFIED"), "br_handle_vlan.isra.0").contains("VLAN filter"));
    let unknown = text(Some("NOT_SPECIFIED"), "some_function");
    assert!(unknown.contains("the kernel gives no reason [NOT_SPECIFIED]"), "{unknown}");
    assert!(text(None, "some_function").contains("this kernel gives no reasons"));
    assert!(
        text(Some("NEW_REASON"), "some_function").ends_with("some_function+0x10 [NEW_REASON].")
    );
}

#[test]
fn a_tap_that_is_not_read_and_an_unknown_end_are_told_apart() {
    let tap = hop(TcEgress, 1, 1).on("host", "tap0", Some("tun"));
    let v = verdict(vec![tap]);
    assert!(v.text.contains("waits in the tap's queue"), "{}", v.text);
    assert!(v.next.iter().any(|c| c.contains("fdinfo")), "{:?}", v.next);
    assert!(verdict(vec![out(1, 1)]).text.contains("nothing on the record freed it"));
    let port = arrive(1, 1).enslaved();
    let gone = hop(Consume, 2, 1).on("server", "veth-s", Some("veth")).taken_by("mystery");
    let v = verdict(vec![port, gone]);
    assert!(v.text.contains("consumed by mystery+0x10 there"), "{}", v.text);
}

#[test]
fn commands_find_their_namespace() {
    let next = |netns: &str, name: Option<&str>| {
        let mut end = drop(2, 1, Some("NETFILTER_DROP"), "nf_hook_slow").on(netns, "e", None);
        Arc::make_mut(end.netns.as_mut().unwrap()).name = name.map(str::to_owned);
        verdict(vec![end]).next.remove(0)
    };
    assert_eq!(next("r", Some("r")), "ip netns exec r nft list ruleset");
    assert_eq!(next("host", Some("host")), "nft list ruleset");
    let mut end = drop(2, 1, Some("NETFILTER_DROP"), "nf_hook_slow").on("host", "e", None);
    Arc::make_mut(end.netns.as_mut().unwrap()).path = Some("/run/netns/host".to_owned());
    let named = verdict(vec![end]).next.remove(0);
    assert_eq!(named, "ip netns exec host nft list ruleset", "it is not that of process 1");
    assert_eq!(next("r", Some("my ns")), "ip netns exec 'my ns' nft list ruleset");
    assert_eq!(next("r", Some("$(reboot)")), "ip netns exec '$(reboot)' nft list ruleset");
    let unnamed = next("r", None);
    assert!(unnamed.starts_with("nsenter -n -t ") && unnamed.ends_with(" nft list ruleset"));
}

#[test]
fn an_incomplete_record_says_so() {
    let mut story = Story::new();
    story.observe(&mut drop(1, 1, Some("XDP"), "do_xdp_generic"));
    story.lost(&Lost { count: 9, ..Lost::at(2_000_000) });
    let v = story.finish(3_000_000).1.remove(0);
    assert!(v.incomplete && v.text.contains("Events were lost"), "{}", v.text);
}

#[test]
fn what_is_not_known_says_what_was_lost_and_what_would_decide() {
    let mut story = Story::new();
    for n in 1..=3 {
        story.observe(&mut out(n, n));
    }
    for mut hop in [arrive(4, 3), taken(4, 3)] {
        story.observe(&mut hop);
    }
    let (since, until) = (Some(1_500_000), Some(4_500_000));
    for (hook, count) in [(TcIngress, 2), (Deliver, 3)] {
        story.lost(&Lost { hook: Some(hook), count, since, until, ..Lost::at(5_000_000) });
    }
    story.has_ring(Some(32 << 20));
    let v = story.finish(90_000_000_000).1.remove(0);
    assert_eq!((v.outcome, v.packets, v.delivered), (Outcome::Unknown, 3, 1));
    assert!(v.incomplete);
    assert_eq!(
        v.text,
        "2 of 3 UDP packets 10.0.0.1:1000 -> 10.0.0.2:53 were not seen to end, the first of them seen last in \
         netns client leaving by veth-c (veth), and what became of them is not known: their ends may be among \
         the 5 events that lasthop itself lost from 0.001500 s to 0.004500 s of the trace (tc-ingress 2, deliver \
         3; the ring buffer was full). 1 other got through."
    );
    assert_eq!(v.next, ["lasthop trace --ring 128M 'udp 10.0.0.1 -> 10.0.0.2:53'"]);
}

#[test]
fn what_no_hook_shows_is_not_called_lost() {
    let ends = |unseen: &[HookName], symbol: &str| {
        let mut story = Story::new();
        story.never_sees(unseen);
        for mut hop in [out(1, 1), arrive(2, 1), drop(3, 1, Some("NO_SOCKET"), symbol)] {
            story.observe(&mut hop);
        }
        story.finish(90_000_000_000).1.remove(0)
    };
    let v = ends(&[Deliver], "ping_rcv");
    assert_eq!(v.outcome, Outcome::Unknown, "{}", v.text);
    assert!(v.text.contains("this kernel took no probe for deliver, which"), "{}", v.text);
    assert_eq!(ends(&[HookName::Clone], "ping_rcv").outcome, Outcome::Dropped);
    // A refusal that a socket cannot have made good is what it is.
    assert_eq!(ends(&[Deliver], "__udp4_lib_rcv").outcome, Outcome::Dropped);
    let mut story = Story::new();
    story.never_sees(&[Deliver]);
    for mut hop in [out(1, 1), arrive(2, 1)] {
        story.observe(&mut hop);
    }
    assert_eq!(story.finish(90_000_000_000).1.remove(0).outcome, Outcome::Unknown);
}

#[test]
fn packets_without_a_flow_are_judged_too() {
    let bare = |ms, life| {
        let mut h = drop(ms, life, Some("UNHANDLED_PROTO"), "__netif_receive_skb_core");
        (h.tuple, h.ip) = (None, None);
        h
    };
    let v = verdict(vec![bare(1, 1), bare(2, 2)]);
    assert_eq!((v.packets, v.forward), (2, None));
    assert!(v.text.starts_with("Both packets were dropped"), "{}", v.text);
}

#[test]
fn a_flow_without_a_settled_packet_has_no_verdict() {
    assert!(verdicts(Vec::new()).is_empty());
    let sight = crate::reconstruct::sight::Catalog::default().sight(&out(1, 1));
    assert!(judge(&crate::reconstruct::flow::Flow::new(1, sight.into())).is_none());
}

#[test]
fn of_losses_that_tie_the_one_of_the_first_packet_is_told() {
    let lost = |ms, life, symbol| vec![arrive(ms, life), drop(ms + 1, life, Some("XDP"), symbol)];
    let hops: Vec<_> = [lost(1, 1, "first"), lost(11, 2, "second")].concat();
    // The first packet is settled last: something more was seen of it.
    let mut story = Story::new();
    for mut h in hops {
        story.observe(&mut h);
    }
    story.observe(&mut arrive(900, 1));
    story.observe(&mut drop(901, 1, Some("XDP"), "first"));
    story.settle(1_100_000_000);
    let v = story.finish(20_000_000_000).1.remove(0);
    assert_eq!((v.r#where.unwrap().symbol.as_deref(), v.evidence), (Some("first"), vec![1]));
}

#[test]
fn fins_are_counted_among_fins() {
    let segment =
        |ms, life, flags| vec![arrive(ms, life).tcp(flags), taken(ms + 1, life).tcp(flags)];
    let lost = |ms, life, flags| {
        let end = drop(ms + 1, life, Some("NETFILTER_DROP"), "nf_hook_slow").tcp(flags);
        vec![arrive(ms, life).tcp(flags), end]
    };
    let fins = [segment(1, 1, "S"), segment(3, 2, "PA"), lost(5, 3, "FA"), lost(7, 4, "FA")];
    let text = verdict(fins.concat()).text;
    assert!(text.starts_with("Both TCP FINs "), "{text}");
    let mixed = [segment(1, 1, "S"), lost(3, 2, "PA"), lost(5, 3, "FA")].concat();
    let text = verdict(mixed).text;
    assert!(text.starts_with("2 of 3 TCP segments "), "{text}");
}

#[test]
fn what_a_program_steals_at_ingress_is_not_delivered() {
    let gone = |by| hop(Consume, 2, 1).on("server", "veth-s", Some("veth")).paired().taken_by(by);
    let v = verdict(vec![arrive(1, 1), gone("__netif_receive_skb_core")]);
    assert_eq!(v.outcome, Outcome::Vanished);
    assert!(
        v.next.iter().any(|n| n.contains("tc -n server -s filter show dev veth-s ingress")),
        "{:?}",
        v.next
    );
    assert_eq!(verdict(vec![arrive(1, 1), gone("icmp_rcv")]).outcome, Outcome::Delivered);
}

#[test]
fn a_host_behind_a_device_without_hooks_is_reached() {
    let out = hop(TcEgress, 1, 1).on("a", "e0", Some("veth"));
    let end = hop(Consume, 2, 1).on("b", "e1", None).taken_by("icmp_rcv");
    assert_eq!(verdict(vec![out, end]).outcome, Outcome::Delivered);
}

#[test]
fn two_deaths_of_one_flow_are_both_told() {
    let answer = tuple("udp", "10.0.0.2", 53, "10.0.0.1", 1000);
    let end = hop(Drop, 12, 2)
        .on("router", "s0", None)
        .because(Some("IP_RPFILTER"), "ip_rcv_finish_core");
    let hops = vec![
        out(1, 1),
        arrive(1, 1),
        drop(2, 1, Some("NO_SOCKET"), "__udp4_lib_rcv"),
        out(11, 2).tuple(answer),
        end.tuple(answer).print("2"),
        out(19_000, 3),
    ];
    let v = verdict(hops);
    assert_eq!(v.reason.as_deref(), Some("NO_SOCKET"));
    assert!(
        v.text.contains("in netns router on s0 by ip_rcv_finish_core+0x10: the reverse-path"),
        "{}",
        v.text
    );
    assert!(v.text.contains("1 other packet was still on the way"), "{}", v.text);
    let other = &v.also[0];
    assert_eq!((v.also.len(), other.reason.as_deref()), (1, Some("IP_RPFILTER")));
    assert_eq!(other.r#where.netns.as_deref(), Some("router"));
    assert!(v.next.iter().any(|n| n.contains("rp_filter")), "{:?}", v.next);
}

/// A packet too big for the path, the message that says so, and a smaller one that arrives.
fn too_big(proto: &str) -> Vec<Hop> {
    let shape = |hop: Hop| {
        let mut hop = if proto == "tcp" { hop.tcp("A") } else { hop };
        hop.tuple = Some(tuple(proto, "10.0.0.1", 1000, "10.0.0.2", 53));
        hop
    };
    let mut message = hop(Deliver, 3, 2).on("client", "veth-c", Some("veth")).print("message");
    let mut named = tuple("icmp", "10.0.0.9", 0, "10.0.0.1", 0);
    (named.sport, named.dport) = (None, None);
    message.tuple = Some(named);
    message.icmp = Some(Icmp {
        r#type: 3,
        code: 4,
        id: None,
        seq: None,
        mtu: Some(1300),
        about: Some(Box::new(tuple(proto, "10.0.0.1", 1000, "10.0.0.2", 53))),
        about_id: None,
    });
    let small = [arrive(11, 3), taken(12, 3)].map(shape);
    let big = [arrive(1, 1), drop(2, 1, Some("PKT_TOO_BIG"), "ip_forward")].map(shape);
    big.into_iter().chain([message]).chain(small).collect()
}

#[test]
fn only_tcp_sends_again_what_was_too_big() {
    let v = verdict(too_big("tcp"));
    assert_eq!(v.outcome, Outcome::Delivered, "{}", v.text);
    assert!(v.text.contains("sent again in smaller ones"), "{}", v.text);
    let v = verdict(too_big("udp"));
    assert_eq!((v.outcome, v.reason.as_deref()), (Outcome::Dropped, Some("PKT_TOO_BIG")));
}

#[test]
fn an_answer_that_never_came_is_told_with_where_to_look() {
    let v = verdict(vec![arrive(1, 1), taken(2, 1)]);
    assert_eq!(v.outcome, Outcome::Delivered);
    assert!(v.text.ends_with("No answer was seen."), "{}", v.text);
    assert_eq!(v.next[0], "ip -n server route get 10.0.0.1");
    let answer = tuple("udp", "10.0.0.2", 53, "10.0.0.1", 1000);
    let sent = hop(TcEgress, 3, 2).on("server", "veth-s", Some("veth")).paired().tuple(answer);
    let v = verdict(vec![arrive(1, 1), taken(2, 1), sent]);
    assert!(!v.text.contains("No answer was seen"), "{}", v.text);
}

#[test]
fn of_what_came_before_all_probes_were_attached_no_end_is_missed() {
    let told = |ready| {
        let mut story = Story::new();
        story.sees_all_from(ready);
        let hops = [out(1, 1), arrive(2, 1), out(100, 2), arrive(101, 2), taken(102, 2)];
        for mut hop in hops {
            story.observe(&mut hop);
        }
        let mut verdicts = story.finish(20_000_000_000).1;
        assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
        verdicts.remove(0)
    };
    assert_eq!(told(0).outcome, Outcome::Vanished);
    let v = told(50_000_000);
    assert_eq!((v.outcome, v.packets, v.delivered), (Outcome::Delivered, 2, 1));
    assert!(v.text.contains("1 more packet came before all probes were attached"), "{}", v.text);
    let v = told(200_000_000);
    assert_eq!(v.outcome, Outcome::Delivered);
}

#[test]
fn what_a_host_could_not_send_is_a_loss_though_only_its_own_word_was_seen() {
    let asked = tuple("udp", "10.0.0.1", 1000, "10.0.0.99", 53);
    let word = |hook, ms| {
        let own = Tuple { proto: Proto::Icmp, sport: None, dport: None, ..asked };
        let mut hop = hop(hook, ms, 1).on("client", "lo", Some("loopback"));
        hop.icmp = Some(Icmp {
            r#type: 3,
            code: 1,
            id: None,
            seq: None,
            mtu: None,
            about: Some(Box::new(asked)),
            about_id: None,
        });
        hop.tuple(Tuple { dst: own.src, ..own })
    };
    let told =
        || vec![word(TcEgress, 1), word(TcIngress, 2), word(Consume, 3).taken_by("icmp_rcv")];
    let v = verdict(told());
    assert_eq!((v.outcome, v.packets, v.related), (Outcome::Dropped, 0, 1));
    assert_eq!(v.forward, Some(asked));
    assert!(v.text.contains("10.0.0.1 sent ICMP host unreachable about it"), "{}", v.text);
    assert_eq!(v.next[0], "ip -n client route get 10.0.0.99");

    // Its end comes after the word about it.
    let mut hops = told();
    let end = hop(Drop, 4, 2).on("client", "eth0", Some("veth")).tuple(asked).print("2");
    hops.push(end.because(Some("NEIGH_FAILED"), "neigh_invalidate"));
    let v = verdict(hops);
    assert_eq!((v.outcome, v.packets, v.related), (Outcome::Dropped, 1, 1));
    assert_eq!(v.reason.as_deref(), Some("NEIGH_FAILED"));
}
