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

/// The frame was sent to a multicast group, not to all (besides [`TRAIT_GROUP`]).
pub const TRAIT_MULTICAST: u16 = 256;

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

/// A place where many drops are counted without a look-up: what comes first to its cell of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropCell {
    /// How many. Before the key, as a reader copies it: whose count is not 0 has its whole key.
    pub count: DropCount,
    /// Of which key; of none while `count` is 0.
    pub key: DropKey,
}

/// How many [`DropCell`]s each processor has; a power of two.
pub const DROP_CELLS: u32 = 64;

impl DropKey {
    /// Which cell is this key's, below [`DROP_CELLS`].
    #[inline(always)]
    pub fn cell(&self) -> u32 {
        let place = u64::from(self.netns) << 32 | u64::from(self.ifindex);
        let kind =
            u64::from(self.reason) << 32 | u64::from(self.traits) << 16 | u64::from(self.proto);
        // Multiplicative hashing (Knuth, 6.4): the words, each by an odd number of its own, and of the
        // sum the upper bits, which are the best mixed.
        let mixed = self
            .location
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(place.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
            .wrapping_add(kind.wrapping_mul(0x1656_67b1_9e37_79f9));
        (mixed >> (64 - DROP_CELLS.ilog2())) as u32
    }
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
const _: () = assert!(size_of::<DropCell>() == 40);
const _: () = assert!(size_of::<DropPlan>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of a node where 8 functions drop for 4 reasons at 8 devices: neighbouring numbers all.
    fn keys() -> impl Iterator<Item = DropKey> {
        (0..256_u32).map(|n| DropKey {
            location: 0xffff_ffff_8100_0000 + u64::from(n & 7) * 0x40,
            reason: 2 + (n >> 3 & 3),
            netns: 4_026_531_840 + (n >> 5 & 3),
            ifindex: 2 + (n >> 5),
            traits: 0,
            proto: 0,
        })
    }

    #[test]
    fn keys_that_differ_little_have_different_cells() {
        let mut of_cell = [0; DROP_CELLS as usize];
        keys().for_each(|key| of_cell[key.cell() as usize] += 1);
        // 4 keys a cell on average.
        assert!(of_cell.iter().all(|keys| *keys <= 12), "{of_cell:?}");
        assert!(of_cell.iter().filter(|keys| **keys == 0).count() <= 8, "{of_cell:?}");
    }
}
