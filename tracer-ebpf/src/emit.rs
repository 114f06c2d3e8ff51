//! The only place that reserves room in the ring buffer, fills an event and submits it.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_get_stack, bpf_ktime_get_ns, bpf_probe_read_kernel,
    bpf_ringbuf_reserve, bpf_ringbuf_submit,
};
use tracer_common::abi::{
    Blindness, Counter, Event, FLAG_LINK_HEADER, FLAG_TRUNCATED, HEADER_BYTES, Hook, PART_CT,
    PART_STACK, Record, SKB_BLOCK_BYTES, STACK_DEPTH, Stack,
};
use tracer_common::conntrack::Ct;

use crate::conntrack;
use crate::judge::Match;
use crate::kernel::{Geometry, Probed, Skb, at, device_name, is_kernel_address, zero};
use crate::maps::{EVENTS, count, lose};

/// What a hook knows of what it saw.
#[derive(Clone, Copy)]
pub struct Sighting {
    /// Which hook.
    pub hook: Hook,
    /// Address of the `sk_buff`.
    pub skb: u64,
    /// Why it is of interest.
    pub found: Match,
    /// `enum skb_drop_reason`.
    pub reason: u32,
    /// Code address that gave the skb up.
    pub location: u64,
    /// Life that was cloned.
    pub parent: u64,
    /// The device, where it is not that of the skb: its address, or [`NO_DEVICE`].
    pub dev: Option<u64>,
}

/// The device at this place cannot be told.
pub const NO_DEVICE: u64 = 0;

/// The processor this runs on.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: no arguments.
    unsafe { bpf_get_smp_processor_id() }
}

impl Sighting {
    /// Of the skb at address `skb`, with nothing more to say.
    #[inline(always)]
    pub fn new(hook: Hook, skb: u64, found: Match) -> Self {
        let zero = zero();
        Self { hook, skb, found, reason: zero as u32, location: zero, parent: zero, dev: None }
    }
}

/// Writes one event, with the conntrack entry that the skb carries, from which it learns.
#[inline(always)]
pub fn emit(sighting: &Sighting) {
    let nfct = write(sighting);
    conntrack::learn_if(sighting, nfct);
}

/// As [`emit`], with the kernel stack that led to it.
#[inline(always)]
pub fn emit_with_stack(ctx: *mut c_void, sighting: &Sighting) {
    let nfct = write_with_stack(ctx, sighting);
    conntrack::learn_if(sighting, nfct);
}

/// Gives back the packet's `skb->_nfct`.
///
/// A function of its own in the kernel too, like [`write_with_stack`]: beside the parser's its
/// locals do not fit into the 512 bytes of stack.
#[inline(never)]
fn write(sighting: &Sighting) -> u64 {
    let nfct = conntrack::of(sighting.skb);
    if nfct == 0 {
        let Some(event) = reserve::<Event>(sighting.hook) else { return nfct };
        fill(event, sighting, 0);
        submit(event);
        return nfct;
    }
    let Some(record) = reserve::<Record<Ct>>(sighting.hook) else { return nfct };
    // SAFETY: reserved memory of this type, ours until it is submitted.
    let (event, ct) = unsafe { (&raw mut (*record).event, &raw mut (*record).parts) };
    fill(event, sighting, PART_CT);
    conntrack::fill(ct, nfct);
    submit(record);
    nfct
}

/// The parts of a tracked packet's end.
#[repr(C)]
struct StackAndCt {
    stack: Stack,
    ct: Ct,
}

#[inline(never)]
fn write_with_stack(ctx: *mut c_void, sighting: &Sighting) -> u64 {
    let nfct = conntrack::of(sighting.skb);
    if nfct == 0 {
        let Some(record) = reserve::<Record<Stack>>(sighting.hook) else { return nfct };
        // SAFETY: reserved memory of this type, ours until it is submitted.
        let (event, stack) = unsafe { (&raw mut (*record).event, &raw mut (*record).parts) };
        fill(event, sighting, PART_STACK);
        fill_stack(stack, ctx);
        submit(record);
        return nfct;
    }
    let Some(record) = reserve::<Record<StackAndCt>>(sighting.hook) else { return nfct };
    // SAFETY: as above.
    let (event, parts) = unsafe { (&raw mut (*record).event, &raw mut (*record).parts) };
    fill(event, sighting, PART_STACK | PART_CT);
    // SAFETY: as above.
    let (stack, ct) = unsafe { (&raw mut (*parts).stack, &raw mut (*parts).ct) };
    fill_stack(stack, ctx);
    conntrack::fill(ct, nfct);
    submit(record);
    nfct
}

