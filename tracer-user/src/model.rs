//! The records of a trace: what is written with `--json` and read back by `explain`.
//!
//! One NDJSON object per record, told apart by `"type"`; the keys are the interface that scripts
//! rely on, so they are only ever added to. Every optional field is absent when it is unknown.

mod conntrack;
mod netfilter;
mod owner;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use conntrack::{Conntrack, Ct, CtEntry};
pub use netfilter::{Netfilter, Rule};
pub use owner::{Acl, LogicalFlow, OvsTrace, OvsVlan, OvsVlanPort, TraceKind};

/// One line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// The first line: what was traced, where and with what.
    Meta(Meta),
    /// One packet at one hook.
    Hop(Box<Hop>),
    /// What Open vSwitch's tables do with a packet that died there.
    OvsTrace(Box<OvsTrace>),
    /// One packet's whole way.
    Journey(Journey),
    /// What became of one flow.
    Verdict(Box<Verdict>),
    /// Drops of one kind, counted (`lasthop drops`).
    Drops(Box<Drops>),
    /// Events that could not be delivered.
    Lost(Lost),
    /// What a namespace's conntrack said when it was asked.
    Conntrack(Box<Conntrack>),
    /// Which rules may have dropped a packet.
    Netfilter(Box<Netfilter>),
    /// A line of a kind this version does not know; readers skip it.
    #[serde(other)]
    Unknown,
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
    /// The filter as it was typed.
    pub filter: String,
    /// The probes that were attached, by name.
    #[serde(default)]
    pub probes: Vec<String>,
    /// What this node could not show, each a sentence (a hook kind that found no way to attach).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<String>,
}

/// The kind of place at which a packet was seen; the names are those of `"hook"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in tracer_common::abi::Hook, where they are described")]
pub enum HookName {
    TcIngress,
    TcEgress,
    Drop,
    Consume,
    Deliver,
    Clone,
    OvsReceive,
    OvsUpcall,
    OvsActions,
    OvsOutput,
    Ct,
    OvsAnswer,
}

/// One packet at one hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// Nanoseconds since the trace began.
    pub ts: u64,
    /// Processor.
    pub cpu: u32,
    /// Number of the packet in this trace, from 1, in order of appearance. Copies of a packet (a
    /// clone, a fragment, what came back from an upcall) share it. 0 until the packet is known.
    #[serde(default)]
    pub packet: u64,
    /// Number of this hop in the packet's way, from 1. 0 until the packet is known.
    #[serde(default)]
    pub hop: u32,
    /// What kind of place.
    pub hook: HookName,
    /// Network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
    /// Device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<Dev>,
    /// Ethernet addresses, where the packet had them at this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eth: Option<Eth>,
    /// VLAN tags, outermost first, the one kept beside the packet included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<Vlan>,
    /// The innermost flow that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuple: Option<Tuple>,
    /// Facts of the IP header that carries `tuple`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ip>,
    /// TCP facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    /// ICMP or `ICMPv6` facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// ARP facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arp: Option<Arp>,
    /// The tunnel around `tuple`, outermost one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// What Open vSwitch's datapath was doing with it: `ovs-…` hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovs: Option<Ovs>,
    /// The conntrack entry that the packet carries here; absent where it carries none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct: Option<Ct>,
    /// Where and why the kernel gave the packet up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Drop>,
    /// `consume` hops: the function that took the packet, as `symbol+offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Place>,
    /// Kernel call chain of a drop or a consume, innermost first, as `symbol+0xoffset`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    /// Bytes of the packet at this place (`skb->len`).
    pub len: u32,
    /// For whom the frame is, as the kernel sees it: `host` `broadcast` `multicast` `otherhost`
    /// `outgoing` `loopback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkt_type: Option<String>,
    /// Identity of the skb in this trace: the same as long as the kernel keeps the same skb.
    #[serde(default)]
    pub life: u64,
    /// `clone` hops: the life that was cloned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// Kernel address of the skb, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skb: Option<String>,
    /// What NAT, routing and encapsulation leave alone, as hex: equal for copies of one packet.
    /// Absent where too little could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How the packet came to match: `filter`, `identity` (the skb matched before, with other
    /// headers), or `learned` (the tuple is a translation that a followed packet took on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The packet's headers go on in memory that the hook could not read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Netns {
    /// inode of its nsfs file, as `lsns` and `ip netns identify` show it.
    pub inode: u32,
    /// Its name under `/run/netns`; `host` for that of process 1 where it has no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dev {
    /// Index in its namespace.
    pub ifindex: u32,
    /// Name at that moment.
    pub name: String,
    /// What kind (`veth`, `tun`, `bridge`, `vxlan`, `loopback`, …), as the kernel calls it
    /// (`IFLA_INFO_KIND`); absent for a device with none, that is, mostly hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its own MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The other end, when this node has it (veth).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// The bridge, bond or switch it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// MTU, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// `false`: it has no carrier, that is, nothing at its other end (of a tap: no process has it
    /// open). Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<bool>,
    /// Open vSwitch: the bridge that it is a port of, whatever its `master` is in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Open vSwitch: its `OpenFlow` port number on that bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ofport: Option<u32>,
    /// Open vSwitch: the bond that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<String>,
}

