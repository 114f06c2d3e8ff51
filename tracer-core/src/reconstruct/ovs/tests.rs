use crate::record::HookName::{
    Clone, Consume, Drop, OvsActions, OvsAnswer, OvsOutput, OvsReceive, OvsUpcall, TcEgress,
    TcIngress,
};
use std::sync::Arc;

use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::reconstruct::{Story, Way};
use crate::record::{Hop, Outcome, PktType, Upcall, Verdict};

/// All of it: each hop is given its packet.
struct Told {
    hops: Vec<Hop>,
    journeys: Vec<Way>,
    verdicts: Vec<Verdict>,
}

fn tell(hops: Vec<Hop>) -> Told {
    let mut story = Story::new();
    let mut told = Told { hops: Vec::new(), journeys: Vec::new(), verdicts: Vec::new() };
    for mut h in hops {
        told.journeys.extend(story.settle(h.ts));
        story.observe(&mut h);
        told.hops.push(h);
    }
    let (journeys, verdicts) = story.finish(60_000_000_000);
    told.journeys.extend(journeys);
    told.verdicts = verdicts;
    told
}

impl Told {
    /// What became of a packet, of which there is one journey.
    fn outcome_of(&self, packet: u64) -> Outcome {
        let mut journeys = self.journeys.iter().filter(|journey| journey.packet == packet);
        let outcome = journeys.next().expect("no journey").outcome;
        assert!(journeys.next().is_none(), "packet {packet} has more than one journey");
        outcome
    }
}

/// The verdict on the one flow that these hops are; a recording of them gives the same.
fn verdict(hops: Vec<Hop>) -> Verdict {
    let mut live = tell(hops);
    assert_eq!(live.verdicts.len(), 1, "{:?}", live.verdicts);
    let again = tell(live.hops);
    assert_eq!(again.verdicts, live.verdicts, "explain says something else");
    live.verdicts.remove(0)
}

fn at(hop: Hop, dev: &str) -> Hop {
    hop.on("host", dev, Some("veth")).paired()
}

fn enters(ms: u64, life: u64) -> Vec<Hop> {
    let receive = at(hop(OvsReceive, ms, life), "va").in_ovs(|o| o.recirc_id = None);
    vec![at(hop(TcIngress, ms, life), "va").enslaved(), receive]
}

fn runs(ms: u64, life: u64, actions: &str) -> Hop {
    at(hop(OvsActions, ms, life), "va").in_ovs(|o| {
        o.actions = Some(actions.to_owned());
        o.empty = Some(actions == "drop");
    })
}

fn handed_back(ms: u64, life: u64, actions: &str) -> Hop {
    let mut hop = runs(ms, life, actions);
    Arc::make_mut(hop.ovs.as_mut().unwrap()).from_userspace = true;
    hop
}

fn recirculated(mut hop: Hop, id: u32, state: &str) -> Hop {
    let ovs = Arc::make_mut(hop.ovs.as_mut().unwrap());
    (ovs.recirc_id, ovs.ct_state, ovs.ct_zone) = (Some(id), Some(state.to_owned()), Some(5));
    hop
}

fn leaves(ms: u64, life: u64) -> Vec<Hop> {
    let arrives = hop(TcIngress, ms, life).on("b", "eth0", Some("veth")).paired();
    vec![
        at(hop(OvsOutput, ms, life), "vb").in_ovs(|o| o.port = Some("vb".to_owned())),
        at(hop(TcEgress, ms, life), "vb"),
        arrives.for_whom(PktType::Host),
        hop(Consume, ms, life).on("b", "eth0", Some("veth")).taken_by("icmp_rcv"),
    ]
}

fn goes_up(ms: u64, life: u64, result: Option<&str>) -> Vec<Hop> {
    let upcall = Upcall { cmd: Some("miss".to_owned()), result: result.map(str::to_owned) };
    vec![
        at(hop(OvsUpcall, ms, life), "va").in_ovs(|o| o.upcall = Some(upcall)),
        at(hop(Consume, ms, life), "va").taken_by("ovs_dp_process_packet"),
    ]
}

fn consumed(ms: u64, life: u64) -> Hop {
    at(hop(Consume, ms, life), "va").taken_by("do_execute_actions")
}

