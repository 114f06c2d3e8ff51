use crate::reconstruct::Story;
use crate::reconstruct::Way;
use crate::reconstruct::flows::MAX_FLOWS;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::HookName::{Clone, Consume, Deliver, Drop, TcEgress, TcIngress};
use crate::record::{Address, Fingerprint, Hop, Lost, Outcome};

mod belonging;
mod copies;
mod doubts;

/// Lets a live story take these hops in; gives back each one's packet and hop number.
fn observe(story: &mut Story, hops: Vec<Hop>) -> Vec<(u64, u32)> {
    hops.into_iter()
        .map(|mut h| {
            story.observe(&mut h);
            (h.packet, h.hop)
        })
        .collect()
}

fn out(ms: u64, life: u64) -> Hop {
    hop(TcEgress, ms, life).on("client", "veth-c", Some("veth")).paired()
}

fn arrive(ms: u64, life: u64) -> Hop {
    hop(TcIngress, ms, life).on("server", "veth-s", Some("veth")).paired()
}

fn refused(ms: u64, life: u64) -> Hop {
    hop(Drop, ms, life)
        .on("server", "veth-s", Some("veth"))
        .because(Some("NO_SOCKET"), "__udp4_lib_rcv")
}

const S: u64 = 1_000_000_000;

#[test]
fn one_life_is_one_packet_whatever_it_looks_like() {
    let nat = tuple("udp", "10.0.0.1", 1000, "10.9.9.9", 53);
    let hops = vec![out(1, 5), arrive(2, 5).tuple(nat).print("other"), refused(3, 5)];
    assert_eq!(observe(&mut Story::new(), hops), [(1, 1), (1, 2), (1, 3)]);
}

#[test]
fn a_life_without_a_tuple_stays_with_its_packet() {
    let mut bare = refused(2, 5);
    (bare.tuple, bare.fingerprint) = (None, None);
    assert_eq!(observe(&mut Story::new(), vec![out(1, 5), bare]), [(1, 1), (1, 2)]);
}

#[test]
fn a_new_skb_with_the_same_fingerprint_is_the_same_packet() {
    let hops = vec![out(1, 5), arrive(2, 6), refused(3, 6)];
    assert_eq!(observe(&mut Story::new(), hops), [(1, 1), (1, 2), (1, 3)]);
}

#[test]
fn another_skb_at_the_same_place_is_a_repetition() {
    let hops = vec![out(1, 5), arrive(2, 5), out(3, 6), arrive(4, 6), out(5, 5)];
    let found = observe(&mut Story::new(), hops);
    assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)]);
}

#[test]
fn a_fingerprint_grows_old() {
    let hops = vec![out(1, 5), arrive(2002, 6)];
    assert_eq!(observe(&mut Story::new(), hops), [(1, 1), (2, 1)]);
}

#[test]
fn listeners_at_one_place_take_a_copy_each() {
    let copy = |ms, life| hop(Consume, ms, life).on("server", "veth-s", Some("veth"));
    let hops = vec![arrive(1, 5), copy(2, 6), copy(3, 7)];
    assert_eq!(observe(&mut Story::new(), hops), [(1, 1), (1, 2), (1, 3)]);
}

#[test]
fn a_clone_belongs_to_what_was_cloned() {
    let mut clone = hop(Clone, 2, 6).print("rewritten");
    clone.parent = Some(5);
    let hops = vec![arrive(1, 5), clone, hop(Deliver, 3, 6).print("rewritten")];
    assert_eq!(observe(&mut Story::new(), hops), [(1, 1), (1, 2), (1, 3)]);
}

#[test]
fn fragments_belong_to_their_datagram() {
    let piece = |ms, life, offset, more| {
        hop(TcEgress, ms, life).on("router", "eth0", None).fragment(offset, more)
    };
    let hops = vec![arrive(1, 5), piece(2, 6, 0, true), piece(2, 7, 1400, false)];
    let mut story = Story::new();
    assert_eq!(observe(&mut story, hops), [(1, 1), (1, 2), (1, 3)]);
    // The same datagram once more: its fragments are at places where fragments have been.
    let again = observe(&mut story, vec![piece(3, 8, 0, true), piece(3, 9, 1400, false)]);
    assert_eq!(again, [(2, 1), (2, 2)]);
}