#[inline(always)]
fn fill_stack(stack: *mut Stack, ctx: *mut c_void) {
    // SAFETY: reserved memory of this type; the helper writes at most the size given, and the rest
    // keeps the zeroes written before.
    unsafe {
        for i in 0..STACK_DEPTH {
            ptr::write_volatile(stack.cast::<u64>().add(i), 0);
        }
        bpf_get_stack(ctx, stack.cast(), (STACK_DEPTH * 8) as u32, 0);
    }
}

/// Room in the ring buffer for an event of this hook; `None`, and counted, when it is full.
#[inline(always)]
pub fn reserve<T>(hook: Hook) -> Option<*mut T> {
    // SAFETY: the size is a constant, as the verifier wants it.
    let room = unsafe {
        bpf_ringbuf_reserve((&raw const EVENTS).cast_mut().cast(), size_of::<T>() as u64, 0)
    };
    if room.is_null() {
        lose(Blindness::RingFull, hook as u32);
        return None;
    }
    Some(room.cast())
}

/// Hands over what was reserved and filled.
#[inline(always)]
pub fn submit<T>(event: *mut T) {
    count(Counter::Written);
    // SAFETY: reserved above and not used after.
    unsafe { bpf_ringbuf_submit(event.cast(), 0) }
}

const _: () = assert!(HEADER_BYTES >= SKB_BLOCK_BYTES);

/// Fills in the event itself; `parts` are for the caller to fill.
#[inline(always)]
pub fn fill(event: *mut Event, sighting: &Sighting, parts: u8) {
    // SAFETY: `event` is reserved memory of its type, written field by field; nothing is read from
    // it before it is written, but the padding of the array's tail, which `header_len` bounds.
    unsafe {
        (*event).ts = bpf_ktime_get_ns();
        (*event).life = sighting.found.life;
        (*event).skb = sighting.skb;
        (*event).parent = sighting.parent;
        (*event).location = sighting.location;
        (*event).reason = sighting.reason;
        (*event).cpu = cpu();
        (*event).hook = sighting.hook as u8;
        (*event).flags = sighting.found.flags;
        (*event).parts = parts;
        (*event).pad = 0;
    }
    if sighting.skb == 0 {
        fill_nothing(event);
        return;
    }
    // SAFETY: room for the packet's bytes, which are read into it when nothing more of the skb is asked
    // for: there is none left on the stack.
    let skb = &unsafe { Skb::read(sighting.skb, (&raw mut (*event).headers).cast()) };
    fill_packet(event, skb);
    fill_vlan(event, skb);
    let dev = match sighting.dev {
        Some(dev) => dev,
        None => skb.field::<u64>(at!(skb_dev)),
    };
    fill_device(event, skb, dev);
    let mut geometry = Geometry::of(skb);
    // Not set yet where a device hands a packet over: see `hooks::device`.
    if sighting.hook as u8 == Hook::TcIngress as u8 {
        geometry.network = skb.field::<u64>(at!(skb_data)).wrapping_sub(geometry.head) as u16;
        // Nor is the link-layer header in `skb->len` there, as it is where a packet leaves.
        let link = geometry.link_header_len().unwrap_or(0);
        // SAFETY: as in `fill`.
        unsafe { (*event).len += u32::from(link) };
    }
    fill_headers(event, &geometry, sighting.hook);
}

/// What there is to tell of the packet where its skb is gone.
#[inline(always)]
fn fill_nothing(event: *mut Event) {
    // SAFETY: as in `fill`.
    unsafe {
        (*event).len = 0;
        (*event).mark = 0;
        (*event).protocol = 0;
        (*event).pkt_type = u8::MAX;
        (*event).ip_summed = u8::MAX;
        (*event).vlan_proto = 0;
        (*event).vlan_tci = 0;
        (*event).ifindex = 0;
        (*event).netns = 0;
        device_name(&raw mut (*event).dev_name, 0);
        (*event).header_len = 0;
        (*event).l3_offset = 0;
    }
}

