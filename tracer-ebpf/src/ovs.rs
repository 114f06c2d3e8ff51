//! Reads what the openvswitch module keeps about a packet, into the parts of an event.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use tracer_common::abi::{
    Blindness, Hook, PART_CT, PART_OVS, PART_OVS_LIST, PART_OVS_LONG_LIST, Record,
};
use tracer_common::conntrack::Ct;
use tracer_common::ovs::{
    KNOWS_KEY, KNOWS_LIST, LIST_BYTES, LONG_LIST_BYTES, NO_PORT, OvsFacts, OvsLayout, OvsRun,
};

use crate::conntrack;
use crate::emit::{Sighting, fill, reserve, submit};
use crate::kernel::{Memory, NameOut, Probed, device_name, zero};
use crate::maps::lose;

/// Where the module's fields are. A map, not `.rodata`: the module may be loaded later than these
/// programs, and only packets that matched pay for the look-up.
#[map]
static OVS_LAYOUT: Array<OvsLayout> = Array::with_max_entries(1, 0);

/// Where the module's fields are.
#[inline(always)]
pub fn layout() -> Option<&'static OvsLayout> {
    OVS_LAYOUT.get(0)
}

/// The field at `offset`, which is one more than it is, or 0 where the kernel does not tell.
#[inline(always)]
pub fn load<T: Copy>(base: u64, offset: u32) -> Option<T> {
    if offset == 0 || base == 0 {
        return None;
    }
    Probed::load(base, offset - 1)
}

/// As [`load`], or zero.
#[inline(always)]
fn or_zero<T: Copy + Default>(base: u64, offset: u32) -> T {
    if offset == 0 || base == 0 { T::default() } else { Probed::or_zero(base, offset - 1) }
}

/// What a hook knows: addresses of the module's structures, 0 where it was given none.
#[derive(Clone, Copy)]
pub struct Place {
    /// `struct vport`: the one at which the packet is.
    pub vport: u64,
    /// `struct sk_buff`, once its control block is the datapath's: after the receive.
    pub skb: u64,
    /// `struct datapath`.
    pub dp: u64,
    /// `struct sw_flow_key`.
    pub key: u64,
    /// The action list.
    pub list: u64,
    /// Its length, bytes.
    pub list_len: u32,
    /// What `ovs_dp_upcall` returned.
    pub result: i32,
    /// `OVS_PACKET_CMD_*`.
    pub cmd: u8,
    /// `KNOWS_*`, those that the fields above are valid by.
    pub known: u8,
}

impl Place {
    /// Nothing is known.
    #[inline(always)]
    pub fn unknown() -> Self {
        let zero = zero();
        Self {
            vport: zero,
            skb: zero,
            dp: zero,
            key: zero,
            list: zero,
            list_len: zero as u32,
            result: zero as i32,
            cmd: zero as u8,
            known: zero as u8,
        }
    }
}

/// Writes one event with the facts, and with the conntrack entry that the skb carries, from which it
/// learns.
#[inline(always)]
pub fn emit_facts(sighting: &Sighting, place: &Place) {
    let nfct = write_facts(sighting, place);
    conntrack::learn_if(sighting, nfct);
}

/// As [`emit_facts`], with the action list that is run, where there is one.
#[inline(always)]
pub fn emit_run(sighting: &Sighting, place: &Place) {
    let nfct = if place.list_len == 0 {
        write_facts(sighting, place)
    } else if place.list_len as usize <= LIST_BYTES {
        write_run::<LIST_BYTES>(sighting, place)
    } else {
        write_run::<LONG_LIST_BYTES>(sighting, place)
    };
    conntrack::learn_if(sighting, nfct);
}

/// The parts of an event of a packet that conntrack knows.
#[repr(C)]
struct Tracked<P> {
    ct: Ct,
    ovs: P,
}

/// The conntrack entry of the skb, where there is an skb: see [`conntrack::of`].
#[inline(always)]
fn tracked(sighting: &Sighting) -> u64 {
    if sighting.skb == 0 { 0 } else { conntrack::of(sighting.skb) }
}

/// Gives back the packet's `skb->_nfct`.
///
/// A function of its own in the kernel too, as those of [`crate::emit`].
#[inline(never)]
fn write_facts(sighting: &Sighting, place: &Place) -> u64 {
    let nfct = tracked(sighting);
    if nfct == 0 {
        let Some(record) = reserve::<Record<OvsFacts>>(sighting.hook) else { return nfct };
        // SAFETY: reserved memory of this type, ours until it is submitted.
        let (event, out) = unsafe { (&raw mut (*record).event, &raw mut (*record).parts) };
        fill(event, sighting, PART_OVS);
        facts(out, place);
        submit(record);
        return nfct;
    }
    let Some(record) = reserve::<Record<Tracked<OvsFacts>>>(sighting.hook) else { return nfct };
    // SAFETY: as above.
    let (event, ct, out) = unsafe {
        let parts = &raw mut (*record).parts;
        (&raw mut (*record).event, &raw mut (*parts).ct, &raw mut (*parts).ovs)
    };
    fill(event, sighting, PART_CT | PART_OVS);
    conntrack::fill(ct, nfct);
    facts(out, place);
    submit(record);
    nfct
}

