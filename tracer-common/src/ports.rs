//! Which devices' hops are recorded, as the collector tells the programs.
//!
//! The programs see all devices of all namespaces. What the user did not ask for is left out by a
//! look-up that only packets cost which may be of interest.

/// How devices are chosen; the collector writes it before the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Choice {
    /// All devices of the namespaces in the map.
    ByNetns = 0,
    /// The devices in the map.
    ByDevice = 1,
}

/// What the map holds of a device or a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Port {
    /// Its hops are recorded.
    Seen = 1,
    /// They are, and its packets come by way of another device's receive handler: they are seen
    /// arriving by a socket of lasthop's.
    Tapped = 2,
}

/// The key of a device in the map; of its namespace with `ifindex` 0, which no device has.
#[inline(always)]
pub const fn key(netns: u32, ifindex: u32) -> u64 {
    (netns as u64) << 32 | ifindex as u64
}
