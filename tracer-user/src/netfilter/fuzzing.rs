//! What a namespace's own tools and conntrack answer, for the fuzz targets.

use std::net::IpAddr;
use std::sync::LazyLock;

use super::{ctnetlink, nfnetlink, routing};
use tracer_core::record::{CtEntry, Eth, Hop, Mac, Rule};
use tracer_core::ruleset::{Candidate, Facts, Ruleset, Steps, parse_saved};
use tracer_core::verdict::hook::{Hook, HookPoint, Layer};

/// Rules that may have dropped a packet.
#[derive(Clone, Debug)]
pub struct Blamed {
    /// In the order in which the packet met them; whether it surely was that one.
    pub rules: Vec<(Rule, bool)>,
}

/// Packets to hold rules against, as recordings have them.
const PACKETS: [&str; 4] = [
    r#"{"ts":0,"cpu":0,"hook":"drop","len":60,"dev":{"ifindex":2,"name":"eth0","master":"br0"},
        "tuple":{"proto":"tcp","src":"10.0.0.1","sport":4000,"dst":"10.0.0.2","dport":80},
        "ip":{"ttl":64,"len":60},"tcp":{"flags":"S","seq":1,"ack":0},"ct":{"state":"new"}}"#,
    r#"{"ts":0,"cpu":0,"hook":"drop","len":48,"dev":{"ifindex":2,"name":"eth0"},
        "tuple":{"proto":"udp","src":"fd00::1","sport":5,"dst":"fd00::2","dport":53},
        "ip":{"ttl":64,"len":48}}"#,
    r#"{"ts":0,"cpu":0,"hook":"drop","len":60,"dev":{"ifindex":2,"name":"eth0"},
        "eth":{"src":"02:00:00:00:00:01","dst":"02:00:00:00:00:02"},
        "tuple":{"proto":"icmp","src":"10.0.0.1","dst":"10.0.0.2"},
        "ip":{"ttl":64,"len":60},"icmp":{"type":8,"code":0},"ct":{"state":"established"}}"#,
    r#"{"ts":0,"cpu":0,"hook":"drop","len":42,"dev":{"ifindex":2,"name":"eth0"},
        "tuple":{"proto":"arp","src":"10.0.0.1","dst":"10.0.0.2"}}"#,
];
/// Where each of them died.
const HOOKS: [Hook; 4] = [
    Hook { point: HookPoint::Forward, layer: Layer::Ip },
    Hook { point: HookPoint::Input, layer: Layer::Ip },
    Hook { point: HookPoint::Ingress, layer: Layer::Device },
    Hook { point: HookPoint::Input, layer: Layer::Arp },
];
const FAMILIES: [&str; 6] = ["inet", "ip", "ip6", "bridge", "netdev", "arp"];

static FACTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    let hops = PACKETS.iter().map(|json| serde_json::from_str::<Hop>(json).ok());
    hops.zip(HOOKS).filter_map(|(hop, hook)| Facts::of(&hop?, hook)).collect()
});

/// For each of some packets the rules that may have dropped it, by `nft -j list ruleset`,
/// `nft -a list ruleset` and `iptables-nft-save`. `None`: one of them is not understood.
pub fn nft(json: &[u8], readable: &[u8], saved: &[u8]) -> Option<Vec<Blamed>> {
    let mut rules = Ruleset::parse(json).ok()?;
    rules.learn_texts(readable).ok()?;
    for v6 in [false, true] {
        rules.learn_foreign(v6, parse_saved(saved).ok()?);
    }
    let mut steps = Steps::default();
    let blame = |facts| blamed(rules.candidates(facts, &FAMILIES, &mut steps));
    Some(FACTS.iter().map(blame).collect())
}

/// The same by `iptables-save`.
pub fn iptables(saved: &[u8]) -> Option<Vec<Blamed>> {
    let rules = parse_saved(saved).ok()?;
    let mut steps = Steps::default();
    Some(FACTS.iter().map(|facts| blamed(rules.candidates(facts, &mut steps))).collect())
}

fn blamed(candidates: Vec<Candidate>) -> Blamed {
    Blamed { rules: candidates.into_iter().map(|c| (c.rule, c.certain)).collect() }
}

/// What follows the header of a netlink message of conntrack's: an error, or an entry.
pub fn conntrack(answer: &[u8]) -> (Option<i32>, CtEntry) {
    (nfnetlink::error(answer), ctnetlink::decode_entry(answer))
}

/// `ip -j addr`, `bridge -j fdb` and `ip -j -d link`, each of which may be given for the other.
pub fn iproute(json: &str) -> (Option<(String, String)>, [Option<IpAddr>; 2]) {
    let eth = Eth { src: Mac([0; 6]), dst: Mac([2, 0, 0, 0, 0, 9]) };
    let far_end = routing::entry(json.as_bytes(), Some(eth)).ok().flatten();
    (routing::holder(json), [far_end, routing::remote(json)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_held_against_the_rules() {
        assert_eq!(FACTS.len(), PACKETS.len());
    }
}
