use crate::reconstruct::Story;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::HookName::{Deliver, Drop, TcEgress, TcIngress};
use crate::record::{HookName, Hop, Outcome, Tuple, Verdict};

fn request() -> Tuple {
    tuple("udp", "10.0.0.1", 4000, "10.0.0.2", 9000)
}

/// A packet at `eth0` of a namespace; its fingerprint is its number.
fn at(netns: &str, hook: HookName, ms: u64, packet: u64, shows: Tuple) -> Hop {
    hop(hook, ms, packet)
        .on(netns, "eth0", Some("veth"))
        .paired()
        .print(&packet.to_string())
        .tuple(shows)
}

/// A packet from one namespace's socket to another's.
fn sent(ms: u64, packet: u64, shows: Tuple, from: &str, to: &str) -> Vec<Hop> {
    let place = |netns, hook, later| at(netns, hook, ms + later, packet, shows);
    vec![place(from, TcEgress, 0), place(to, TcIngress, 1), place(to, Deliver, 2)]
}

fn told(hops: impl IntoIterator<Item = Hop>) -> Vec<Verdict> {
    let mut story = Story::new();
    for mut hop in hops {
        story.observe(&mut hop);
    }
    story.finish(20_000_000_000).1
}

fn counts(verdicts: &[Verdict]) -> Vec<(Outcome, u64, u64)> {
    verdicts.iter().map(|v| (v.outcome, v.packets, v.delivered)).collect()
}

#[test]
fn networks_that_do_not_meet_may_use_the_same_addresses() {
    let answer = request().reversed();
    let mut hops = Vec::new();
    hops.extend(sent(1, 1, request(), "a1", "b1"));
    hops.push(at("a2", TcEgress, 2, 2, request()));
    hops.push(at("b2", TcIngress, 2, 2, request()));
    hops.push(at("b2", Drop, 2, 2, request()).because(Some("NETFILTER_DROP"), "nft_do_chain"));
    hops.extend(sent(10, 3, answer, "b1", "a1"));
    hops.extend(sent(20, 4, request(), "a2", "b2"));
    hops.extend(sent(30, 5, answer, "b2", "a2"));
    let verdicts = told(hops);
    let wanted = [(Outcome::Delivered, 2, 2), (Outcome::Dropped, 3, 2)];
    assert_eq!(counts(&verdicts), wanted, "{verdicts:#?}");
    assert!(verdicts.iter().all(|v| v.forward == Some(request())));
}

#[test]
fn their_translations_may_be_the_same_too() {
    let behind = tuple("udp", "10.0.0.1", 4000, "10.1.0.9", 53);
    let through = |ms, packet, from, router, to| {
        let mut hops = vec![at(from, TcEgress, ms, packet, request())];
        hops.push(at(router, TcIngress, ms, packet, request()));
        hops.push(at(router, TcEgress, ms, packet, behind));
        hops.extend([TcIngress, Deliver].map(|hook| at(to, hook, ms, packet, behind)));
        hops
    };
    let mut hops = through(1, 1, "a1", "r1", "b1");
    hops.extend(through(2, 2, "a2", "r2", "b2"));
    // Neither router undoes it.
    for (packet, to) in [(3, "a2"), (4, "a2")] {
        let reply = behind.reversed();
        hops.push(at("b2", TcEgress, packet, packet, reply));
        hops.push(at(to, TcIngress, packet, packet, reply));
        let end = at(to, Drop, packet, packet, reply);
        hops.push(end.because(Some("NO_SOCKET"), "__udp4_lib_rcv"));
    }
    let verdicts = told(hops);
    let wanted = [(Outcome::Delivered, 1, 1), (Outcome::ReplyNotTranslated, 3, 1)];
    assert_eq!(counts(&verdicts), wanted, "{verdicts:#?}");
}

#[test]
fn one_flow_of_which_a_part_is_not_seen_stays_one() {
    let unknown = |mut hop: Hop| {
        hop.fingerprint = None;
        hop
    };
    // Nothing joins what leaves the client to what comes to the server.
    let mut hops = vec![unknown(at("client", TcEgress, 1, 1, request()))];
    hops.extend([TcIngress, Deliver].map(|hook| unknown(at("server", hook, 2, 2, request()))));
    hops.push(at("server", TcEgress, 3, 3, request().reversed()));
    let verdicts = told(hops);
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
}

#[test]
fn a_reply_that_comes_by_another_way_is_of_the_flow() {
    let answer = request().reversed();
    // The first request dies on its way; the server sends all the same, by another router.
    let lost = at("r1", Drop, 1, 1, request()).because(Some("NETFILTER_DROP"), "nft_do_chain");
    let mut hops = vec![at("a", TcEgress, 1, 1, request()), lost];
    hops.extend(["b", "r2"].map(|netns| at(netns, TcEgress, 5, 2, answer)));
    hops.extend([TcIngress, Deliver].map(|hook| at("a", hook, 6, 2, answer)));
    let verdicts = told(hops);
    assert_eq!(counts(&verdicts), [(Outcome::Dropped, 2, 1)], "{verdicts:#?}");
    // It enters the node where nothing of the flow has been, and dies there.
    let mut hops = sent(1, 1, request(), "a", "b");
    hops.push(at("r2", TcIngress, 5, 2, answer));
    hops.push(at("r2", Drop, 5, 2, answer).because(Some("IP_RPFILTER"), "ip_route_input_slow"));
    let verdicts = told(hops);
    assert_eq!(counts(&verdicts), [(Outcome::Dropped, 2, 1)], "{verdicts:#?}");
}

#[test]
fn bridges_of_one_namespace_are_networks_of_their_own() {
    let port = |ms, packet, dev: &str, bridge: &str, hook| {
        let mut hop = hop(hook, ms, packet).on("host", dev, Some("tun")).tuple(request());
        std::sync::Arc::make_mut(hop.dev.as_mut().unwrap()).master = Some(bridge.to_owned());
        hop.print(&packet.to_string())
    };
    let taken = |mut hop: Hop| {
        hop.hook = HookName::Consume;
        hop.taken_by("tun_do_read")
    };
    let through = |packet, from, to, bridge| {
        let out = port(packet, packet, to, bridge, TcEgress);
        vec![port(packet, packet, from, bridge, TcIngress), out.clone(), taken(out)]
    };
    let flows = |bridges: [&'static str; 2]| {
        let mut hops = through(1, "tap1", "tap2", bridges[0]);
        hops.extend(through(2, "tap3", "tap4", bridges[1]));
        told(hops).len()
    };
    assert_eq!((flows(["br0", "br1"]), flows(["br0", "br0"])), (2, 1));
}
