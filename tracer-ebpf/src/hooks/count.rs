//! All drops on the node, counted where they happen (`lasthop drops`): nothing is sent per packet.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_stackid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::maps::PerCpuHashMap;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::abi::Counter;
use tracer_common::drops::{
    BY_ADDRESS, BY_PORT, BY_PROTOCOL, BY_SOURCE_PORT, BY_STACK, DropCount, DropDetail, DropKey,
    DropPlan, TRAIT_GROUP, TRAIT_MULTICAST, TRAIT_NOT_SYN, TRAIT_OTHERHOST, TRAIT_PROMISCUOUS,
    TRAIT_RESET,
};
use tracer_common::flow::Addr;

use crate::judge::{headers, no_tuple};
use crate::kernel::{Direct, Geometry, Memory as _, Probed, at, constant, pointer, zero};
use crate::maps;

/// How drops are to be counted; the collector writes it before the load.
#[unsafe(no_mangle)]
static DROP_PLAN: DropPlan =
    DropPlan { by: 0, filtered: 0, tcp_v4_rcv: [0; 2], tcp_v6_rcv: [0; 2] };

/// One value of the plan, read so that the compiler keeps it a load from `.rodata`.
macro_rules! planned {
    ($field:ident) => {
        constant(&DROP_PLAN.$field)
    };
}

/// `PACKET_*` of `include/uapi/linux/if_packet.h`.
const PACKET_BROADCAST: u8 = 1;
const PACKET_MULTICAST: u8 = 2;
const PACKET_OTHERHOST: u8 = 3;
/// The sender's own copy of what it sends to a group.
const PACKET_LOOPBACK: u8 = 5;

/// `kfree_skb(struct sk_buff *skb, void *location[, enum skb_drop_reason reason[, struct sock *rx_sk]])`,
/// `include/trace/events/skb.h`.
#[btf_tracepoint(function = "kfree_skb")]
pub fn count_drop(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let mut detail = no_detail();
    detail.key.location = ctx.arg::<*const u8>(1) as u64;
    if at!(kfree_has_reason) != 0 {
        detail.key.reason = ctx.arg::<u32>(2);
    }
    let read = || {
        // SAFETY: the tracepoint's BTF-typed argument.
        unsafe { Some((Direct::field(skb, at!(skb_protocol)), Geometry::direct(skb))) }
    };
    if fill_tuple(read, &mut detail).is_none() {
        return 0;
    }
    fill_place(&ctx, skb, &mut detail.key);
    fill_segment(skb, &mut detail.key);
    fill_stack(&ctx, &mut detail);
    // SAFETY: the tracepoint's BTF-typed argument.
    let bytes = u64::from(unsafe { Direct::field::<u32>(skb, at!(skb_len)) });
    if planned!(by) != 0 || !count_in_cell(&detail.key, bytes) {
        count(&detail, bytes);
    }
    0
}

/// Counts one drop in its key's cell of this processor; whether it has one. Only for one program,
/// which does not interrupt itself: two could take the same cell.
#[inline(always)]
fn count_in_cell(key: &DropKey, bytes: u64) -> bool {
    let Some(cell) = maps::DROP_TABLE.get_ptr_mut(key.cell()) else { return false };
    // SAFETY: this processor's own value, valid for as long as the program runs.
    unsafe {
        if (*cell).count.packets == 0 {
            (*cell).key = *key;
        } else if (*cell).key != *key {
            return false;
        }
        (*cell).count.bytes += bytes;
        (*cell).count.packets += 1;
    }
    true
}

/// Nothing is known of it.
#[inline(always)]
pub fn no_detail() -> DropDetail {
    let none = zero();
    let (short, word) = (none as u16, none as u32);
    let key = DropKey {
        location: none,
        reason: word,
        netns: word,
        ifindex: word,
        traits: short,
        proto: short,
    };
    let addr = Addr([none; 2]);
    DropDetail { key, src: addr, dst: addr, sport: short, dport: short, stack: word }
}

/// By the kernel stack, where that was asked for.
#[inline(always)]
pub fn fill_stack(ctx: &impl EbpfContext, detail: &mut DropDetail) {
    if planned!(by) & BY_STACK != 0 {
        // SAFETY: the context of this program, and a map of stacks.
        let number = unsafe {
            bpf_get_stackid(ctx.as_ptr(), (&raw const maps::STACKS).cast_mut().cast(), 0)
        };
        detail.stack = u32::try_from(number).map_or(0, |number| number + 1);
    }
}