#[inline(never)]
fn write_run<const N: usize>(sighting: &Sighting, place: &Place) -> u64 {
    let part = if N == LIST_BYTES { PART_OVS_LIST } else { PART_OVS_LONG_LIST };
    let nfct = tracked(sighting);
    if nfct == 0 {
        let Some(record) = reserve::<Record<OvsRun<N>>>(sighting.hook) else { return nfct };
        // SAFETY: reserved memory of this type, ours until it is submitted.
        let (event, run) = unsafe { (&raw mut (*record).event, &raw mut (*record).parts) };
        fill(event, sighting, PART_OVS | part);
        fill_run(run, place);
        submit(record);
        return nfct;
    }
    let Some(record) = reserve::<Record<Tracked<OvsRun<N>>>>(sighting.hook) else { return nfct };
    // SAFETY: as above.
    let (event, ct, run) = unsafe {
        let parts = &raw mut (*record).parts;
        (&raw mut (*record).event, &raw mut (*parts).ct, &raw mut (*parts).ovs)
    };
    fill(event, sighting, PART_CT | PART_OVS | part);
    conntrack::fill(ct, nfct);
    fill_run(run, place);
    submit(record);
    nfct
}

/// The facts, and the first `N` bytes of the action list.
#[inline(always)]
fn fill_run<const N: usize>(run: *mut OvsRun<N>, place: &Place) {
    // SAFETY: reserved memory of its type.
    let (out, list) = unsafe { (&raw mut (*run).facts, &raw mut (*run).list) };
    facts(out, place);
    let len = core::hint::black_box(place.list_len).min(N as u32);
    // SAFETY: at most the array's size, which the verifier is shown; a fault is an error.
    let failed = unsafe { bpf_probe_read_kernel(list.cast(), len, place.list as *const _) };
    if failed != 0 {
        lose(Blindness::Unreadable, Hook::OvsActions as u32);
        // SAFETY: as above. A list that was not read is not known.
        unsafe {
            (*out).list_len = 0;
            (*out).known &= !KNOWS_LIST;
        }
    }
}

#[inline(always)]
fn facts(out: *mut OvsFacts, place: &Place) {
    // SAFETY: reserved memory of its type. Word by word: of one write the compiler makes a call that
    // clears byte by byte.
    unsafe {
        for i in 0..size_of::<OvsFacts>() / 8 {
            ptr::write_volatile(out.cast::<u64>().add(i), 0);
        }
        (*out).in_port_no = NO_PORT;
        (*out).port_no = NO_PORT;
        (*out).list_len = place.list_len;
        (*out).result = place.result;
        (*out).cmd = place.cmd;
        (*out).known = place.known;
    }
    let Some(layout) = layout() else { return };
    if place.key != 0 {
        flow_key(out, place.key, layout);
    }
    let mut dp = place.dp;
    if place.vport != 0 {
        dp = or_zero(place.vport, layout.vport_dp);
        // SAFETY: as above.
        unsafe { (*out).port_no = vport(&raw mut (*out).port, place.vport, layout) };
    }
    // What a vport has just received came in by it.
    let input = match place.skb {
        0 => place.vport,
        skb => or_zero(skb, layout.skb_input_vport),
    };
    // SAFETY: as above.
    unsafe { (*out).in_port_no = vport(&raw mut (*out).in_port, input, layout) };
    // Without an skb the flow key tells the number. (`DP_MAX_PORTS` there: a packet without one.)
    if input == 0
        && let Some(port) = load::<u16>(place.key, layout.key_in_port)
        && port != u16::MAX
    {
        // SAFETY: as above.
        unsafe { (*out).in_port_no = u32::from(port) };
    }
    let local = local_port(dp, layout);
    // SAFETY: as above.
    unsafe { vport(&raw mut (*out).dp, local, layout) };
}

#[inline(always)]
fn flow_key(out: *mut OvsFacts, key: u64, layout: &OvsLayout) {
    let Some(recirc_id) = load(key, layout.key_recirc_id) else {
        return;
    };
    // SAFETY: reserved memory of its type.
    unsafe {
        (*out).recirc_id = recirc_id;
        (*out).ct_state = or_zero(key, layout.key_ct_state);
        (*out).ct_zone = or_zero(key, layout.key_ct_zone);
        (*out).ct_mark = or_zero(key, layout.key_ct_mark);
        // As words: of bytes the compiler clears and copies one by one.
        let label: [u64; 2] = or_zero(key, layout.key_ct_labels);
        ptr::write((&raw mut (*out).ct_label).cast(), label);
        (*out).known |= KNOWS_KEY;
    }
}

/// Writes a vport's name; gives back its number.
#[inline(always)]
fn vport(name: NameOut, vport: u64, layout: &OvsLayout) -> u32 {
    // SAFETY: a field of reserved memory.
    unsafe { device_name(name, or_zero(vport, layout.vport_dev)) };
    load::<u16>(vport, layout.vport_port_no).map_or(NO_PORT, u32::from)
}

/// The datapath's local port, number 0 (`OVSP_LOCAL`), after which it is named: it hashes to the
/// first bucket of `dp->ports`, which it shares with every thousandth port (`vport_hash_bucket`).
#[inline(always)]
fn local_port(dp: u64, layout: &OvsLayout) -> u64 {
    const BUCKET_DEPTH: u32 = 3;
    if layout.vport_dp_hash_node == 0 || layout.vport_port_no == 0 {
        return 0;
    }
    let buckets = or_zero::<u64>(dp, layout.datapath_ports);
    let mut node = Probed::or_zero::<u64>(buckets, 0);
    for _ in 0..BUCKET_DEPTH {
        if node == 0 {
            return 0;
        }
        let vport = node.wrapping_sub(u64::from(layout.vport_dp_hash_node - 1));
        if load::<u16>(vport, layout.vport_port_no) == Some(0) {
            return vport;
        }
        node = Probed::or_zero::<u64>(node, 0);
    }
    0
}
