//! One packet at one hook: where it was, and what happened to it there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    Address, Arp, Ct, Eth, Fingerprint, Icmp, Ip, Mac, Ovs, PktType, Tcp, Tunnel, Tuple, Via, Vlan,
    shared, written,
};

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

impl HookName {
    /// All hooks, each at its own number.
    pub const ALL: [Self; 12] = [
        Self::TcIngress,
        Self::TcEgress,
        Self::Drop,
        Self::Consume,
        Self::Deliver,
        Self::Clone,
        Self::OvsReceive,
        Self::OvsUpcall,
        Self::OvsActions,
        Self::OvsOutput,
        Self::Ct,
        Self::OvsAnswer,
    ];

    /// The hook of this name; `None` where there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// Its name, as in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcIngress => "tc-ingress",
            Self::TcEgress => "tc-egress",
            Self::Drop => "drop",
            Self::Consume => "consume",
            Self::Deliver => "deliver",
            Self::Clone => "clone",
            Self::OvsReceive => "ovs-receive",
            Self::OvsUpcall => "ovs-upcall",
            Self::OvsActions => "ovs-actions",
            Self::OvsOutput => "ovs-output",
            Self::Ct => "ct",
            Self::OvsAnswer => "ovs-answer",
        }
    }
}

/// One packet at one hook. What many hops have in common is one object for all of them, in a trace
/// and when it is read back.
#[skip_serializing_none]
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
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub netns: Option<Arc<Netns>>,
    /// Device.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub dev: Option<Arc<Dev>>,
    /// Ethernet addresses, where the packet had them at this place.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub eth: Option<Eth>,
    /// VLAN tags, outermost first, the one kept beside the packet included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<Vlan>,
    /// The innermost flow that could be read.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub tuple: Option<Tuple>,
    /// Facts of the IP header that carries `tuple`.
    pub ip: Option<Ip>,
    /// TCP facts.
    pub tcp: Option<Tcp>,
    /// ICMP or `ICMPv6` facts.
    pub icmp: Option<Icmp>,
    /// ARP facts.
    pub arp: Option<Arp>,
    /// The tunnel around `tuple`, outermost one.
    #[serde(default, deserialize_with = "shared::optional")]
    pub tunnel: Option<Arc<Tunnel>>,
    /// What Open vSwitch's datapath was doing with it: `ovs-…` hops.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub ovs: Option<Arc<Ovs>>,
    /// The conntrack entry that the packet carries here; absent where it carries none.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub ct: Option<Arc<Ct>>,
    /// Where and why the kernel gave the packet up.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub drop: Option<Arc<Drop>>,
    /// `consume` hops: the function that took the packet, as `symbol+offset`.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub by: Option<Arc<Place>>,
    /// Kernel call chain of a drop or a consume, innermost first, as `symbol+0xoffset`.
    #[serde(default, deserialize_with = "shared::optional", serialize_with = "written::optional")]
    pub stack: Option<Arc<[String]>>,
    /// Bytes of the packet at this place (`skb->len`).
    pub len: u32,
    /// The checksum of the transport header is wrong. Absent where it is right, where the network card
    /// has judged it or is to fill it in, and where too little was recorded to tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bad_checksum: bool,
    /// For whom the frame is, as the kernel sees it.
    pub pkt_type: Option<PktType>,
    /// Identity of the skb in this trace: the same as long as the kernel keeps the same skb.
    #[serde(default)]
    pub life: u64,
    /// `clone` hops: the life that was cloned.
    pub parent: Option<u64>,
    /// Kernel address of the skb.
    pub skb: Option<Address>,
    /// What NAT, routing and encapsulation leave alone: equal for copies of one packet. Absent
    /// where too little could be read.
    pub fingerprint: Option<Fingerprint>,
    /// How the packet came to match.
    pub via: Option<Via>,
    /// The packet's headers go on in memory that the hook could not read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A network namespace.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Netns {
    /// inode of its nsfs file, as `lsns` and `ip netns identify` show it.
    pub inode: u32,
    /// Its name under `/run/netns`; `host` for that of process 1 where it has no other, and none is
    /// called that.
    pub name: Option<String>,
    /// Where it is, where its name alone would be taken for another's: `/run/netns/host`.
    pub path: Option<String>,
}

/// A device.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dev {
    /// Index in its namespace.
    pub ifindex: u32,
    /// Name at that moment.
    pub name: String,
    /// What kind (`veth`, `tun`, `bridge`, `vxlan`, `loopback`, …), as the kernel calls it
    /// (`IFLA_INFO_KIND`); absent for a device with none, that is, mostly hardware.
    pub kind: Option<String>,
    /// Its own MAC.
    pub mac: Option<Mac>,
    /// The other end, when this node has it (veth).
    pub peer: Option<Peer>,
    /// The bridge, bond or switch it belongs to.
    pub master: Option<String>,
    /// MTU, bytes.
    pub mtu: Option<u32>,
    /// `false`: it has no carrier, that is, nothing at its other end (of a tap: no process has it
    /// open). Absent otherwise.
    pub carrier: Option<bool>,
    /// Open vSwitch: the bridge that it is a port of, whatever its `master` is in the kernel.
    pub bridge: Option<String>,
    /// Open vSwitch: its `OpenFlow` port number on that bridge.
    pub ofport: Option<u32>,
    /// Open vSwitch: the bond that it is a member of.
    pub bond: Option<String>,
}

/// The other end of a device that is one of a pair.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// inode of the namespace it is in.
    pub netns: u32,
    /// Index there.
    pub ifindex: u32,
    /// Name there, when known.
    pub name: Option<String>,
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
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// The kernel's own name of the reason, without `SKB_DROP_REASON_`; its number as text where
    /// it has no name; absent on kernels that give none (before 5.17).
    pub reason: Option<String>,
    /// `core`, or the subsystem whose reason it is (`openvswitch`, `mac80211_unusable`).
    pub subsystem: Option<String>,
    /// Function that dropped it.
    pub symbol: Option<String>,
    /// Bytes past that function's start.
    pub offset: Option<u64>,
    /// No drop event of the kernel's: it was found by following what was done to the packet.
    pub silent: bool,
}