/// By the packet's own headers, where that was asked for; `None` where it is not to be counted. `read` finds
/// its `skb->protocol`, in network byte order, and where its bytes are.
#[inline(always)]
pub fn fill_tuple(
    read: impl FnOnce() -> Option<(u16, Geometry)>,
    detail: &mut DropDetail,
) -> Option<()> {
    if planned!(by) & !BY_STACK == 0 && planned!(filtered) == 0 {
        return Some(());
    }
    let (protocol, geometry) = read()?;
    let protocol = u16::from_be(protocol);
    let mut tuple = no_tuple();
    if !headers(&geometry.network_bytes(), protocol, &mut tuple) && planned!(filtered) != 0 {
        return None;
    }
    if planned!(by) & BY_PROTOCOL != 0 {
        detail.key.proto = tuple.proto;
    }
    if planned!(by) & BY_ADDRESS != 0 {
        (detail.src, detail.dst) = (tuple.src, tuple.dst);
    }
    if planned!(by) & BY_PORT != 0 {
        detail.dport = tuple.dport;
    }
    if planned!(by) & BY_SOURCE_PORT != 0 {
        detail.sport = tuple.sport;
    }
    Some(())
}

/// By device and namespace; at a socket, `skb->dev` may have given its place to the socket's own
/// bookkeeping (`skb->dev_scratch`), which reads as no device.
#[inline(always)]
fn fill_place(ctx: &BtfTracePointContext, skb: *const u8, key: &mut DropKey) {
    // SAFETY: BTF-typed pointers from the tracepoint's argument on; each is compared with null, and
    // the kernel makes a load through a bad one read 0.
    unsafe {
        let byte: u8 = Direct::field(skb, at!(skb_pkt_type));
        let pkt_type = (byte >> (at!(pkt_type_shift) & 7)) & 7;
        let dev = pointer(skb, at!(skb_dev));
        let mut net = core::ptr::null();
        if !dev.is_null() {
            key.ifindex = Direct::field(dev, at!(dev_ifindex));
            net = pointer(dev, at!(dev_net));
            if pkt_type == PACKET_OTHERHOST && Direct::field::<u32>(dev, at!(dev_promiscuity)) != 0
            {
                key.traits |= TRAIT_PROMISCUOUS;
            }
        }
        if net.is_null() && at!(kfree_has_socket) != 0 {
            let socket: *const u8 = ctx.arg(3);
            if !socket.is_null() {
                net = pointer(socket, at!(sk_net));
            }
        }
        // What the host itself sends has no device before it is routed, but a socket.
        if net.is_null() {
            let socket = pointer(skb, at!(skb_sk));
            if !socket.is_null() {
                net = pointer(socket, at!(sk_net));
            }
        }
        if !net.is_null() {
            key.netns = Direct::field(net, at!(net_inum));
        }
        key.traits |= match pkt_type {
            PACKET_BROADCAST | PACKET_LOOPBACK => TRAIT_GROUP,
            PACKET_MULTICAST => TRAIT_GROUP | TRAIT_MULTICAST,
            PACKET_OTHERHOST => TRAIT_OTHERHOST,
            _ => 0,
        };
    }
}

/// What tells a TCP segment that came too late from one that nobody expected, where TCP's receive
/// function itself refused it: elsewhere the reason says enough.
#[inline(always)]
fn fill_segment(skb: *const u8, key: &mut DropKey) {
    /// Of the flags in the TCP header (RFC 9293, 3.1).
    const FLAGS_AT: u32 = 13;
    const HEADER: u32 = 20;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    let within = |code: [u64; 2]| key.location >= code[0] && key.location < code[1];
    if !within(planned!(tcp_v4_rcv)) && !within(planned!(tcp_v6_rcv)) {
        return;
    }
    // SAFETY: as in `fill_tuple`.
    let (len, head, transport) = unsafe {
        (
            Direct::field::<u32>(skb, at!(skb_len)),
            Direct::field::<u64>(skb, at!(skb_head)),
            Direct::field::<u16>(skb, at!(skb_transport_header)),
        )
    };
    // Here it begins with its TCP header; past the end of a cut one are another packet's bytes.
    if len < HEADER {
        return;
    }
    if let Some(flags) = Probed::load::<u8>(head, u32::from(transport) + FLAGS_AT) {
        if flags & RST != 0 {
            key.traits |= TRAIT_RESET;
        }
        if flags & SYN == 0 {
            key.traits |= TRAIT_NOT_SYN;
        }
    }
}

/// Counts one drop.
#[inline(always)]
pub fn count(detail: &DropDetail, bytes: u64) {
    if planned!(by) != 0 {
        let odd = maps::GENERATION.get(0).is_some_and(|generation| generation & 1 != 0);
        let map = if odd { &maps::DETAILS_ODD } else { &maps::DETAILS_EVEN };
        if add(map, detail, bytes) {
            return;
        }
    }
    if !add(&maps::DROPS, &detail.key, bytes) {
        maps::count(Counter::NotHeld);
    }
}

/// Whether there was room.
#[inline(always)]
fn add<K>(map: &PerCpuHashMap<K, DropCount>, key: &K, bytes: u64) -> bool {
    if let Some(count) = map.get_ptr_mut(key) {
        // SAFETY: this processor's own value, valid for as long as the program runs.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += bytes;
        }
        return true;
    }
    map.insert(key, DropCount { packets: 1, bytes }, 0).is_ok()
}
