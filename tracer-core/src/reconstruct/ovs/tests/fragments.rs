//! Datagrams in fragments.

use super::{all, at, enters, goes_up, handed_back, installs, recirculated, runs, tell, verdict};
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{Clone, Drop, OvsOutput, TcIngress};
use crate::record::{Hop, Outcome, PktType};

#[test]
fn a_fragment_that_is_to_be_dropped_is_lost_though_the_first_came_back() {
    let piece = |hops: Vec<Hop>, offset| -> Vec<Hop> {
        hops.into_iter().map(|h| h.fragment(offset, offset == 0)).collect()
    };
    let asks = |life| all(vec![enters(life, life), goes_up(life, life, None)]);
    let arrives = hop(TcIngress, 32, 3).on("b", "eth0", Some("veth")).paired();
    let back = vec![
        handed_back(30, 3, "3"),
        at(hop(OvsOutput, 31, 3), "vb").in_ovs(|o| o.port = Some("vb".to_owned())),
        arrives.for_whom(PktType::Host),
    ];
    let told = tell(all(vec![
        piece(asks(1), 0),
        piece(asks(2), 1480),
        vec![installs(20, 1, "3")],
        piece(back, 0),
        vec![installs(40, 2, "drop")],
    ]));
    let outcomes: Vec<_> = told.journeys.iter().map(|j| j.outcome).collect();
    assert_eq!(outcomes, [Outcome::DroppedByOvs]);
}

#[test]
fn what_was_put_together_of_fragments_dies_as_a_whole() {
    let freed =
        |life| at(hop(Drop, 9, life), "va").because(Some("NOT_SPECIFIED"), "skb_release_data");
    let piece = |life, offset| -> Vec<Hop> {
        let list = runs(1, life, "ct(zone=4),recirc(0x4)");
        let hops = all(vec![enters(1, life), vec![list, freed(life)]]);
        hops.into_iter().map(|h| h.fragment(offset, offset == 0)).collect()
    };
    let (first, mut second) = (piece(1, 0), piece(2, 1480));
    // The last one's skb becomes the whole, a copy of it the piece.
    second.pop();
    let mut copy = at(hop(Clone, 2, 3), "va").fragment(1480, false);
    copy.parent = Some(2);
    second.extend([copy, freed(3).fragment(1480, false)]);
    let second_freed = second.pop().unwrap();
    let told = |end: Vec<Hop>| {
        let whole = end
            .into_iter()
            .map(|h| if h.ovs.is_some() { recirculated(h, 4, "new|trk") } else { h });
        let mut hops: Vec<_> = first[..first.len() - 1].iter().chain(&second).cloned().collect();
        hops.extend(whole);
        hops.extend([first.last().unwrap().clone(), second_freed.clone()]);
        verdict(hops)
    };
    // It meets a flow that drops.
    let ends = at(hop(Drop, 8, 2), "va");
    let ends = ends.because(Some("OVS_DROP_LAST_ACTION"), "do_execute_actions");
    let v = told(vec![runs(8, 2, "drop"), ends]);
    assert_eq!(v.reason.as_deref(), Some("OVS_DROP_LAST_ACTION"), "{}", v.text);
    // It goes up, and is to be dropped.
    let goes_up = goes_up(7, 2, None).remove(0);
    let v = told(vec![goes_up, installs(8, 2, "drop")]);
    assert_eq!(v.outcome, Outcome::DroppedByOvs, "{}", v.text);
}