#[test]
fn the_previous_place_is_that_of_the_same_copy() {
    let mut story = Story::new();
    observe(&mut story, vec![out(1, 5)]);
    assert!(story.previous().is_none());
    observe(&mut story, vec![arrive(2, 5)]);
    assert_eq!(story.previous().unwrap().ts, 1_000_000);
    observe(&mut story, vec![hop(Deliver, 3, 6), refused(4, 5)]);
    assert_eq!(story.previous().unwrap().ts, 2_000_000);
}

#[test]
fn a_packet_is_settled_after_a_grace_and_one_that_may_be_queued_later() {
    let mut story = Story::new();
    observe(&mut story, vec![out(0, 1), refused(1, 1), out(1, 2).print("f2")]);
    assert_eq!(story.outcomes(), 1);
    assert!(story.settle(S).is_empty());
    let settled = story.settle(S + 1_000_000);
    assert_eq!(outcomes(&settled), [(1, Outcome::Dropped)]);
    assert!(story.settle(60 * S).is_empty());
    assert_eq!(outcomes(&story.settle(60 * S + 1_000_000)), [(2, Outcome::Vanished)]);
    assert_eq!(story.outcomes(), 2);
}

#[test]
fn neighbour_resolution_may_take_3_seconds() {
    let mut story = Story::new();
    observe(&mut story, vec![out(0, 1)]);
    assert!(story.settle(4 * S).is_empty());
    let failed = hop(Drop, 4001, 1).because(Some("NEIGH_FAILED"), "arp_error_report");
    observe(&mut story, vec![failed]);
    assert_eq!(outcomes(&story.settle(6 * S)), [(1, Outcome::Dropped)]);
}

#[test]
fn a_late_word_overrules_and_the_flow_counts_the_packet_once() {
    let mut story = Story::new();
    observe(&mut story, vec![out(0, 1)]);
    assert_eq!(outcomes(&story.settle(61 * S)), [(1, Outcome::Vanished)]);
    let late = hop(Drop, 70_000, 1).because(Some("FRAG_REASM_TIMEOUT"), "ip_expire");
    assert_eq!(observe(&mut story, vec![late]), [(1, 2)]);
    let (journeys, flows) = story.end(80 * S);
    assert_eq!(outcomes(&journeys), [(1, Outcome::Dropped)]);
    assert_eq!((flows.len(), flows[0].packets(), flows[0].losses.len()), (1, 1, 1));
    assert_eq!(flows[0].losses[0].outcome, Outcome::Dropped);
    assert_eq!(story.outcomes(), 1);
}

#[test]
fn reading_a_socket_late_changes_nothing() {
    let mut story = Story::new();
    observe(&mut story, vec![arrive(0, 1), hop(Deliver, 1, 1)]);
    assert_eq!(outcomes(&story.settle(2 * S)), [(1, Outcome::Delivered)]);
    let read = hop(Consume, 70_000, 1).taken_by("skb_consume_udp");
    let purged = hop(Drop, 70_001, 1).because(Some("QUEUE_PURGE"), "skb_queue_purge_reason");
    assert_eq!(observe(&mut story, vec![read, purged]), [(1, 3), (1, 4)]);
    let (journeys, flows) = story.end(80 * S);
    assert!(journeys.is_empty());
    assert_eq!((flows.len(), flows[0].packets(), flows[0].delivered()), (1, 1, 1));
}

