//! What conntrack knows of a packet.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Netns, Tuple};

/// The conntrack entry that a packet carries at a hop.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ct {
    /// How the packet relates to the connection: `new` `established` `reply` `related`
    /// `related-reply` `untracked`.
    pub state: Option<String>,
    /// Zone.
    pub zone: Option<u16>,
    /// Connection mark.
    pub mark: Option<u32>,
    /// How the connection's packets look where it began.
    pub orig: Option<Tuple>,
    /// How its replies look on their arrival, before they are translated back.
    pub reply: Option<Tuple>,
    /// ICMP identifiers of `orig` and `reply`.
    pub icmp_ids: Option<[u16; 2]>,
    /// Which ends are translated: `src`, `dst`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nat: Vec<String>,
    /// The entry's status bits by the kernel's names, as `confirmed`, `seen-reply`, `src-nat-done`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Labels, 128 bits as hex, bit 0 lowest; absent where none is set.
    pub labels: Option<String>,
    /// Kernel address of the entry, as text: tells one entry from a later one of the same tuples.
    pub entry: Option<String>,
}

/// What a namespace's conntrack said when it was asked about a tuple.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    /// Nanoseconds since the trace began.
    pub ts: u64,
    /// The namespace.
    pub netns: Netns,
    /// The tuple that was asked about; absent where only the table's size was.
    pub tuple: Option<Tuple>,
    /// The zone that it was looked for in.
    pub zone: Option<u16>,
    /// The entry that has this tuple, in either direction; absent when there is none.
    pub entry: Option<CtEntry>,
    /// How many entries the namespace has.
    pub count: Option<u32>,
    /// How many it may have (`net.netfilter.nf_conntrack_max`).
    pub max: Option<u32>,
    /// Why there is no answer.
    pub failed: Option<String>,
}

/// An entry of the table.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CtEntry {
    /// How the connection's packets look where it began.
    pub orig: Option<Tuple>,
    /// How its replies look on their arrival.
    pub reply: Option<Tuple>,
    /// Zone.
    pub zone: Option<u16>,
    /// Connection mark.
    pub mark: Option<u32>,
    /// `IPS_*` bits of `include/uapi/linux/netfilter/nf_conntrack_common.h`.
    #[serde(default)]
    pub status: u32,
    /// Seconds until it goes, unless packets keep it.
    pub timeout: Option<u32>,
}
