//! Which rule dropped a packet.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Netns, Tuple};

/// The rules of one hook that may have dropped a packet.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netfilter {
    /// Nanoseconds since the trace began: when the rules were read, or found to be still those that
    /// were read before.
    pub ts: u64,
    /// The namespace.
    pub netns: Netns,
    /// The packet's tuple when it was dropped.
    pub tuple: Tuple,
    /// The hook, as nft calls it: `prerouting` `input` `forward` `output` `postrouting` `ingress`
    /// `egress`; `bridge forward` where it is one of a bridge, `arp input` where one of ARP.
    pub hook: String,
    /// How the rules were found: `rules` (those of the namespace were held against the packet).
    pub way: String,
    /// The candidates, in the order in which the packet met them. One: that is the rule.
    #[serde(default)]
    pub rules: Arc<[Rule]>,
    /// Whether the packet surely comes to the first of them, and surely matches it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certain: bool,
    /// There are so many rules that not all were held against the packet, or so many candidates that not all are here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Whose rules were held against the packet: families of nftables, and `iptables` or
    /// `ip6tables` for those of the older kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Why no rules could be read.
    pub failed: Option<String>,
}

/// A rule of nftables or iptables, or the policy of a chain.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `inet` `ip` `ip6` `bridge` `netdev` `arp`, or `iptables` `ip6tables`.
    pub family: String,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// nftables' handle; absent for a chain's policy.
    pub handle: Option<u64>,
    /// iptables' number of the rule in its chain, from 1.
    pub number: Option<u64>,
    /// Priority of the base chain.
    pub priority: Option<i64>,
    /// The rule as nft or iptables-save print it.
    pub text: Option<String>,
    /// The rules by which the packet came to the chain, the first one in the chain that the hook runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Jump>,
}

/// A rule that jumps, or goes, to another chain of its table.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// The chain that it is in.
    pub chain: String,
    /// As nft or iptables-save print it.
    pub text: Option<String>,
}