#[inline(always)]
fn fill_packet(event: *mut Event, skb: &Skb) {
    let protocol = skb.field::<u16>(at!(skb_protocol));
    let pkt_type = skb.field::<u8>(at!(skb_pkt_type));
    let ip_summed = skb.field::<u8>(at!(skb_ip_summed));
    // SAFETY: as in `fill`.
    unsafe {
        (*event).len = skb.field(at!(skb_len));
        (*event).mark = skb.field(at!(skb_mark));
        (*event).protocol = u16::from_be(protocol);
        (*event).pkt_type = (pkt_type >> (at!(pkt_type_shift) & 7)) & 7;
        (*event).ip_summed = (ip_summed >> (at!(ip_summed_shift) & 7)) & 3;
    }
}

#[inline(always)]
fn fill_vlan(event: *mut Event, skb: &Skb) {
    let mask = at!(vlan_present_mask);
    let present = mask == 0 || skb.field::<u8>(at!(skb_vlan_present)) & mask as u8 != 0;
    let (mut proto, mut tci) = (0, 0);
    if present {
        proto = u16::from_be(skb.field(at!(skb_vlan_proto)));
        tci = skb.field(at!(skb_vlan_tci));
    }
    // SAFETY: as in `fill`.
    unsafe {
        (*event).vlan_proto = proto;
        (*event).vlan_tci = tci;
    }
}

/// Device and namespace. At a socket, `skb->dev` may have given its place to the socket's own
/// bookkeeping (`skb->dev_scratch`): then the device is unknown and the socket tells the namespace.
#[inline(always)]
fn fill_device(event: *mut Event, skb: &Skb, dev: u64) {
    let mut ifindex = 0_u32;
    let mut net = 0_u64;
    let mut named = 0;
    if is_kernel_address(dev) {
        ifindex = Probed::or_zero(dev, at!(dev_ifindex));
        net = Probed::or_zero(dev, at!(dev_net));
        named = dev;
    }
    if net == 0 {
        let sk = skb.field::<u64>(at!(skb_sk));
        if is_kernel_address(sk) {
            net = Probed::or_zero(sk, at!(sk_net));
        }
    }
    let netns = Probed::or_zero(net, at!(net_inum));
    // SAFETY: as in `fill`.
    unsafe {
        (*event).ifindex = ifindex;
        (*event).netns = netns;
        device_name(&raw mut (*event).dev_name, named);
    }
}

#[inline(always)]
fn fill_headers(event: *mut Event, g: &Geometry, hook: Hook) {
    let (mut header_len, mut l3_offset, mut flags) = (0_u32, 0_u16, 0_u8);
    if g.head != 0 {
        let link = g.link_header_len();
        l3_offset = link.unwrap_or(0);
        if link.is_some() {
            flags |= FLAG_LINK_HEADER;
        }
        let start = g.network.wrapping_sub(l3_offset);
        let linear = g.tail.saturating_sub(u32::from(start));
        // SAFETY: as in `fill`.
        let whole = unsafe { (*event).len };
        if linear < HEADER_BYTES as u32 && linear < whole {
            flags |= FLAG_TRUNCATED;
        }
        header_len = linear.min(HEADER_BYTES as u32);
        let from = g.head.wrapping_add(u64::from(start));
        // SAFETY: at most the array's size, which the verifier is shown; a fault is an error.
        let failed = unsafe {
            bpf_probe_read_kernel(
                (&raw mut (*event).headers).cast(),
                core::hint::black_box(header_len).min(HEADER_BYTES as u32),
                from as *const c_void,
            )
        };
        if failed != 0 {
            lose(Blindness::Unreadable, hook as u32);
            header_len = 0;
        }
    }
    if header_len < u32::from(l3_offset) {
        l3_offset = 0;
        header_len = 0;
    }
    // SAFETY: as in `fill`.
    unsafe {
        (*event).header_len = header_len as u16;
        (*event).l3_offset = l3_offset;
        (*event).flags |= flags;
    }
}
