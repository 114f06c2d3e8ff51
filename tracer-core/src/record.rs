//! The records of a trace: what is written with `--json` and read back by `explain`.
//!
//! One NDJSON object per record, told apart by `"type"`; the keys are the interface that scripts
//! rely on, so they are only ever added to. Every optional field is absent when it is unknown.

mod conntrack;
mod datapath;
mod drops;
mod headers;
mod hop;
mod netfilter;
mod owner;
mod routing;
mod shared;
mod words;
pub mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

pub use conntrack::{Conntrack, Ct, CtEntry};
pub use datapath::{Ovs, Upcall};
pub use drops::Drops;
pub use headers::{Arp, Eth, Icmp, Ip, Tcp, Tunnel, Tuple, Vlan};
pub use hop::{Dev, Drop, HookName, Hop, Netns, Peer, Place};
pub use netfilter::{Jump, Netfilter, Rule};
pub use owner::{Acl, LogicalFlow, OvsTrace, OvsVlan, OvsVlanPort, TraceKind};
pub use routing::Routing;
pub use words::{Address, ArpOp, Fingerprint, Mac, PktType, Proto, TcpFlags, Via};

/// One line of a recording, to be written. To read one, its `"type"` is looked at first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record<'a> {
    /// The first line: what was traced, where and with what.
    Meta(Meta),
    /// One packet at one hook.
    Hop(&'a Hop),
    /// What Open vSwitch's tables do with a packet that died there.
    OvsTrace(Box<OvsTrace>),
    /// What became of one flow.
    Verdict(Box<Verdict>),
    /// Flows that were judged and are not told of one by one.
    Summary(Summary),
    /// Drops of one kind, counted (`lasthop drops`).
    Drops(Box<Drops>),
    /// Events that could not be delivered.
    Lost(Lost),
    /// What a namespace's conntrack said when it was asked.
    Conntrack(Box<Conntrack>),
    /// Which rules may have dropped a packet.
    Netfilter(Box<Netfilter>),
    /// What a namespace said of the destination of a packet that it did not send on.
    Routing(Box<Routing>),
}

/// The head of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of this format: 1.
    pub version: u32,
    /// `lasthop` and its version.
    pub tool: String,
    /// Kernel release, as `uname -r` says it.
    pub kernel: String,
    /// Name of the node.
    pub hostname: String,
    /// Wall-clock time of the beginning, RFC 3339, UTC.
    pub start: String,
    /// `CLOCK_MONOTONIC` of the beginning, nanoseconds, as text: it does not fit 2^53.
    pub start_monotonic_ns: String,
    /// When all probes were attached, nanoseconds since the beginning: of what was seen before that, the
    /// end may not have been. Absent in recordings of an earlier lasthop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    /// The filter as it was typed.
    pub filter: String,
    /// The probes that were attached, by name.
    #[serde(default)]
    pub probes: Vec<String>,
    /// Size of the ring buffer, bytes. Absent in recordings of an earlier lasthop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<u64>,
    /// What this node could not show, each a sentence (a hook kind that found no way to attach).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<String>,
    /// The hooks of packets that found no way to attach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<HookName>,
}

/// What became of a packet, or of a flow; from harmless to severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// To a socket, to the host stack, or to a guest through a tap.
    Delivered,
    /// Left through a device whose other end is not on this node.
    Forwarded,
    /// The trace ended first.
    InFlight,
    /// What would have told was lost by lasthop itself, or could not be waited for.
    Unknown,
    /// Last seen at a hop, and nothing freed it on the record.
    Vanished,
    /// Went up to `ovs-vswitchd` and never came back.
    UpcallLost,
    /// Arrived with a destination MAC that is not the receiver's.
    Misaddressed,
    /// The kernel dropped it.
    Dropped,
    /// Open vSwitch dropped it.
    DroppedByOvs,
    /// A reply reached the client's side untranslated.
    ReplyNotTranslated,
}

