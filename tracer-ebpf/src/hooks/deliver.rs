//! A socket was found for the packet, before its queue or buffer may yet refuse it.
//!
//! Tiers, the first that attaches is used: a cgroup program on the root cgroup, which runs for
//! every IP socket and always lets the packet pass; `sk_filter_trim_cap` by fentry or kprobe.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::{cgroup_skb, fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext, SkBuffContext};
use tracer_common::abi::Hook;
use tracer_common::packet::{ETH_P_IP, ETH_P_IPV6};

use crate::emit::{Sighting, emit};
use crate::judge::{Match, judge};
use crate::kernel::{Geometry, Memory, Packet, Probed, address, at};
use crate::maps;

/// Reports, and ends following: what a socket has taken may be freed without a tracepoint (TCP always
/// does so; UDP where the reader runs on another processor, `skb_attempt_defer_free`), and the next
/// packet may get the same address. If the socket drops it yet, its headers match again.
#[inline(always)]
fn taken(skb: u64, found: Match) {
    emit(&Sighting::new(Hook::Deliver, skb, found));
    maps::forget(skb);
}

/// Runs at the socket with the network header at offset 0 (`BPF_CGROUP_INET_INGRESS`).
#[cgroup_skb(ingress)]
pub fn deliver_cgroup(ctx: SkBuffContext) -> i32 {
    const PASS: i32 = 1;
    let skb = address(ctx.as_ptr().cast());
    // SAFETY: a `__sk_buff` field of the program's own context.
    let protocol = u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16);
    let bytes = Packet { ctx: ctx.as_ptr() };
    if let Some(found) = judge(skb, &bytes, protocol, 0) {
        taken(skb, found);
    }
    PASS
}

#[inline(always)]
fn deliver_probed(skb: u64) {
    let Some(protocol) = Probed::load::<u16>(skb, at!(skb_protocol)).map(u16::from_be) else {
        return;
    };
    // Netlink and unix sockets filter here too; their messages have no Ethernet type.
    if !matches!(protocol, ETH_P_IP | ETH_P_IPV6) {
        return;
    }
    let Some(geometry) = Geometry::probed(skb) else {
        return;
    };
    let bytes = geometry.network_bytes();
    if let Some(found) = judge(skb, &bytes, protocol, 0) {
        taken(skb, found);
    }
}

/// `int sk_filter_trim_cap(struct sock *sk, struct sk_buff *skb, unsigned int cap)`,
/// `net/core/filter.c`.
#[fentry(function = "sk_filter_trim_cap")]
pub fn deliver_fentry(ctx: FEntryContext) -> i32 {
    deliver_probed(address(ctx.arg::<*const u8>(1)));
    0
}

/// As [`deliver_fentry`].
#[kprobe]
pub fn deliver_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg::<*const u8>(1) {
        deliver_probed(skb as u64);
    }
    0
}
