use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{Consume, Drop, TcEgress, TcIngress};
use crate::record::{Hop, Outcome, Verdict};

/// A fragment with 40 bytes of its datagram, at the host that is to put it together.
fn piece(ms: u64, life: u64, offset: u32, more: bool) -> Hop {
    hop(TcIngress, ms, life).on("server", "eth0", Some("veth")).paired().fragment(offset, more)
}

/// The first fragment, as the kernel drops it there.
fn refused(ms: u64, life: u64, reason: &str, symbol: &str) -> Hop {
    let there = hop(Drop, ms, life).on("server", "eth0", Some("veth"));
    there.fragment(0, true).because(Some(reason), symbol)
}

fn told(hops: Vec<Hop>, end_s: u64) -> Verdict {
    let mut story = Story::new();
    for mut hop in hops {
        story.observe(&mut hop);
    }
    story.finish(end_s * 1_000_000_000).1.remove(0)
}

#[test]
fn a_fragment_waits_for_the_others_until_the_kernel_gives_up() {
    for end in [1, 12, 40] {
        let verdict = told(vec![piece(1, 1, 0, true)], end);
        assert_eq!(verdict.outcome, Outcome::InFlight, "after {end} s");
        let words = "it waits for the other fragments of its datagram (40 bytes came, and not the last \
                     fragment); the kernel gives up after net.ipv4.ipfrag_time, 30 s";
        assert!(verdict.text.contains(words), "{}", verdict.text);
        assert!(verdict.next.iter().any(|command| command.contains("frag")), "{:?}", verdict.next);
    }
    let verdict = told(vec![piece(1, 1, 0, true)], 100);
    assert_eq!(verdict.outcome, Outcome::Vanished, "no kernel waits that long");
    assert!(
        verdict.text.contains("other fragments of its datagram never came"),
        "{}",
        verdict.text
    );
}

#[test]
fn what_is_missing_is_told() {
    let text = |hops| told(hops, 12).text;
    let (first, last) = (piece(1, 1, 0, true), piece(2, 2, 80, false));
    assert!(text(vec![first.clone(), last.clone()]).contains("(80 of its 120 bytes came)"));
    assert!(text(vec![last.clone()]).contains("(40 of its 120 bytes came, without the first)"));
    let middle = piece(1, 1, 40, true);
    assert!(
        text(vec![middle]).contains("(40 bytes came, neither the first nor the last fragment)")
    );
    let twice = vec![first.clone(), piece(2, 2, 0, true)];
    assert!(text(twice).contains("(40 bytes came,"), "each byte counts once");
}

#[test]
fn what_the_kernel_gives_up_is_dropped() {
    let given_up = refused(30_001, 1, "FRAG_REASM_TIMEOUT", "ip_expire");
    let verdict = told(vec![piece(1, 1, 0, true), given_up], 31);
    assert_eq!(verdict.outcome, Outcome::Dropped);
    let words =
        "other fragments of the datagram never came (40 bytes came, and not the last fragment)";
    assert!(verdict.text.contains(words), "{}", verdict.text);
}

#[test]
fn a_whole_datagram_that_is_not_seen_again_is_lost_from_sight() {
    let whole = vec![piece(1, 1, 0, true), piece(2, 2, 40, true), piece(3, 3, 80, false)];
    assert_eq!(told(whole.clone(), 12).outcome, Outcome::Vanished);
    let overlapping = vec![piece(1, 1, 0, true), piece(2, 2, 32, true), piece(3, 3, 72, false)];
    assert_eq!(told(overlapping, 12).outcome, Outcome::Vanished);
    let consumed = hop(Consume, 4, 1).on("server", "eth0", Some("veth")).taken_by("icmp_rcv");
    assert_eq!(told([whole, vec![consumed]].concat(), 12).outcome, Outcome::Delivered);
}

#[test]
fn a_router_that_puts_nothing_together_holds_none() {
    let out = hop(TcEgress, 2, 1).on("server", "eth1", Some("veth")).paired().fragment(0, true);
    assert_eq!(told(vec![piece(1, 1, 0, true), out], 12).outcome, Outcome::Vanished);
}

#[test]
fn a_fragment_that_came_twice_is_a_duplicate_of_one_that_waits() {
    let (second, refused) = (piece(2, 2, 0, true), refused(3, 2, "DUP_FRAG", "ip_frag_queue"));
    let verdict = told(vec![piece(1, 1, 0, true), second, refused], 12);
    assert_eq!(verdict.outcome, Outcome::Dropped);
    let words = "the same fragment came before, and waits for the others of its datagram";
    assert!(verdict.text.contains(words), "{}", verdict.text);
    assert!(verdict.text.contains("1 other packet was still on the way"), "{}", verdict.text);
}
