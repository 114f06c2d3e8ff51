//! The end of an skb: dropped, or consumed.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::abi::Hook;

use crate::conntrack;
use crate::emit::{Sighting, emit_with_stack};
use crate::judge::{judge, judge_translated};
use crate::kernel::{Direct, Geometry, Linear, address, at};
use crate::maps;

/// The Ethernet type and the bytes from the network header on, of a BTF-typed `skb`.
#[inline(always)]
fn packet_of(skb: *const u8) -> (u16, Linear) {
    // SAFETY: `skb` is the tracepoint's BTF-typed argument.
    let (protocol, geometry) = unsafe {
        (u16::from_be(Direct::field::<u16>(skb, at!(skb_protocol))), Geometry::direct(skb))
    };
    (protocol, geometry.network_bytes())
}

/// `kfree_skb(struct sk_buff *skb, void *location[, enum skb_drop_reason reason[, struct sock *rx_sk]])`,
/// `include/trace/events/skb.h`: the last reference was given up, and not after use.
#[btf_tracepoint(function = "kfree_skb")]
pub fn drop(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let address = address(skb);
    let (protocol, bytes) = packet_of(skb);
    let nfct = || conntrack::of_typed(skb);
    if let Some(found) = judge_translated(address, &bytes, protocol, 0, nfct) {
        let mut sighting = Sighting::new(Hook::Drop, address, found);
        sighting.location = ctx.arg::<*const u8>(1) as u64;
        if at!(kfree_has_reason) != 0 {
            sighting.reason = ctx.arg::<u32>(2);
        }
        emit_with_stack(ctx.as_ptr(), &sighting);
        maps::forget(address);
    }
    0
}

/// `consume_skb(struct sk_buff *skb[, void *location])`: the last reference was given up after use.
///
/// Only skbs that are followed are of interest: that one nobody followed was put to use says
/// nothing, and this is by far the most frequent way for an skb to end.
#[btf_tracepoint(function = "consume_skb")]
pub fn consume(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let address = address(skb);
    if maps::identity(address).is_none() {
        return 0;
    }
    let (protocol, bytes) = packet_of(skb);
    if let Some(found) = judge(address, &bytes, protocol, 0) {
        let mut sighting = Sighting::new(Hook::Consume, address, found);
        if at!(consume_has_location) != 0 {
            sighting.location = ctx.arg::<*const u8>(1) as u64;
        }
        emit_with_stack(ctx.as_ptr(), &sighting);
        maps::forget(address);
    }
    0
}
