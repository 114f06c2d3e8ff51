//! What `ovs-vswitchd` answers to an upcall: the flow that it installs for the packet that asked.
//!
//! A packet that is to be dropped never comes back, so the flow is the only answer there is. The flow
//! key of a followed packet is kept from its upcall on; a flow that is then installed is an answer to
//! it when the key matches the flow, by the same rule as the datapath's (`masked_flow_lookup`,
//! `net/openvswitch/flow_table.c`): key and mask give the flow's key.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::{kprobe, map};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::ProbeContext;
use tracer_common::abi::Hook;
use tracer_common::ovs::KNOWS_LIST;

use crate::emit::{NO_DEVICE, Sighting};
use crate::judge::Match;
use crate::kernel::opaque;
use crate::maps::Word;
use crate::ovs::{Place, emit_run, layout, load};

/// Room for a `struct sw_flow_key`, in 8-byte words; it has had less than 600 bytes so far.
const KEY_WORDS: usize = 96;
/// How many packets can wait for an answer at once; of more, the oldest are forgotten.
const SLOTS: u32 = 16;

type Key = [u64; KEY_WORDS];

/// A followed packet that went up.
#[derive(Clone, Copy)]
#[repr(C)]
struct Asked {
    /// 0: this slot is free.
    life: u64,
    key: Key,
}

#[map]
static OVS_ASKED: Array<Asked> = Array::with_max_entries(SLOTS, 0);

/// A flow that is being installed.
#[derive(Clone, Copy)]
#[repr(C)]
struct Installed {
    key: Key,
    mask: Key,
}

/// Room for one on each processor: it does not fit onto the stack.
#[map]
static OVS_INSTALLED: PerCpuArray<Installed> = PerCpuArray::with_max_entries(1, 0);

/// How many packets have gone up: as long as none has, flows that are installed are of no concern.
static ASKED: Word = Word::zero();

/// Copies a flow key into a map's value; whether that was possible.
#[inline(always)]
fn copy(to: *mut Key, from: u64, size: u32) -> bool {
    let size = core::hint::black_box(size).min((KEY_WORDS * 8) as u32);
    // SAFETY: at most the room there is, which the verifier is shown; a fault is an error.
    unsafe { bpf_probe_read_kernel(to.cast(), size, from as *const _) == 0 }
}

#[inline(always)]
fn key_size() -> Option<u32> {
    layout().map(|l| l.key_size).filter(|size| *size != 0 && *size as usize <= KEY_WORDS * 8)
}

/// Remembers that a packet asks; gives back the slot that it has.
#[inline(always)]
pub fn ask(life: u64, key: u64) -> u32 {
    let slot = ASKED.load() as u32 & (SLOTS - 1);
    let (Some(size), Some(asked)) = (key_size(), OVS_ASKED.get_ptr_mut(slot)) else {
        return slot;
    };
    ASKED.add(1);
    // SAFETY: a map's value. Another processor may take the same slot: then one of the two is not
    // told of its answer.
    unsafe {
        (*asked).life = 0;
        if copy(&raw mut (*asked).key, key, size) {
            (*asked).life = life;
        }
    }
    slot
}

/// The packet could not go up after all.
#[inline(always)]
pub fn take_back(slot: u32, life: u64) {
    if let Some(asked) = OVS_ASKED.get_ptr_mut(slot & (SLOTS - 1)) {
        // SAFETY: a map's value.
        unsafe {
            if (*asked).life == life {
                (*asked).life = 0;
            }
        }
    }
}

/// `int ovs_flow_tbl_insert(struct flow_table *table, struct sw_flow *flow, const struct sw_flow_mask
/// *mask)`, `net/openvswitch/flow_table.c`.
#[kprobe]
pub fn ovs_answer_kprobe(ctx: ProbeContext) -> u32 {
    if ASKED.load() == 0 {
        return 0;
    }
    let (Some(flow), Some(mask)) = (ctx.arg::<*const u8>(1), ctx.arg::<*const u8>(2)) else {
        return 0;
    };
    let _ = answer(flow as u64, mask as u64);
    0
}

#[inline(always)]
fn answer(flow: u64, mask: u64) -> Option<()> {
    let (layout, size) = (layout()?, key_size()?);
    if layout.flow_key == 0 || layout.mask_key == 0 {
        return None;
    }
    let installed = OVS_INSTALLED.get_ptr_mut(0)?;
    // SAFETY: this processor's own room, and flows are installed under one lock (`ovs_mutex`).
    let (key, masked) = unsafe { (&raw mut (*installed).key, &raw mut (*installed).mask) };
    if !copy(key, flow.wrapping_add(u64::from(layout.flow_key - 1)), size)
        || !copy(masked, mask.wrapping_add(u64::from(layout.mask_key - 1)), size)
    {
        return None;
    }
    let acts = load(flow, layout.flow_acts)?;
    for slot in 0..SLOTS {
        let asked = OVS_ASKED.get_ptr_mut(slot)?;
        // SAFETY: a map's value.
        let life = unsafe { (*asked).life };
        if life != 0 && is_matched(asked, installed) {
            // SAFETY: as above.
            let key = unsafe {
                (*asked).life = 0;
                &raw const (*asked).key
            };
            tell(opaque(life), key as u64, acts);
        }
    }
    Some(())
}

/// A function of its own in the kernel too, so that the verifier looks at its loop once a call.
#[inline(never)]
fn is_matched(asked: *const Asked, installed: *const Installed) -> bool {
    let mut differs = 0;
    for i in 0..KEY_WORDS {
        // SAFETY: `i` is within the arrays; both are values of maps.
        let (asked, key, mask) = unsafe {
            (
                *(&raw const (*asked).key).cast::<u64>().add(i),
                *(&raw const (*installed).key).cast::<u64>().add(i),
                *(&raw const (*installed).mask).cast::<u64>().add(i),
            )
        };
        differs |= (asked & mask) ^ key;
    }
    opaque(differs) == 0
}

/// As [`is_matched`]: what it leaves on the stack would tell the loop's rounds apart.
#[inline(never)]
fn tell(life: u64, key: u64, acts: u64) {
    let mut place = Place { key, ..Place::unknown() };
    if let Some(layout) = layout()
        && let Some(len) = load::<u32>(acts, layout.acts_actions_len)
        && layout.acts_actions != 0
    {
        place.list = acts.wrapping_add(u64::from(layout.acts_actions - 1));
        place.list_len = len;
        place.known |= KNOWS_LIST;
    }
    // There is no skb: the packet was freed when it had gone up.
    let mut sighting = Sighting::new(Hook::OvsAnswer, 0, Match { life, flags: 0, alone: false });
    sighting.dev = Some(NO_DEVICE);
    emit_run(&sighting, &place);
}