/// The other end of a device that is one of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// inode of the namespace it is in.
    pub netns: u32,
    /// Index there.
    pub ifindex: u32,
    /// Name there, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Ethernet addresses as text, lower case, colons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Eth {
    pub src: String,
    pub dst: String,
}

/// One VLAN tag (IEEE 802.1Q).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// VLAN id, 0 to 4095.
    pub id: u16,
    /// Tag protocol: 0x8100 or 0x88a8, as a number.
    pub tpid: u16,
    /// Priority code point, 0 to 7.
    pub pcp: u8,
}

/// A 5-tuple. Ports are absent where the protocol has none or a fragment lacks them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// `tcp` `udp` `icmp` `icmp6` `sctp` `arp`, or `ip-N` for any other IP protocol N.
    pub proto: String,
    /// Source; ARP: sender.
    pub src: IpAddr,
    /// Source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination; ARP: target.
    pub dst: IpAddr,
    /// Destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
}

/// From the IP header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Identification (IPv4, or the IPv6 fragment header).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Total length in the header, bytes.
    pub len: u32,
    /// Don't Fragment (IPv4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub df: bool,
    /// A fragment: its offset in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frag_offset: Option<u32>,
    /// A fragment that more follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_fragments: bool,
}

/// From the TCP header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// `S` `SA` `A` `F` `R` `P` `U` …, in the order of the tcpdump letters `SFRPAUEC`, SYN first.
    pub flags: String,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
}

/// From the ICMP or `ICMPv6` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// Type.
    pub r#type: u8,
    /// Code.
    pub code: u8,
    /// Identifier of an echo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Sequence number of an echo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u16>,
    /// Next-hop MTU of "fragmentation needed" or "packet too big".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Of an error: the flow that it is about, as the packet that it quotes shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Box<Tuple>>,
    /// Of an error about an echo: its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about_id: Option<u16>,
}

/// From an ARP packet (RFC 826).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arp {
    /// `request`, `reply`, or the operation's number.
    pub op: String,
    /// The sender's hardware address as the ARP packet claims it.
    pub sender_mac: String,
    /// The target's hardware address.
    pub target_mac: String,
}

/// The tunnel that carries the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// `vxlan` `geneve` `gre` `ipip`.
    pub kind: String,
    /// VNI or GRE key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// Outer source.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
}

/// What Open vSwitch's datapath was doing with the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ovs {
    /// Name of the datapath: that of its local port, `ovs-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dp: Option<String>,
    /// Name of the vport through which the packet entered the datapath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_port: Option<String>,
    /// Its number in the datapath (`ovs-dpctl show`; not the `OpenFlow` port).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_port_no: Option<u32>,
    /// Name of the vport at this hop: the one that received it, or that sends it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its number in the datapath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_no: Option<u32>,
    /// The recirculation that the flow key is of; 0 on the first pass through the datapath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recirc_id: Option<u32>,
    /// `ovs-actions` hops: the actions, as `ovs-dpctl dump-flows` prints them (`drop` when there
    /// are none). With `cut`, only the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<String>,
    /// `ovs-actions` hops: the list is empty, which drops the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
    /// The list of actions is longer than what was recorded of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Connection tracking state in the flow key, as OVS prints it: `new|trk`; absent when the
    /// packet has not been through `ct` yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct_state: Option<String>,
    /// Connection tracking zone in the flow key, where there is a state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct_zone: Option<u16>,
    /// Connection mark in the flow key; absent when 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct_mark: Option<u32>,
    /// Connection label in the flow key, as OVS prints it (`0x…`); absent when 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct_label: Option<String>,
    /// The packet was handed to the datapath by `ovs-vswitchd`, as a new skb.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_userspace: bool,
    /// The flow key, in the form that `ofproto/trace` takes: port, recirculation and connection
    /// tracking as above, and the packet's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `ovs-upcall` hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upcall: Option<Upcall>,
}

