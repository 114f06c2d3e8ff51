//! Traffic through Open vSwitch that all arrives, of which events are lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{
    Clone, Consume, Deliver, Drop, OvsActions, OvsAnswer, OvsOutput, OvsReceive, OvsUpcall,
    TcEgress, TcIngress,
};
use crate::record::{HookName, Hop, Lost, PktType, Upcall, Verdict};
use crate::verdict::exit_code;

/// One hop after the other, 10 µs apart, of one packet.
struct Way {
    us: u64,
    print: &'static str,
    hops: Vec<Hop>,
}

impl Way {
    fn begun(ms: u64, print: &'static str) -> Self {
        Self { us: ms * 1000, print, hops: Vec::new() }
    }

    fn at(mut self, hook: HookName, life: u64, set: impl FnOnce(Hop) -> Hop) -> Self {
        self.us += 10;
        let mut hop = set(hop(hook, 0, life)).print(self.print);
        hop.ts = self.us * 1000;
        self.hops.push(hop);
        self
    }

    /// Out of port `dev`, to a host behind it.
    fn sent_by(self, life: u64, dev: &str, netns: &str) -> Self {
        self.at(OvsOutput, life, |h| h.on("host", dev, Some("veth")).paired().in_ovs(|_| {}))
            .at(TcEgress, life, |h| port(h, dev))
            .at(TcIngress, life, |h| h.on(netns, "eth0", Some("veth")).paired())
    }

    fn delivered(self, life: u64, netns: &str) -> Self {
        self.at(Deliver, life, |h| h.on(netns, "eth0", Some("veth")).paired())
    }

    fn received(self, life: u64) -> Self {
        self.at(TcEgress, life, |h| h.on("client", "eth0", Some("veth")).paired())
            .at(TcIngress, life, |h| port(h, "va"))
            .at(OvsReceive, life, |h| port(h, "va").in_ovs(|_| {}))
    }

    fn run(self, life: u64, recirc_id: u32, actions: &str, from_userspace: bool) -> Self {
        self.at(OvsActions, life, |h| {
            port(h, "va").in_ovs(|ovs| {
                ovs.recirc_id = Some(recirc_id);
                ovs.actions = Some(actions.to_owned());
                ovs.from_userspace = from_userspace;
            })
        })
    }
}

/// A port of the switch.
fn port(hop: Hop, dev: &str) -> Hop {
    let mut hop = hop.on("host", dev, Some("veth")).paired();
    Arc::make_mut(hop.dev.as_mut().unwrap()).master = Some("ovs-system".to_owned());
    hop
}

/// What goes up and comes back, what meets its flow, and what is flooded to a host that has no use for it
/// too: all of them arrive.
fn traffic() -> Vec<Hop> {
    let missed = Way::begun(1, "missed")
        .received(1)
        .at(OvsUpcall, 1, |h| {
            port(h, "va").in_ovs(|ovs| {
                ovs.upcall = Some(Upcall { cmd: Some("miss".to_owned()), result: None });
            })
        })
        .at(Consume, 1, |h| port(h, "va").taken_by("ovs_dp_process_packet"))
        .at(OvsAnswer, 1, |h| h.in_ovs(|ovs| ovs.actions = Some("3".to_owned())))
        .run(2, 0, "3", true)
        .sent_by(2, "vb", "server")
        .delivered(2, "server");
    let met = Way::begun(3, "met")
        .received(3)
        .run(3, 0, "ct(zone=1),recirc(0x2)", false)
        .run(3, 2, "3", false)
        .sent_by(3, "vb", "server")
        .delivered(3, "server");
    let flooded = Way::begun(5, "flooded")
        .received(4)
        .run(4, 0, "3,4", false)
        .at(Clone, 5, |h| {
            let mut h = port(h, "va");
            h.parent = Some(4);
            h
        })
        .sent_by(5, "vb", "server")
        .delivered(5, "server")
        .sent_by(4, "vc", "other")
        .at(Drop, 4, |h| {
            let h = h.on("other", "eth0", Some("veth")).for_whom(PktType::OtherHost);
            h.because(Some("OTHERHOST"), "ip_rcv_core")
        });
    [missed, met, flooded].into_iter().flat_map(|way| way.hops).collect()
}

/// What is made of it where only these hops were seen, and the others are told to be lost.
fn judged(kept: &[bool]) -> (u8, Vec<Verdict>) {
    let mut story = Story::new();
    let mut pending: BTreeMap<u8, Lost> = BTreeMap::new();
    let mut lost = false;
    for (mut hop, kept) in traffic().into_iter().zip(kept) {
        if !kept {
            lost = true;
            let (hook, since) = (Some(hop.hook), Some(hop.ts));
            let new = Lost { hook, since, until: since, ..Lost::at(hop.ts) };
            pending.entry(hop.hook as u8).or_insert(new).until = since;
            continue;
        }
        for lost in std::mem::take(&mut pending).values() {
            story.lost(lost);
        }
        story.observe(&mut hop);
    }
    for lost in pending.values() {
        story.lost(lost);
    }
    let verdicts = story.finish(90_000_000_000).1;
    (exit_code(&verdicts, story.packets() > 0, lost), verdicts)
}

#[test]
fn all_of_it_arrives() {
    let (status, verdicts) = judged(&vec![true; traffic().len()]);
    assert_eq!(status, 0, "{verdicts:#?}");
    assert_eq!(verdicts.iter().map(|v| (v.packets, v.delivered)).collect::<Vec<_>>(), [(3, 3)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_not_seen_of_it_is_no_loss(
        kept in (1_u32..=99).prop_flat_map(|percent| {
            let weight = f64::from(percent) / 100.0;
            prop::collection::vec(prop::bool::weighted(weight), traffic().len())
        })
    ) {
        let (status, verdicts) = judged(&kept);
        prop_assert!(matches!(status, 0 | 12 | 13), "{status}: {verdicts:#?}");
    }
}