#[test]
fn an_address_that_is_used_again_elsewhere_ends_nothing() {
    let skb = |mut h: Hop| {
        h.skb = Some(Address(0xff00));
        h
    };
    let mut story = Story::new();
    let copy = hop(Drop, 200, 2).on("client", "veth-c", Some("veth"));
    let copy = copy.because(Some("NOT_SPECIFIED"), "__udp4_lib_rcv");
    let taken = hop(Deliver, 1, 1).on("server", "veth-s", Some("veth"));
    observe(&mut story, vec![skb(arrive(0, 1)), skb(taken), skb(copy)]);
    assert_eq!(story.end(80 * S).1[0].delivered(), 1);
}

#[test]
fn the_end_of_the_trace_tells_in_flight_from_vanished() {
    for (end, expected) in [(4 * S, Outcome::InFlight), (5 * S, Outcome::Vanished)] {
        let mut story = Story::new();
        observe(&mut story, vec![out(0, 1)]);
        assert_eq!(outcomes(&story.end(end).0), [(1, expected)]);
    }
}

#[test]
fn a_recording_is_trusted() {
    let mut story = Story::new();
    let numbered = |mut h: Hop, packet, n| {
        (h.packet, h.hop) = (packet, n);
        h
    };
    let hops = vec![numbered(out(1, 5), 7, 1), numbered(out(2, 6), 7, 2), out(3, 9).print("new")];
    assert_eq!(observe(&mut story, hops), [(7, 1), (7, 2), (8, 1)]);
}

#[test]
fn both_directions_and_a_translation_are_one_flow() {
    let translated = tuple("udp", "10.0.0.1", 1000, "10.9.9.9", 5353);
    let back = tuple("udp", "10.9.9.9", 5353, "10.0.0.1", 1000);
    let undone = tuple("udp", "10.0.0.2", 53, "10.0.0.1", 1000);
    let mut story = Story::new();
    observe(&mut story, vec![out(1, 1), arrive(2, 1).tuple(translated), refused(3, 1)]);
    observe(
        &mut story,
        vec![
            arrive(4, 2).tuple(back).print("f2"),
            out(5, 2).tuple(undone).print("f2"),
            hop(Deliver, 6, 2).print("f2"),
        ],
    );
    let (_, flows) = story.end(S);
    assert_eq!(flows.len(), 1);
    assert_eq!((flows[0].out.packets, flows[0].back.packets), (1, 1));
    assert_eq!(flows[0].translated.unwrap(), translated);
}

