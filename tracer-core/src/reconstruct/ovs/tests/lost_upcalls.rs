//! Packets that went up to `ovs-vswitchd` and were not seen to come back.

use super::{
    Told, all, at, consumed, enters, goes_up, handed_back, leaves, packet, recirculated, runs,
    tell, verdict,
};
use crate::reconstruct::Story;
use crate::reconstruct::asked::Answer;
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{Drop, OvsUpcall};
use crate::record::{Outcome, OvsTrace, TraceKind, Upcall};

#[test]
fn what_does_not_come_back_was_lost_or_the_others_tell() {
    let first = || packet(1, vec![enters(1, 1), goes_up(2, 1, None)]);
    let v = verdict(first());
    assert_eq!(v.outcome, Outcome::UpcallLost);
    assert!(v.text.contains("nothing came back"), "{}", v.text);
    let second =
        |ms| packet(2, vec![enters(ms, 2), vec![runs(ms + 1, 2, "drop"), consumed(ms + 1, 2)]]);
    // Settled before the first, and long after it.
    for ms in [300, 9_000] {
        let hops: Vec<_> = first().into_iter().chain(second(ms)).collect();
        let told = tell(hops.clone());
        assert_eq!(told.outcome_of(1), Outcome::DroppedByOvs);
        assert_eq!(told.outcome_of(2), Outcome::DroppedByOvs);
        let v = verdict(hops);
        assert_eq!((v.outcome, v.packets, v.evidence), (Outcome::DroppedByOvs, 2, vec![1, 2]));
        assert!(v.text.starts_with("Both UDP packets"), "{}", v.text);
        assert!(v.text.contains("The first of them went up to ovs-vswitchd"), "{}", v.text);
    }
}

#[test]
fn a_drop_in_another_pass_tells_nothing_of_what_did_not_come_back() {
    let first = packet(1, vec![enters(1, 1), goes_up(2, 1, None)]);
    let drop = recirculated(runs(301, 2, "drop"), 7, "inv|trk");
    let hops = packet(
        2,
        vec![enters(300, 2), vec![runs(300, 2, "ct(zone=5),recirc(0x7)"), drop, consumed(301, 2)]],
    );
    let told = tell(first.into_iter().chain(hops).collect());
    assert_eq!(told.outcome_of(1), Outcome::UpcallLost);
    assert_eq!(told.outcome_of(2), Outcome::DroppedByOvs);
    let text = &told.verdicts[0].text;
    assert!(text.contains("after conntrack in zone 5 found it inv|trk"), "{text}");
    assert!(text.contains("on the way to or from ovs-vswitchd"), "{text}");
}

#[test]
fn what_could_not_go_up_says_why() {
    for (error, words) in [
        ("EAGAIN", "the queue to ovs-vswitchd's handlers was full"),
        ("ENOTCONN", "no handler of ovs-vswitchd listens"),
        ("ECONNREFUSED", "no handler of ovs-vswitchd listens"),
        ("ENOMEM", "could not hand it over [ENOMEM]"),
    ] {
        let v = verdict(all(vec![enters(1, 1), goes_up(2, 1, Some(error))]));
        assert_eq!((v.outcome, v.reason.as_deref()), (Outcome::UpcallLost, Some(error)));
        assert!(v.text.contains(words), "{}", v.text);
    }
    // ENOTCONN ends as a drop.
    let mut hops = all(vec![enters(1, 1), goes_up(2, 1, Some("ENOTCONN"))]);
    hops.pop();
    hops.push(at(hop(Drop, 2, 1), "va").because(None, "ovs_dp_process_packet"));
    assert_eq!(verdict(hops).outcome, Outcome::UpcallLost);
}

#[test]
fn ovs_vswitchd_may_answer_yet() {
    let mut story = Story::new();
    for mut h in all(vec![enters(1, 1), goes_up(2, 1, None)]) {
        story.observe(&mut h);
    }
    assert_eq!(story.outcomes(), 0);
    assert_eq!(story.finish(500_000_000).1[0].outcome, Outcome::InFlight);
}

#[test]
fn a_journey_that_an_answer_may_change_is_told_with_the_answer() {
    let told = |kind, settled_first| {
        let mut story = Story::new();
        let mut told = Told { hops: Vec::new(), journeys: Vec::new(), verdicts: Vec::new() };
        for mut h in all(vec![enters(1, 1), goes_up(2, 1, None)]) {
            story.observe(&mut h);
        }
        if settled_first {
            told.journeys = story.settle(50_000_000_000);
            assert!(told.journeys.is_empty(), "{:?}", told.journeys);
        }
        let answer = OvsTrace { packet: 1, kind, ..OvsTrace::default() };
        story.answered(Answer::OpenVswitch(Box::new(answer)));
        let (journeys, verdicts) = story.finish(60_000_000_000);
        told.journeys.extend(journeys);
        (told.outcome_of(1), verdicts[0].outcome)
    };
    for settled_first in [true, false] {
        let dropped = (Outcome::DroppedByOvs, Outcome::DroppedByOvs);
        assert_eq!(told(TraceKind::Rule, settled_first), dropped);
        let lost = (Outcome::UpcallLost, Outcome::UpcallLost);
        assert_eq!(told(TraceKind::Passes, settled_first), lost);
    }
}

#[test]
fn what_a_controller_was_to_get_says_why_and_by_which_rule() {
    for (reason, words) in [
        ("reason=1", "an OpenFlow rule with cookie 0x15 hands it to an OpenFlow controller"),
        ("reason=2", "its TTL was used up at a `dec_ttl` of the rule with cookie 0x15"),
        ("reason=7", "no rule of the OpenFlow tables matched it"),
    ] {
        let list =
            format!("userspace(pid=1,controller({reason},dont_send=0,rule_cookie=0x15,max_len=9))");
        let up = Upcall { cmd: Some("action".to_owned()), result: None };
        let up = at(hop(OvsUpcall, 2, 1), "va").in_ovs(|o| o.upcall = Some(up));
        let v = verdict(all(vec![enters(1, 1), vec![runs(2, 1, &list), up, consumed(2, 1)]]));
        assert_eq!(v.outcome, Outcome::UpcallLost);
        assert!(v.text.contains(words), "{}", v.text);
        assert!(v.next.contains(&"ovs-vsctl list controller".to_owned()), "{:?}", v.next);
    }
}

#[test]
fn what_comes_back_before_the_kernel_lets_go_of_what_went_up_is_the_same_packet() {
    let mut up = goes_up(3, 1, None);
    let freed = up.pop().unwrap();
    let up = recirculated(up.remove(0), 5, "new|trk");
    let mut hops = all(vec![enters(1, 1), vec![runs(2, 1, "hash(l4(0)),recirc(0x5)"), up]]);
    hops.extend(all(vec![vec![handed_back(4, 2, "3")], leaves(5, 2), vec![freed]]));
    let told = tell(hops);
    assert_eq!(told.journeys.len(), 1, "{:?}", told.journeys);
    assert_eq!(told.outcome_of(1), Outcome::Delivered);
}
