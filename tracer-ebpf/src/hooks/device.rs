//! A packet comes in by a device, or leaves by one.
//!
//! Two tracepoints see every device of every namespace. `netif_receive_skb` is where a device hands
//! a packet to the stack: once for each, before generic XDP and tc. A packet that a VLAN tag or a
//! device's receive handler (macvlan, bond, …) makes another device's goes round in the same function
//! (`__netif_receive_skb_core`, `another_round`) and does not pass the tracepoint again: those
//! devices have a socket each with a filter, which runs in every round. `net_dev_queue` is where the
//! stack hands a packet to a device, after tc and before the qdisc, which may yet drop it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::{btf_tracepoint, map, socket_filter};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::{BtfTracePointContext, SkBuffContext};
use tracer_common::abi::Hook;
use tracer_common::packet::ETH_HLEN;
use tracer_common::ports::{Choice, Port, key};

use crate::conntrack;
use crate::emit::{Sighting, emit};
use crate::judge::{Place, judge, judge_at};
use crate::kernel::{Direct, Linear, SocketPacket, address, at, constant, pointer};
use crate::maps;

/// How devices are chosen: a [`Choice`].
#[unsafe(no_mangle)]
static CHOICE: u32 = Choice::ByNetns as u32;

/// `PACKET_LOOPBACK` of `include/uapi/linux/if_packet.h`: packet sockets do not get these.
const PACKET_LOOPBACK: u8 = 5;
/// Bytes of a MAC address: devices that have one have an Ethernet header.
const ETH_ALEN: u8 = 6;

/// Whether hops at the skb's device are recorded, by the tracepoint of this direction.
#[inline(always)]
fn is_chosen(skb: *const u8, is_ingress: bool) -> bool {
    // SAFETY: BTF-typed pointers from the tracepoint's argument on; the kernel makes a load through a
    // bad one read 0.
    let (netns, ifindex, pkt_type) = unsafe {
        let dev = pointer(skb, at!(skb_dev));
        if dev.is_null() {
            return false;
        }
        let net = pointer(dev, at!(dev_net));
        if net.is_null() {
            return false;
        }
        let byte: u8 = Direct::field(skb, at!(skb_pkt_type));
        (
            Direct::field::<u32>(net, at!(net_inum)),
            Direct::field::<u32>(dev, at!(dev_ifindex)),
            (byte >> (at!(pkt_type_shift) & 7)) & 7,
        )
    };
    match maps::port(key(netns, ifindex)) {
        Some(port) if port == Port::Tapped as u8 => !is_ingress || pkt_type == PACKET_LOOPBACK,
        Some(_) => true,
        None => constant(&CHOICE) == Choice::ByNetns as u32 && maps::port(key(netns, 0)).is_some(),
    }
}

/// `netif_receive_skb(struct sk_buff *skb)`, `include/trace/events/net.h`: `skb->data` is at the network
/// header, and `skb->network_header` not set yet.
#[btf_tracepoint(function = "netif_receive_skb")]
pub fn device_in(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    // SAFETY: the tracepoint's BTF-typed argument.
    let (protocol, head, data, tail) = unsafe {
        (
            u16::from_be(Direct::field::<u16>(skb, at!(skb_protocol))),
            Direct::field::<u64>(skb, at!(skb_head)),
            Direct::field::<u64>(skb, at!(skb_data)),
            Direct::field::<u32>(skb, at!(skb_tail)),
        )
    };
    let network = data.wrapping_sub(head) as u32;
    let bytes = Linear { base: data, len: tail.saturating_sub(network) };
    let skb_address = address(skb);
    // What comes in is translated by this host only later, or left it before.
    let place = Place { nfct: || 0, is_chosen: || is_chosen(skb, true) };
    if let Some(found) = judge_at(skb_address, &bytes, protocol, place) {
        emit(&Sighting::new(Hook::TcIngress, skb_address, found));
    }
    0
}

/// `net_dev_queue(struct sk_buff *skb)`, `include/trace/events/net.h`: the link-layer header, where the
/// device has one, is at `skb->mac_header`.
#[btf_tracepoint(function = "net_dev_queue")]
pub fn device_out(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    // SAFETY: BTF-typed pointers from the tracepoint's argument on.
    let (protocol, head, mac, tail, addr_len) = unsafe {
        let dev = pointer(skb, at!(skb_dev));
        (
            u16::from_be(Direct::field::<u16>(skb, at!(skb_protocol))),
            Direct::field::<u64>(skb, at!(skb_head)),
            Direct::field::<u16>(skb, at!(skb_mac_header)),
            Direct::field::<u32>(skb, at!(skb_tail)),
            if dev.is_null() { 0 } else { Direct::field::<u8>(dev, at!(dev_addr_len)) },
        )
    };
    let link = if addr_len == ETH_ALEN { ETH_HLEN } else { 0 };
    let network = u32::from(mac) + link;
    let bytes =
        Linear { base: head.wrapping_add(u64::from(network)), len: tail.saturating_sub(network) };
    let skb_address = address(skb);
    let place = Place { nfct: || conntrack::of_typed(skb), is_chosen: || is_chosen(skb, false) };
    if let Some(found) = judge_at(skb_address, &bytes, protocol, place) {
        emit(&Sighting::new(Hook::TcEgress, skb_address, found));
    }
    0
}

/// Where [`device_tap`] goes on: at 0, [`device_tapped`].
#[map]
static TAPS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The filter of a socket. Its length counts against `net.core.optmem_max` (`sk_filter_charge`), 20 KiB
/// before Linux 6.7, which the parser does not fit into: that is another program.
#[socket_filter]
pub fn device_tap(ctx: SkBuffContext) -> i64 {
    // SAFETY: the programs are of one type. Where it fails, nothing is for the socket either.
    unsafe { TAPS.tail_call(&ctx, 0) };
    0
}

/// Runs on a packet socket of type `SOCK_DGRAM` that is bound to one device, with the network header at
/// offset 0 (`packet_rcv`, `net/packet/af_packet.c`). Nothing is for the socket: it keeps no packet.
#[socket_filter]
pub fn device_tapped(ctx: SkBuffContext) -> i64 {
    const NOTHING: i64 = 0;
    let skb = address(ctx.as_ptr().cast());
    // SAFETY: a `__sk_buff` field of the program's own context.
    let protocol = u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16);
    let bytes = SocketPacket { ctx: ctx.as_ptr() };
    if let Some(found) = judge(skb, &bytes, protocol, 0) {
        emit(&Sighting::new(Hook::TcIngress, skb, found));
    }
    NOTHING
}
