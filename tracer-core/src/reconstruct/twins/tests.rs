use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{Deliver, Drop, TcIngress};
use crate::record::{Hop, Outcome, Tcp, TcpFlags, Verdict};

/// A segment with its numbers, of the one connection here.
fn segment(hop: Hop, packet: u64, flags: &str, seq: u32) -> Hop {
    let mut hop = hop.tcp(flags).print(&packet.to_string());
    hop.packet = packet;
    hop.tcp = Some(Tcp {
        flags: TcpFlags::parse(flags),
        seq,
        ack: 0,
        window: Some(1000),
        data: Some(0),
        scale: None,
    });
    hop
}

fn at(netns: &str, hop: Hop) -> Hop {
    hop.on(netns, "eth0", Some("veth")).paired()
}

fn arrives(ms: u64, packet: u64, flags: &str, seq: u32) -> Vec<Hop> {
    let place = |hop| segment(at("server", hop), packet, flags, seq);
    vec![place(hop(TcIngress, ms, packet)), place(hop(Deliver, ms + 1, packet))]
}

/// As [`arrives`], and is dropped then.
fn refused(ms: u64, packet: u64, flags: &str, seq: u32, drop: (&str, &str)) -> Vec<Hop> {
    let mut hops = arrives(ms, packet, flags, seq);
    let end = hop(Drop, ms + 2, packet).because(Some(drop.0), drop.1);
    // As the kernel shows it: TCP has taken the device away.
    hops.push(segment(end, packet, flags, seq));
    hops
}

/// The verdict, and the last word on each packet; `settles`: when the story is asked, milliseconds.
fn told(hops: Vec<Hop>, settles: &[u64]) -> (Verdict, Vec<(u64, Outcome)>) {
    let mut story = Story::new();
    let mut ways = Vec::new();
    let mut settles = settles.iter().copied().peekable();
    for mut hop in hops {
        while settles.next_if(|ms| ms * 1_000_000 <= hop.ts).is_some() {
            ways.extend(story.settle(hop.ts));
        }
        story.observe(&mut hop);
    }
    let (rest, mut verdicts) = story.finish(20_000_000_000);
    ways.extend(rest);
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    let mut last: Vec<(u64, Outcome)> = Vec::new();
    for way in ways {
        last.retain(|(packet, _)| *packet != way.packet);
        last.push((way.packet, way.outcome));
    }
    last.sort_unstable_by_key(|(packet, _)| *packet);
    (verdicts.remove(0), last)
}

/// It goes on to another host, which takes it.
fn elsewhere(mut hops: Vec<Hop>) -> Vec<Hop> {
    let end = hops.pop().unwrap();
    hops.push(at("mirror", end));
    hops
}

const CHALLENGE: (&str, &str) = ("TCP_INVALID_SYN", "tcp_validate_incoming");

#[test]
fn a_segment_that_had_arrived_is_not_lost_with_its_duplicate() {
    for drop in [CHALLENGE, ("NOT_SPECIFIED", "tcp_v4_rcv")] {
        let mut hops = arrives(1, 1, "S", 100);
        hops.extend(refused(1001, 2, "S", 100, drop));
        let (verdict, ways) = told(hops, &[]);
        assert_eq!((verdict.outcome, verdict.delivered), (Outcome::Delivered, 2), "{drop:?}");
        assert_eq!(ways, [(1, Outcome::Delivered), (2, Outcome::Delivered)]);
    }
}

#[test]
fn a_duplicate_may_be_the_one_that_arrives_first() {
    // The first was overtaken: its number is lower, and it is settled first at the end.
    let hops = |settles: &[u64]| {
        let mut hops = vec![segment(at("client", hop(TcIngress, 1, 1)), 1, "S", 100)];
        hops.extend(arrives(1001, 2, "S", 100));
        hops.extend(refused(1500, 1, "S", 100, CHALLENGE));
        told(hops, settles)
    };
    for settles in [&[][..], &[1400, 1450]] {
        let (verdict, ways) = hops(settles);
        assert_eq!((verdict.outcome, verdict.packets), (Outcome::Delivered, 2), "{settles:?}");
        assert_eq!(ways, [(1, Outcome::Delivered), (2, Outcome::Delivered)]);
    }
}

