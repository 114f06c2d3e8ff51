//! What a namespace's own tools and conntrack answer, for the fuzz targets.

use std::net::IpAddr;
use std::sync::LazyLock;

use super::rules::{Candidate, Facts, Ruleset, parse_saved};
use super::{ctnetlink, routing};
use crate::model::{CtEntry, Eth, Hop, Mac, Rule};
use crate::verdict::hook::{Hook, HookPoint, Layer};

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
/// `nft -a list ruleset` and `iptables-nft-save`. `None`: nothing of nft's.
pub fn nft(json: &[u8], readable: &str, saved: &str) -> Option<Vec<Blamed>> {
    let rules = Ruleset::parse(json, readable, parse_saved(saved))?;
    Some(FACTS.iter().map(|facts| blamed(rules.candidates(facts, &FAMILIES))).collect())
}

/// The same by `iptables-save`.
pub fn iptables(saved: &str) -> Vec<Blamed> {
    let rules = parse_saved(saved);
    FACTS.iter().map(|facts| blamed(rules.candidates(facts))).collect()
}

fn blamed(candidates: Vec<Candidate>) -> Blamed {
    Blamed { rules: candidates.into_iter().map(|c| (c.rule, c.certain)).collect() }
}

/// What follows the header of a netlink message of conntrack's: an error, or an entry.
pub fn conntrack(answer: &[u8]) -> (Option<i32>, CtEntry) {
    (ctnetlink::error(answer), ctnetlink::decode_entry(answer))
}

/// `ip -j addr`, `bridge -j fdb` and `ip -j -d link`, each of which may be given for the other.
pub fn iproute(json: &str) -> (Option<(String, String)>, [Option<IpAddr>; 2]) {
    let eth = Eth { src: Mac([0; 6]), dst: Mac([2, 0, 0, 0, 0, 9]) };
    (routing::holder(json), [routing::entry(json, Some(eth)), routing::remote(json)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_held_against_the_rules() {
        assert_eq!(FACTS.len(), PACKETS.len());
    }
}