/// The packet was sent up to `ovs-vswitchd`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcall {
    /// Why: `miss` (no flow in the datapath matched), `action` (an action said so: `userspace`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    /// The error with which it failed, as text (`EAGAIN`, `ENOTCONN`); absent when it was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A place in the kernel's code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Function.
    pub symbol: String,
    /// Bytes past its start.
    pub offset: u64,
}

/// Where and why the kernel gave the packet up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// The kernel's own name of the reason, without `SKB_DROP_REASON_`; its number as text where
    /// it has no name; absent on kernels that give none (before 5.17).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `core`, or the subsystem whose reason it is (`openvswitch`, `mac80211_unusable`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<String>,
    /// Function that dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Bytes past that function's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// No drop event of the kernel's: it was found by following what was done to the packet.
    pub silent: bool,
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

/// One packet's whole way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journey {
    /// Number of the packet.
    pub packet: u64,
    /// Number of its flow, from 1.
    pub flow: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// How many hops it made.
    pub hops: u32,
    /// Where it was seen first.
    pub first: Where,
    /// Where it was seen last, or where it died.
    pub last: Where,
}

/// A place on the packet's way, for a person and a script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    /// Name of the network namespace, or its inode as text where it has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Kind of place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookName>,
    /// Kernel function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Open vSwitch bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// What became of one flow.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Tuple>,
    /// The flow as it was after translation, when it was translated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translated: Option<Tuple>,
    /// Where it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<Where>,
    /// `reply-not-translated`: where the reverse of the translation was due and was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Where>,
    /// The kernel's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One plain sentence.
    pub text: String,
    /// Commands worth running next.
    #[serde(default)]
    pub next: Vec<String>,
    /// Packets that show it.
    #[serde(default)]
    pub evidence: Vec<u64>,
    /// What Open vSwitch's tables do with it, where they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<OvsTrace>>,
    /// The record is incomplete: events were lost while this flow was traced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// What is absent from a record when it is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Drops of one kind, counted since the beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// Nanoseconds since the beginning.
    pub ts: u64,
    /// The kernel's own name of the reason, as in [`Drop::reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As in [`Drop::subsystem`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<String>,
    /// Function that dropped them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Bytes past that function's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Name of the network namespace, or its inode as text where it has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Device that they came in by or were to leave by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many a second over the last interval; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// `--by protocol` and `--by tuple`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// `--by address` and `--by tuple`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// `--by tuple`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// `--by address` and `--by tuple`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpAddr>,
    /// `--by port` and `--by tuple`: the port that they were going to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// `--by stack`: the kernel's call chain, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    /// `--by ovs-port`: the Open vSwitch port that the device is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovs_port: Option<String>,
    /// No drop event of the kernel's: it was found by following what Open vSwitch did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// What the reason (or else the function) means, as a clause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// Commands worth running next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// Why these are everyday life and nobody's trouble; absent where they may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everyday: Option<String>,
    /// More was asked for with `--by`, and there was no room to tell these apart by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rest: bool,
    /// This row stands for that many that are not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded: Option<u64>,
}

/// Events that could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Processor.
    pub cpu: u32,
    /// How many, since the last such record of that processor.
    pub count: u64,
    /// Nanoseconds since the trace began.
    pub ts: u64,
    /// Why: `ring-full`, `unreadable`, `identity-full`, `missed` (a program was interrupted by what it
    /// was to see), `drops-not-held`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}