fn all(parts: Vec<Vec<Hop>>) -> Vec<Hop> {
    parts.into_iter().flatten().collect()
}

/// Of a packet of its own.
fn packet(number: u64, hops: Vec<Vec<Hop>>) -> Vec<Hop> {
    let mark = |h: Hop| h.print(&format!("packet {number}"));
    all(hops).into_iter().map(mark).collect()
}

#[test]
fn what_is_consumed_without_an_output_was_dropped() {
    let hops = all(vec![enters(1, 1), vec![runs(2, 1, "drop"), consumed(2, 1)]]);
    let told = tell(hops.clone());
    let end = told.hops.last().unwrap().drop.clone().unwrap();
    assert!(end.silent && end.reason.is_none());
    assert_eq!(end.symbol.as_deref(), Some("do_execute_actions"));
    let v = verdict(hops);
    assert_eq!((v.outcome, v.reason), (Outcome::DroppedByOvs, None));
    assert!(
        v.text.contains("by port va: the datapath flow that it matched says drop"),
        "{}",
        v.text
    );
}

#[test]
fn a_kernel_that_gives_a_reason_gives_the_same_sentence() {
    let end = |end: Hop| verdict(all(vec![enters(1, 1), vec![runs(2, 1, "drop"), end]]));
    let silent = end(consumed(2, 1));
    let dropped = at(hop(Drop, 2, 1), "va");
    let said = end(dropped.because(Some("OVS_DROP_LAST_ACTION"), "do_execute_actions"));
    assert_eq!(said.outcome, silent.outcome);
    assert_eq!(said.text, silent.text.replace("came to.", "came to [OVS_DROP_LAST_ACTION]."));
    assert_eq!(said.r#where.unwrap().symbol, silent.r#where.unwrap().symbol);
}

#[test]
fn a_list_that_sends_it_nowhere_is_quoted() {
    let hops = all(vec![enters(1, 1), vec![runs(2, 1, "ct_clear,pop_vlan"), consumed(2, 1)]]);
    let v = verdict(hops);
    assert!(v.text.contains("its actions, `ct_clear,pop_vlan`, sent it nowhere"), "{}", v.text);
    let hops = all(vec![enters(1, 1), vec![runs(2, 1, "meter(0),3"), consumed(2, 1)]]);
    assert!(verdict(hops).text.contains("a meter found its rate exceeded"));
}

#[test]
fn an_output_that_is_not_the_last_action_is_a_clone() {
    let mut copy = at(hop(Clone, 2, 2), "va");
    copy.parent = Some(1);
    for end in [
        consumed(3, 1),
        at(hop(Drop, 3, 1), "va").because(Some("OVS_DROP_LAST_ACTION"), "do_execute_actions"),
    ] {
        let hops = vec![
            enters(1, 1),
            vec![runs(2, 1, "3,ct_clear"), copy.clone()],
            leaves(2, 2),
            vec![end],
        ];
        let told = tell(all(hops.clone()));
        assert!(told.hops.iter().all(|h| h.packet == 1), "{:?}", told.journeys);
        assert_eq!(verdict(all(hops)).outcome, Outcome::Delivered);
    }
    // Without a hook on cloning the copy is found by its bytes.
    let hops =
        all(vec![enters(1, 1), vec![runs(2, 1, "3,ct_clear")], leaves(2, 2), vec![consumed(3, 1)]]);
    assert_eq!(verdict(hops).outcome, Outcome::Delivered);
}

#[test]
fn what_comes_back_from_ovs_vswitchd_is_the_same_packet() {
    let hops =
        all(vec![enters(1, 1), goes_up(2, 1, None), vec![handed_back(90, 2, "3")], leaves(91, 2)]);
    let told = tell(hops.clone());
    assert_eq!(told.journeys.len(), 1, "{:?}", told.journeys);
    assert_eq!(told.journeys[0].outcome, Outcome::Delivered);
    assert_eq!(verdict(hops).packets, 1);
}

#[test]
fn it_comes_back_to_where_it_was_before() {
    // A miss in the second pass: both skbs run actions in each of the passes.
    let hops = all(vec![
        enters(1, 1),
        goes_up(2, 1, None),
        vec![handed_back(30, 2, "ct(zone=5),recirc(0x2)")],
        goes_up(31, 2, None)
            .into_iter()
            .map(|h| match h.hook {
                OvsUpcall => recirculated(h, 2, "new|trk"),
                _ => h,
            })
            .collect(),
        vec![recirculated(handed_back(60, 3, "3"), 2, "new|trk")],
        leaves(61, 3),
    ]);
    let told = tell(hops.clone());
    assert!(told.hops.iter().all(|h| h.packet == 1));
    assert_eq!(verdict(hops).outcome, Outcome::Delivered);
}

#[test]
fn drops_in_the_modules_functions_are_open_vswitchs() {
    let end = |symbol: &str, reason| {
        let mut end = at(hop(Drop, 3, 1), "va").because(reason, symbol);
        end.len = 1514;
        let mut out = leaves(2, 1).remove(0);
        Arc::make_mut(out.dev.as_mut().unwrap()).mtu = Some(1000);
        verdict(all(vec![enters(1, 1), vec![runs(2, 1, "3"), out, end]]))
    };
    let v = end("ovs_vport_send", Some("NOT_SPECIFIED"));
    assert_eq!((v.outcome, v.reason), (Outcome::DroppedByOvs, None));
    assert!(v.text.contains("its 1500 bytes are more than the MTU 1000 of port vb"), "{}", v.text);
    // A call of the kernel's that the compiler made a jump leaves the caller's name.
    let v = end("do_execute_actions", None);
    assert!(v.text.contains("more than the MTU 1000"));
    let place = v.r#where.unwrap();
    assert_eq!(
        (place.dev.as_deref(), place.symbol.as_deref()),
        (Some("vb"), Some("ovs_vport_send"))
    );
    let end = |symbol: &str, reason| {
        let end = at(hop(Drop, 3, 1), "va").because(reason, symbol);
        verdict(all(vec![enters(1, 1), vec![runs(2, 1, "set(eth(dst=02:00:00:00:00:01)),3"), end]]))
    };
    assert!(end("do_output", None).text.contains("is gone, or down"));
    assert!(end("ovs_ct_execute", None).text.contains("conntrack refused it"));
    assert!(
        end("ovs_ct_execute", Some("OVS_DROP_CONNTRACK")).text.contains("conntrack refused it")
    );
    assert!(end("do_execute_actions", None).text.contains("failed, or a port among them is gone"));
    assert_eq!(end("nf_hook_slow", None).outcome, Outcome::Dropped);
}

#[test]
fn a_copy_for_ovs_vswitchd_beside_an_output_is_no_loss() {
    let upcall = Upcall { cmd: Some("action".to_owned()), result: None };
    let hops = all(vec![
        enters(1, 1),
        vec![
            runs(2, 1, "userspace(pid=1),3"),
            at(hop(OvsUpcall, 2, 1), "va").in_ovs(|o| o.upcall = Some(upcall)),
        ],
        leaves(3, 1),
    ]);
    assert_eq!(verdict(hops).outcome, Outcome::Delivered);
}

#[test]
fn another_packet_that_ovs_vswitchd_hands_in_is_not_the_one_that_went_up() {
    let other = tuple("udp", "10.0.0.1", 1001, "10.0.0.2", 53);
    let hops = all(vec![
        packet(1, vec![enters(1, 1), goes_up(2, 1, None)]),
        packet(2, vec![vec![handed_back(5, 2, "3")], leaves(6, 2)])
            .into_iter()
            .map(|h| h.tuple(other))
            .collect(),
    ]);
    let told = tell(hops);
    assert_eq!(told.journeys.len(), 2);
    assert_eq!(told.verdicts.len(), 2);
}

/// The flow that `ovs-vswitchd` installs: a hop without an skb.
fn installs(ms: u64, life: u64, actions: &str) -> Hop {
    let mut answer = runs(ms, life, actions);
    (answer.hook, answer.dev, answer.netns, answer.len) = (OvsAnswer, None, None, 0);
    (answer.tuple, answer.ip, answer.fingerprint, answer.skb) = (None, None, None, None);
    Arc::make_mut(answer.ovs.as_mut().unwrap()).in_port = None;
    answer
}

#[test]
fn the_flow_that_is_installed_tells_what_was_decided() {
    let asks = |number, ms| {
        let mut hops = packet(number, vec![enters(ms, number), goes_up(ms + 1, number, None)]);
        hops.push(installs(ms + 20, number, "drop"));
        hops
    };
    let v = verdict(asks(1, 1));
    assert_eq!((v.outcome, v.packets), (Outcome::DroppedByOvs, 1));
    assert!(v.text.contains("by port va: ovs-vswitchd, which was asked, answered"), "{}", v.text);
    assert_eq!(v.r#where.unwrap().dev.as_deref(), Some("va"));
    // Of two that asked at once only one is told of the answer; a third meets the flow.
    let unanswered = packet(2, vec![enters(5, 2), goes_up(6, 2, None)]);
    let meets = packet(3, vec![enters(300, 3), vec![runs(301, 3, "drop"), consumed(301, 3)]]);
    let both: Vec<_> = asks(1, 1).into_iter().chain(unanswered).collect();
    let v = verdict(both.clone());
    assert_eq!((v.outcome, v.evidence), (Outcome::DroppedByOvs, vec![1, 2]));
    let v = verdict(both.into_iter().chain(meets).collect());
    assert_eq!((v.outcome, v.evidence), (Outcome::DroppedByOvs, vec![1, 2, 3]));
    assert!(v.text.contains("the datapath flow that it matched says drop"), "{}", v.text);
    assert!(v.text.contains("2 of them went up to ovs-vswitchd"), "{}", v.text);
}

#[test]
fn a_flow_that_is_installed_is_no_way_back() {
    let mut hops = all(vec![enters(1, 1), goes_up(2, 1, None)]);
    hops.push(installs(20, 1, "3"));
    let v = verdict(hops.clone());
    assert_eq!(v.outcome, Outcome::UpcallLost);
    assert!(v.text.contains("but did not hand it back"), "{}", v.text);
    hops.extend(all(vec![vec![handed_back(21, 2, "3")], leaves(22, 2)]));
    assert_eq!(verdict(hops).outcome, Outcome::Delivered);
}

#[test]
fn an_answer_to_a_packet_long_forgotten_is_no_packet() {
    let told = tell(vec![installs(20, 77, "drop")]);
    assert_eq!((told.journeys.len(), told.verdicts.len()), (0, 0));
}

#[test]
fn segments_come_back_one_by_one() {
    let sized = |hops: Vec<Hop>, len, seq, print: &str| -> Vec<Hop> {
        let sized = |h: Hop| {
            let mut h = h.tcp("A").print(print);
            h.len = len;
            h.tcp.as_mut().unwrap().seq = seq;
            h
        };
        hops.into_iter().map(sized).collect()
    };
    let whole = |life, seq, print| {
        sized(all(vec![enters(life, life), goes_up(life, life, None)]), 3000, seq, print)
    };
    let segment = |life: u64, seq: u32| {
        let hops = all(vec![vec![handed_back(10 + life, life, "3")], leaves(20 + life, life)]);
        sized(hops, 1500, seq, &format!("segment {seq}"))
    };
    // Numbers wrap around.
    let (one, two) = (u32::MAX - 1000, 2000);
    let told = tell(all(vec![
        whole(1, one, "one"),
        whole(2, two, "two"),
        segment(3, one),
        segment(4, one.wrapping_add(1500)),
        segment(5, two),
        segment(6, two + 1500),
    ]));
    assert_eq!(told.journeys.len(), 2, "{:?}", told.journeys);
    assert!(told.journeys.iter().all(|j| j.outcome == Outcome::Delivered));
    let of = |life| told.hops.iter().find(|h| h.life == life).unwrap().packet;
    assert_eq!([of(3), of(4), of(5), of(6)], [of(1), of(1), of(2), of(2)]);
    // What is longer than what went up, or behind it, is no part of it.
    for other in [sized(vec![handed_back(10, 9, "3")], 5000, one, "longer"), segment(9, 9000)] {
        assert_eq!(tell(all(vec![whole(1, one, "one"), other])).journeys.len(), 2);
    }
}

mod fragments;
mod lost_upcalls;
mod told;
