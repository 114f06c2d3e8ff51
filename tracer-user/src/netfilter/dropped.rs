//! A packet that a rule dropped: what the rules can ask of it.

use tracer_core::reconstruct::sight::Catalog;
use tracer_core::record::{Hop, Tuple};
use tracer_core::ruleset::Facts;
use tracer_core::verdict::hook::{Hook, HookPoint, Layer};

/// A packet that a rule dropped.
#[derive(Debug)]
pub(super) struct Dropped {
    pub tuple: Tuple,
    pub facts: Facts,
    /// Whose rules were being run.
    pub families: Vec<&'static str>,
    /// Those of nftables, and no others.
    pub in_nft: bool,
}

impl Dropped {
    /// `None` where the hop shows no hook or no IP packet.
    pub fn of(hop: &Hop) -> Option<Self> {
        let sight = Catalog::default().sight(hop);
        let cause = sight.cause.as_deref()?;
        let facts = Facts::of(hop, Hook::of(cause)?)?;
        Some(Self {
            tuple: hop.tuple?,
            families: families(cause.symbols(), &facts),
            in_nft: sight.symbol().is_some_and(|s| s.starts_with("nft_")),
            facts,
        })
    }
}

/// The families whose rules were being run, by the function that runs them
/// (`net/netfilter/nft_chain_filter.c`); where it is not on the stack, those that see such packets.
fn families<'a>(symbols: impl Iterator<Item = &'a str>, facts: &Facts) -> Vec<&'static str> {
    let told = symbols.filter_map(|symbol| match symbol {
        "nft_do_chain_inet" | "nft_do_chain_inet_ingress" => Some("inet"),
        "nft_do_chain_ipv4" => Some("ip"),
        "nft_do_chain_ipv6" => Some("ip6"),
        "nft_do_chain_bridge" => Some("bridge"),
        "nft_do_chain_netdev" => Some("netdev"),
        "nft_do_chain_arp" => Some("arp"),
        _ => None,
    });
    // The innermost: a bridge's hook is still being run while IP's is.
    if let Some(told) = { told }.next() {
        return vec![told];
    }
    match (facts.hook.layer, facts.hook.point) {
        (Layer::Device, HookPoint::Egress) => vec!["netdev"],
        (Layer::Device, _) => vec!["netdev", "inet"],
        (Layer::Bridge, _) => vec!["bridge"],
        (Layer::Arp, _) => vec!["arp"],
        (Layer::Bridged | Layer::Ip, _) => vec!["inet", if facts.is_v4() { "ip" } else { "ip6" }],
    }
}
