//! tc hooks on every port: tcx where the kernel has it, clsact before 6.6.
//!
//! A classifier runs with the packet's link-layer header at offset 0. Two variants: for Ethernet
//! devices, and for devices without a link layer (tun, ipip, `WireGuard`), whose packets begin with
//! the network header; which is attached is decided by the device's hardware type.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tracer_common::abi::Hook;
use tracer_common::packet::ETH_HLEN;

use crate::conntrack;
use crate::emit::{Sighting, emit};
use crate::judge::{judge, judge_translated};
use crate::kernel::{Packet, address};

/// Hands the packet on to the next program, or to the stack (`TC_ACT_UNSPEC`, `TCX_NEXT`).
const NEXT: i32 = -1;

#[inline(always)]
fn see(ctx: &TcContext, hook: Hook, network_at: u32) -> i32 {
    // The context of a classifier is the `sk_buff` itself; its address is the packet's identity.
    let skb = address(ctx.as_ptr().cast());
    // SAFETY: `__sk_buff` fields of the program's own context.
    let protocol = u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16);
    let bytes = Packet { ctx: ctx.as_ptr() };
    // What comes in is translated by this host only later, or left it before.
    let found = match hook {
        Hook::TcEgress => {
            judge_translated(skb, &bytes, protocol, network_at, || conntrack::of(skb))
        }
        _ => judge(skb, &bytes, protocol, network_at),
    };
    if let Some(found) = found {
        emit(&Sighting::new(hook, skb, found));
    }
    NEXT
}

/// Ingress of an Ethernet device.
#[classifier]
pub fn lasthop_in(ctx: TcContext) -> i32 {
    see(&ctx, Hook::TcIngress, ETH_HLEN)
}

/// Egress of an Ethernet device.
#[classifier]
pub fn lasthop_out(ctx: TcContext) -> i32 {
    see(&ctx, Hook::TcEgress, ETH_HLEN)
}

/// Ingress of a device without a link layer.
#[classifier]
pub fn lasthop_l3_in(ctx: TcContext) -> i32 {
    see(&ctx, Hook::TcIngress, 0)
}

/// Egress of a device without a link layer.
#[classifier]
pub fn lasthop_l3_out(ctx: TcContext) -> i32 {
    see(&ctx, Hook::TcEgress, 0)
}