#[test]
fn what_did_not_arrive_before_is_lost() {
    let is_lost = |first: Vec<Hop>, second: Vec<Hop>| {
        let (verdict, _) = told(first.into_iter().chain(second).collect(), &[]);
        verdict.outcome == Outcome::Dropped
    };
    let again = |drop| refused(1001, 2, "S", 100, drop);
    // Other bytes; the first one refused too; a filter before TCP; a listener that is full.
    assert!(is_lost(arrives(1, 1, "S", 900), again(CHALLENGE)));
    assert!(is_lost(refused(1, 1, "S", 100, CHALLENGE), again(CHALLENGE)));
    assert!(is_lost(arrives(1, 1, "S", 100), again(("NETFILTER_DROP", "nf_hook_slow"))));
    assert!(is_lost(arrives(1, 1, "S", 100), again(("TCP_LISTEN_OVERFLOW", "tcp_conn_request"))));
    // At another host; or an ACK, after which the connection did not go on.
    assert!(is_lost(elsewhere(arrives(1, 1, "S", 100)), again(CHALLENGE)));
    let paws = refused(1001, 2, "A", 100, ("TCP_RFC7323_PAWS", "tcp_validate_incoming"));
    assert!(is_lost(arrives(1, 1, "A", 100), paws));
}

/// An acknowledgement (flags `A`, or `PA` with a byte) that this side sends.
fn says(mut hops: Vec<Hop>, ack: u32) -> Vec<Hop> {
    for hop in &mut hops {
        let tcp = hop.tcp.as_mut().unwrap();
        (tcp.ack, tcp.data) = (ack, Some(u32::from(tcp.flags.has("P"))));
    }
    hops
}

#[test]
fn an_acknowledgement_that_another_made_up_for_is_no_loss() {
    const ECHOED: (&str, &str) = ("TCP_RFC7323_TSECR", "tcp_v4_rcv");
    let outcome = |then: Vec<Hop>, settles: &[u64]| {
        let mut hops = says(refused(10, 1, "A", 100, ECHOED), 500);
        hops.extend(then);
        told(hops, settles).0.outcome
    };
    for settles in [&[][..], &[1500]] {
        let later = |ack| says(arrives(2000, 2, "PA", 100), ack);
        assert_eq!(outcome(later(500), settles), Outcome::Delivered);
        assert_eq!(outcome(later(501), settles), Outcome::Delivered);
        assert_eq!(outcome(later(499), settles), Outcome::Dropped);
    }
    let there = elsewhere(says(arrives(20, 2, "A", 100), 500));
    assert_eq!(outcome(there, &[]), Outcome::Dropped);
}

#[test]
fn an_acknowledgement_is_taken_as_its_receiver_saw_it() {
    // A proxy for handshakes moves the numbers of the client's own segments.
    // Its own numbers are far ahead.
    let mut hops = elsewhere(says(arrives(5, 3, "A", 100), 2_000_000_000));
    hops.extend(says(refused(10, 1, "A", 100, ("TCP_RFC7323_TSECR", "tcp_v4_rcv")), 500));
    let mut sent = says(vec![segment(at("client", hop(TcIngress, 15, 2)), 2, "PA", 100)], 3);
    sent.extend(says(arrives(20, 2, "PA", 100), 500));
    hops.extend(sent);
    assert_eq!(told(hops, &[]).0.outcome, Outcome::Delivered);
}

#[test]
fn what_comes_before_the_connection_is_accepted_is_sent_again() {
    const ECHOED: (&str, &str) = ("TCP_RFC7323_TSECR", "tcp_v4_rcv");
    let lost = |drop| says(refused(10, 1, "PA", 100, drop), 500);
    let again = |flags, seq| says(arrives(1200, 2, flags, seq), 500);
    let outcome = |drop, then: Vec<Hop>, settles: &[u64]| {
        let hops = lost(drop).into_iter().chain(then).collect();
        told(hops, settles).0.outcome
    };
    for settles in [&[][..], &[1150]] {
        assert_eq!(outcome(ECHOED, again("PA", 100), settles), Outcome::Delivered);
        assert_eq!(outcome(ECHOED, again("FPA", 100), settles), Outcome::Delivered);
        assert_eq!(outcome(ECHOED, again("PA", 101), settles), Outcome::Dropped, "other bytes");
        let paws = ("TCP_RFC7323_PAWS", "tcp_validate_incoming");
        assert_eq!(outcome(paws, again("PA", 100), settles), Outcome::Dropped, "it was accepted");
    }
}
