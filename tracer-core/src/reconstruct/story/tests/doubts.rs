use super::{S, arrive, observe, out, outcomes, refused};
use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{Consume, Deliver, Drop, OvsActions, OvsOutput, TcEgress, TcIngress};
use crate::record::{HookName, Hop, Lost, Outcome};

const MS: u64 = 1_000_000;

/// Events of this hook were lost at that time, in milliseconds.
fn lost(hook: HookName, since: u64, until: u64) -> Lost {
    let (since, until) = (Some(since * MS), Some(until * MS));
    Lost { hook: Some(hook), since, until, ..Lost::at(60 * S) }
}

/// What becomes of one packet, where that was lost.
fn judged(hops: Vec<Hop>, lost: &Lost) -> Outcome {
    let mut story = Story::new();
    observe(&mut story, hops);
    story.lost(lost);
    let (ways, flows) = story.end(90 * S);
    let told = outcomes(&ways);
    assert_eq!(told.len(), 1);
    assert_eq!(flows.len(), 1);
    told[0].1
}

#[test]
fn what_was_lost_from_sight_may_have_been_lost_by_lasthop() {
    let seen = || vec![out(100, 1), arrive(101, 1)];
    assert_eq!(judged(seen(), &lost(Deliver, 101, 102)), Outcome::Unknown);
    assert_eq!(judged(seen(), &lost(Consume, 20_000, 20_001)), Outcome::Unknown);
    // Long before it came, nothing of it was lost.
    assert_eq!(judged(seen(), &lost(Deliver, 10, 50)), Outcome::Vanished);
    let any = Lost { hook: None, ..lost(Deliver, 101, 102) };
    assert_eq!(judged(seen(), &any), Outcome::Unknown);
}

#[test]
fn a_drop_that_was_seen_is_one() {
    let seen = || vec![out(100, 1), arrive(101, 1), refused(102, 1)];
    for hook in [TcIngress, TcEgress, Drop, Consume, Deliver] {
        assert_eq!(judged(seen(), &lost(hook, 0, 60_000)), Outcome::Dropped, "{hook:?}");
    }
}

#[test]
fn what_a_socket_took_it_may_have_refused() {
    let seen = || vec![arrive(100, 1), hop(Deliver, 101, 1).on("server", "veth-s", Some("veth"))];
    assert_eq!(judged(seen(), &lost(Drop, 101, 102)), Outcome::Unknown);
    assert_eq!(judged(seen(), &lost(Drop, 500, 501)), Outcome::Delivered);
    assert_eq!(judged(seen(), &lost(TcIngress, 0, 60_000)), Outcome::Delivered);
}

#[test]
fn what_left_may_have_been_dropped_behind_the_hook() {
    let seen = || vec![hop(TcEgress, 100, 1).on("host", "eth0", None)];
    assert_eq!(judged(seen(), &lost(Drop, 100, 101)), Outcome::Unknown);
    assert_eq!(judged(seen(), &lost(TcIngress, 0, 60_000)), Outcome::Forwarded);
    let mut sent = seen();
    sent.push(hop(Consume, 101, 1).on("host", "eth0", None).taken_by("napi_consume_skb"));
    assert_eq!(judged(sent, &lost(Drop, 0, 60_000)), Outcome::Forwarded);
}

#[test]
fn another_copy_may_have_arrived() {
    let mut copy = hop(HookName::Clone, 101, 2);
    copy.parent = Some(1);
    let seen = || vec![arrive(100, 1), copy.clone(), refused(102, 1)];
    assert_eq!(judged(seen(), &lost(Deliver, 103, 104)), Outcome::Unknown);
    assert_eq!(judged(seen(), &lost(Deliver, 1, 2)), Outcome::Dropped);
}

#[test]
fn what_open_vswitch_was_not_seen_to_send_may_have_been_sent() {
    let run = |actions: &str| {
        let actions = actions.to_owned();
        let run = hop(OvsActions, 101, 1).in_ovs(|ovs| ovs.actions = Some(actions));
        let end = hop(Consume, 102, 1).taken_by("do_execute_actions");
        vec![out(100, 1), run.on("host", "va", Some("veth")), end.on("host", "va", Some("veth"))]
    };
    assert_eq!(judged(run("4"), &lost(OvsOutput, 101, 102)), Outcome::Unknown);
    assert_eq!(judged(run("4"), &lost(OvsOutput, 200, 300)), Outcome::DroppedByOvs);
    assert_eq!(judged(run("4"), &lost(Drop, 0, 60_000)), Outcome::DroppedByOvs);
    // That list tells it by itself.
    assert_eq!(judged(run("drop"), &lost(OvsOutput, 101, 102)), Outcome::DroppedByOvs);
    assert_eq!(judged(run("drop"), &lost(OvsActions, 101, 102)), Outcome::Unknown);
}

#[test]
fn a_segment_that_tcp_discards_may_have_come_twice() {
    let discarded = || {
        let end = hop(Drop, 102, 1).on("server", "veth-s", Some("veth"));
        let end = end.because(Some("TCP_RFC7323_PAWS"), "tcp_validate_incoming").tcp("A");
        vec![arrive(100, 1).tcp("A"), end]
    };
    let outcome = |lost: &Lost| {
        let mut story = Story::new();
        observe(&mut story, discarded());
        story.lost(lost);
        story.end(90 * S).1[0].losses[0].outcome
    };
    assert_eq!(outcome(&lost(Deliver, 1000, 1001)), Outcome::Unknown);
    assert_eq!(outcome(&lost(Deliver, 20_000, 20_001)), Outcome::Dropped);
}

#[test]
fn a_late_word_tells_after_all() {
    let mut story = Story::new();
    observe(&mut story, vec![out(100, 1)]);
    story.lost(&lost(TcIngress, 100, 101));
    assert_eq!(outcomes(&story.settle(61 * S)), [(1, Outcome::Unknown)]);
    observe(&mut story, vec![refused(70_000, 1)]);
    assert_eq!(outcomes(&story.end(90 * S).0), [(1, Outcome::Dropped)]);
}
