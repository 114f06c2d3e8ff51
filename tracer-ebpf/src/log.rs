//! What the programs say of their own work, for whoever asked (`lasthop -vv`).
//!
//! The level is a constant in `.rodata`: where nobody asked, the verifier takes all of this out. Each
//! is a function of its own, as formatting needs stack that its callers have not got.

use aya_log_ebpf::debug;

/// An skb that matched is followed from here on.
#[inline(never)]
pub fn followed(skb: u64, life: u64) {
    debug!((), "skb {:x} is followed as life {:x}", skb, life);
}

/// The address of an skb that was followed holds another packet.
#[inline(never)]
pub fn stale(skb: u64, life: u64) {
    debug!((), "skb {:x} was life {:x} and holds another packet now", skb, life);
}

/// A followed packet took on a tuple that nobody asked for; it matches from here on.
#[inline(never)]
pub fn learned(proto: u16, sport: u16, dport: u16) {
    debug!((), "learned a tuple of protocol {}, port {} to {}", proto, sport, dport);
}
