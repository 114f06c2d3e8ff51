//! What drops are counted by, in the kernel's maps and in the collector.
//!
//! Integers only, explicit padding: keys are compared byte by byte.

use crate::flow::Addr;

/// The frame was sent to a group (broadcast or multicast).
pub const TRAIT_GROUP: u16 = 1;
/// The frame was sent to another host's MAC.
pub const TRAIT_OTHERHOST: u16 = 2;
/// The device takes in frames for others: somebody made it promiscuous.
pub const TRAIT_PROMISCUOUS: u16 = 4;
/// A TCP segment with RST.
pub const TRAIT_RESET: u16 = 8;
/// A TCP segment that is no SYN.
pub const TRAIT_NOT_SYN: u16 = 16;

/// Open vSwitch ran an empty action list: no drop event tells of it before Linux 6.6.
pub const TRAIT_OVS_EMPTY: u16 = 32;
/// An Open vSwitch meter was over its rate: likewise.
pub const TRAIT_OVS_METER: u16 = 64;
/// Open vSwitch could not hand it to `ovs-vswitchd`, whose queue was full: no kernel tells of it.
pub const TRAIT_OVS_UPCALL: u16 = 128;

/// What every drop is counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct DropKey {
    /// Code address that dropped it; 0 unknown.
    pub location: u64,
    /// `enum skb_drop_reason` as this kernel numbers it; 0 where it gives none.
    pub reason: u32,
    /// inode of the network namespace; 0 unknown.
    pub netns: u32,
    /// Index of the device in that namespace; 0 unknown.
    pub ifindex: u32,
    /// `TRAIT_*`.
    pub traits: u16,
    /// With [`BY_PROTOCOL`]: as `Tuple::proto`. Otherwise 0.
    pub proto: u16,
}

/// What drops are counted by where more was asked for; what was not is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct DropDetail {
    /// What every drop is counted by.
    pub key: DropKey,
    /// With [`BY_ADDRESS`]: of the innermost flow.
    pub src: Addr,
    /// With [`BY_ADDRESS`].
    pub dst: Addr,
    /// With [`BY_SOURCE_PORT`].
    pub sport: u16,
    /// With [`BY_PORT`]: where it was going.
    pub dport: u16,
    /// With [`BY_STACK`]: number of the kernel stack; 0 none.
    pub stack: u32,
}

/// How many, of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropCount {
    /// Packets.
    pub packets: u64,
    /// Their bytes (`skb->len` where they died).
    pub bytes: u64,
}

/// [`DropPlan::by`]: the protocol.
pub const BY_PROTOCOL: u32 = 1;
/// [`DropPlan::by`]: the port it was going to.
pub const BY_PORT: u32 = 2;
/// [`DropPlan::by`]: both addresses.
pub const BY_ADDRESS: u32 = 4;
/// [`DropPlan::by`]: the port it came from; together with all of the above, the tuple.
pub const BY_SOURCE_PORT: u32 = 8;
/// [`DropPlan::by`]: the whole tuple.
pub const BY_TUPLE: u32 = BY_PROTOCOL | BY_PORT | BY_ADDRESS | BY_SOURCE_PORT;
/// [`DropPlan::by`]: the kernel stack.
pub const BY_STACK: u32 = 16;

/// How drops are to be counted: constants of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropPlan {
    /// `BY_*`.
    pub by: u32,
    /// 1: only what the filter matches.
    pub filtered: u32,
    /// Where the code of `tcp_v4_rcv` begins, and where it ends; 0 unknown.
    pub tcp_v4_rcv: [u64; 2],
    /// Likewise of `tcp_v6_rcv`.
    pub tcp_v6_rcv: [u64; 2],
}

const _: () = assert!(size_of::<DropKey>() == 24);
const _: () = assert!(size_of::<DropDetail>() == 64);
const _: () = assert!(size_of::<DropCount>() == 16);
const _: () = assert!(size_of::<DropPlan>() == 40);