/// One packet's whole way, a [`Record`] of its own: `P` is what is on record as a [`Where`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "journey", bound = "P: written::Repeats")]
pub struct Journey<P> {
    /// Number of the packet.
    pub packet: u64,
    /// Number of its flow, from 1.
    pub flow: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// How many hops it made.
    pub hops: u32,
    /// Where it was seen first.
    #[serde(serialize_with = "written::write")]
    pub first: P,
    /// Where it was seen last, or where it died.
    #[serde(serialize_with = "written::write")]
    pub last: P,
}

/// A place on the packet's way, for a person and a script.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Where {
    /// Name of the network namespace, or its inode as text where it has no name.
    pub netns: Option<String>,
    /// Device.
    pub dev: Option<String>,
    /// Kind of place.
    pub hook: Option<HookName>,
    /// Kernel function.
    pub symbol: Option<String>,
    /// Open vSwitch bridge.
    pub bridge: Option<String>,
}

/// What became of one flow.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// When the trace ended, nanoseconds since it began: until then nothing more was seen of the
    /// flow. `explain` reads it back, to tell a packet on its way from one that vanished.
    #[serde(default)]
    pub ts: u64,
    /// Number of the flow.
    pub flow: u64,
    /// The worst that befell it.
    pub outcome: Outcome,
    /// Packets seen.
    pub packets: u64,
    /// Packets delivered or forwarded.
    pub delivered: u64,
    /// ICMP errors about the flow, which are not among `packets`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub related: u64,
    /// The flow as its first packet showed it.
    pub forward: Option<Tuple>,
    /// The flow as it was after translation, when it was translated.
    pub translated: Option<Tuple>,
    /// Where it happened.
    pub r#where: Option<Where>,
    /// `reply-not-translated`: where the reverse of the translation was due and was not made.
    pub due: Option<Where>,
    /// The kernel's reason.
    pub reason: Option<String>,
    /// One plain sentence.
    pub text: String,
    /// Commands worth running next.
    #[serde(default)]
    pub next: Vec<String>,
    /// Packets that show it.
    #[serde(default)]
    pub evidence: Vec<u64>,
    /// What else befell packets of the flow, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Also>,
    /// What Open vSwitch's tables do with it, where they were asked.
    pub rule: Option<Box<OvsTrace>>,
    /// The record is incomplete: events were lost while this flow was traced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// Harm that befell packets of a flow besides what its verdict is about.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Also {
    /// What became of them.
    pub outcome: Outcome,
    /// How many.
    pub packets: u64,
    /// Where it happened.
    pub r#where: Where,
    /// The kernel's reason.
    pub reason: Option<String>,
    /// Packets that show it.
    pub evidence: Vec<u64>,
}

/// Flows that were judged and are not told of one by one, since the last such record: in a flood of ever
/// new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Nanoseconds since the trace began.
    pub ts: u64,
    /// How many flows.
    pub flows: u64,
    /// Packets seen in them.
    pub packets: u64,
    /// Packets of theirs that were delivered or forwarded.
    pub delivered: u64,
    /// How many flows have each outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
}

/// What is absent from a record when it is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Events that could not be delivered, or that may not have been seen.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Processor.
    pub cpu: u32,
    /// How many, since the last such record of that processor (and of that hook and kind).
    pub count: u64,
    /// When that was told, nanoseconds since the trace began. It comes before every hop that is later.
    pub ts: u64,
    /// Why: `ring-full`, `unreadable`, `identity-full`, `missed` (a program was interrupted by what it
    /// was to see), `unread` (the trace was ended before it was), `identity-evicted` and
    /// `learned-evicted` (followed packets and learned tuples that were used last at that time may have
    /// been forgotten), `drops-not-held`.
    pub what: Option<String>,
    /// At which hook; absent where any may be meant, and in recordings of an earlier lasthop.
    #[serde(default)]
    pub hook: Option<HookName>,
    /// When the first of them was lost, nanoseconds since the trace began. Absent in recordings of an
    /// earlier lasthop: then all that follows may lack something.
    #[serde(default)]
    pub since: Option<u64>,
    /// When the last of them was.
    #[serde(default)]
    pub until: Option<u64>,
}

impl Lost {
    /// One, told of at `ts`; of which nothing more is known.
    pub fn at(ts: u64) -> Self {
        Self { cpu: 0, count: 1, ts, what: None, hook: None, since: None, until: None }
    }
}