#[test]
fn two_connections_that_collide_after_translation_stay_two() {
    let direct = tuple("udp", "10.0.0.1", 1000, "10.9.9.9", 5353);
    let mut story = Story::new();
    observe(&mut story, vec![out(1, 1).tuple(direct).print("a")]);
    observe(&mut story, vec![out(2, 2).print("b"), arrive(3, 2).tuple(direct).print("b")]);
    let (_, flows) = story.end(S);
    assert_eq!(flows.iter().map(|f| f.out.packets).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_lost_event_marks_the_flows_of_its_time() {
    let mut story = Story::new();
    let other = tuple("udp", "10.0.0.1", 1001, "10.0.0.2", 53);
    observe(&mut story, vec![refused(0, 1), refused(9000, 2).tuple(other).print("f2")]);
    story.lost(&Lost { count: 0, ..Lost::at(8 * S) });
    assert!(!story.is_incomplete());
    story.lost(&Lost { cpu: 1, ..Lost::at(100) });
    story.lost(&Lost { cpu: 1, ..Lost::at(9 * S) });
    assert!(story.is_incomplete());
    let (_, flows) = story.end(20 * S);
    assert_eq!(flows.iter().map(|f| f.incomplete).collect::<Vec<_>>(), [true, true]);

    let mut story = Story::new();
    observe(&mut story, vec![refused(0, 1)]);
    story.lost(&Lost { count: 0, ..Lost::at(0) });
    let (_, flows) = story.end(20 * S);
    assert!(!flows[0].incomplete);
}

#[test]
fn hours_of_everything_stay_bounded() {
    let mut story = Story::new();
    let mut verdicts = 0;
    let flows = 3 * MAX_FLOWS as u64;
    for n in 0..flows {
        let port = (n % 60_000) as u16 + 1;
        let own = tuple("udp", "10.0.0.1", port, "10.0.0.2", 53);
        let print = n.to_string();
        observe(&mut story, vec![refused(n, n + 1).tuple(own).print(&print)]);
        story.settle(n * 1_000_000);
        verdicts += story.retired().len() as u64;
        assert!(story.flows.held() <= MAX_FLOWS + 1100, "{}", story.flows.held());
        assert!(story.open.len() <= 1100, "{}", story.open.len());
    }
    verdicts += story.finish(flows * S).1.len() as u64;
    assert_eq!(verdicts, flows);
}

#[test]
fn a_flood_without_end_is_settled_as_it_stands() {
    let mut story = Story::new();
    for n in 0..40_000 {
        observe(&mut story, vec![out(1, n + 1).print(&n.to_string())]);
        story.settle(1_000_000);
    }
    assert!(story.open.len() <= super::MAX_OPEN + 1);
    let (_, flows) = story.end(2_000_000);
    assert_eq!(flows[0].packets(), 40_000);
    let found: Vec<_> = flows[0].losses.iter().map(|l| (l.outcome, l.doubt, l.count)).collect();
    let held = super::MAX_OPEN as u64;
    let expected = [(Outcome::Unknown, None, 40_000 - held), (Outcome::InFlight, None, held)];
    assert_eq!(found, expected);
}

#[test]
fn times_that_no_longer_hold_are_forgotten() {
    let mut story = Story::new();
    for n in 0..60_000 {
        let taken = hop(Deliver, n, n + 1).on("server", "eth0", None);
        observe(&mut story, [out(n, n + 1), taken].map(|h| h.print(&n.to_string())).into());
        story.settle(n * 1_000_000);
    }
    assert!(story.open.len() <= 1001, "settled after a second: {}", story.open.len());
    assert!(story.wakes.len() <= 2 * super::MAX_OPEN + 4 * 1001 + 1, "{}", story.wakes.len());
}

#[test]
fn one_packet_does_not_grow_without_end() {
    let mut story = Story::new();
    let looped = |n: u64| {
        let mut h = hop(TcEgress, n, n + 1).on("switch", &format!("p{n}"), Some("veth")).paired();
        h.packet = 1;
        h
    };
    for n in 0..2000 {
        story.observe(&mut looped(n));
    }
    let packet = &story.open[&1];
    assert!(packet.lives.len().max(packet.aliases.len()) <= crate::reconstruct::packet::MAX_LIVES);
    assert_eq!(story.end(0).0[0].hops, 2000);
}

fn outcomes(ways: &[Way]) -> Vec<(u64, Outcome)> {
    ways.iter().map(|w| (w.packet, w.outcome)).collect()
}

/// A socket's reader frees the skb late, which then is a life that nobody has seen: it is forgotten
/// with its packet, however long the trace is.
#[test]
fn no_life_outlives_its_packet() {
    let mut story = Story::new();
    let skb = Some(Address(0xffff_8880_0000_0100));
    for n in 0..40_000_u64 {
        let (ms, life) = (n * 10, n * 8 + 1);
        let port = 1000 + u16::try_from(n % 5000).unwrap();
        let flow = tuple("udp", "10.0.0.1", port, "10.0.0.2", 53);
        let of = |mut h: Hop| {
            h.skb = skb;
            h.fingerprint = Some(Fingerprint(n));
            h.tuple(flow)
        };
        let late = |ms, life| of(hop(Consume, ms, life).on("server", "veth-s", Some("veth")));
        let taken = of(hop(Deliver, ms + 1, life).on("server", "veth-s", Some("veth")));
        let numbers =
            observe(&mut story, vec![of(arrive(ms, life)), taken, late(ms + 2, life + 1)]);
        assert_eq!(numbers, [(n + 1, 1), (n + 1, 2), (n + 1, 3)]);
        story.settle((ms + 3) * 1_000_000);
    }
    let packets = story.open.len() + 16_384;
    assert!(story.lives.len() <= 2 * packets, "{} of {packets} packets", story.lives.len());
}
