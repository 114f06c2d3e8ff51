//! The maps, and the counters of what could not be reported.

use core::cell::UnsafeCell;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, StackTrace};
use tracer_common::abi::{
    Blindness, COUNTERS, Counter, IDENTITIES, LOSSES as SLOTS, LOST_ANY, Losses, ROUND, TUPLES,
};
use tracer_common::drops::{DROP_CELLS, DropCell, DropCount, DropDetail, DropKey};
use tracer_common::flow::Tuple;

/// Events on their way to the collector; its size is the collector's choice at load.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// What is known of an skb that matched once.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Identity {
    /// Its identity in the trace.
    pub life: u64,
    /// `tracer_common::transport::mark` of the packet, to notice that the skb's address was reused.
    pub mark: u32,
    /// Zero.
    pub pad: u32,
}

/// Followed skbs by address. LRU: an entry whose skb was freed out of sight ages out.
#[map]
pub static IDENTITY: LruHashMap<u64, Identity> = LruHashMap::with_max_entries(IDENTITIES, 0);

/// Tuples that followed packets took on after a translation, both directions; ages out.
#[map]
pub static LEARNED: LruHashMap<Tuple, u8> = LruHashMap::with_max_entries(TUPLES, 0);

/// The devices and namespaces whose hops are recorded, by `tracer_common::ports::key`; each a
/// `tracer_common::ports::Port`. Written by the collector.
#[map]
pub static PORTS: HashMap<u64, u8> = HashMap::with_max_entries(1 << 17, BPF_F_NO_PREALLOC);

/// skbs between entry and return of a function that copies them, by task.
#[map]
pub static COPYING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1 << 10, 0);

/// Per processor: [`Counter`]s.
#[map]
pub static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Per processor: what was lost, by kind and hook.
#[map]
pub static LOSSES: PerCpuArray<[Losses; SLOTS]> = PerCpuArray::with_max_entries(1, 0);

/// `BPF_F_MMAPABLE`: the collector reads and writes it as memory, without a system call.
const MMAPABLE: u32 = 1 << 10;

/// How many losses there were, and in which round: see [`LOST_ANY`] and [`ROUND`].
#[map]
pub static LOST: Array<u64> = Array::with_max_entries(2, MMAPABLE);

/// Per processor: how many lives it has begun.
#[map]
pub static LIVES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Drops by place, of keys that have no cell in [`DROP_TABLE`]. Not LRU: what is counted stays counted.
#[map]
pub static DROPS: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(1, 0);

/// Per processor: drops of the keys that came first to their cells. A cell is found without a helper's
/// call, which a hash table takes.
#[map]
pub static DROP_TABLE: PerCpuArray<DropCell> = PerCpuArray::with_max_entries(DROP_CELLS, 0);

/// Drops by all that was asked for, in two generations: while the programs count in one, the
/// collector empties the other. What one has no room for is counted in [`DROPS`].
#[map]
pub static DETAILS_EVEN: PerCpuHashMap<DropDetail, DropCount> =
    PerCpuHashMap::with_max_entries(1, 0);
/// See [`DETAILS_EVEN`].
#[map]
pub static DETAILS_ODD: PerCpuHashMap<DropDetail, DropCount> =
    PerCpuHashMap::with_max_entries(1, 0);

/// Which generation counts: even or odd.
#[map]
pub static GENERATION: Array<u32> = Array::with_max_entries(1, 0);

/// Kernel stacks of drops, by number.
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// A word that all processors read and add to. (`core::sync::atomic` has no loads or adds for BPF
/// before its fourth instruction set, which older kernels do not have.)
#[repr(transparent)]
pub struct Word(UnsafeCell<u64>);

// SAFETY: only touched by single aligned loads, stores and atomic adds.
unsafe impl Sync for Word {}

impl Word {
    /// Starts at 0.
    pub const fn zero() -> Self {
        Self(UnsafeCell::new(0))
    }

    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: an aligned word of a static.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub fn store(&self, n: u64) {
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(n) }
    }

    /// An atomic add.
    #[inline(always)]
    pub fn add(&self, n: i64) {
        // SAFETY: an aligned word of a static.
        unsafe { add(self.0.get(), n) }
    }
}

/// Whether `LEARNED` has ever been written: spares the look-up while it is empty.
static LEARNED_ANY: Word = Word::zero();

const HINTS: usize = 1 << 12;
/// How many followed skbs hash to each cell: a zero proves that an skb is not followed, without a
/// look-up in `IDENTITY`. An entry that ages out leaves its count behind, which costs a look-up,
/// never a packet.
static HINT: [Word; HINTS] = [const { Word::zero() }; HINTS];

#[inline(always)]
fn hint(skb: u64) -> &'static Word {
    // skbs are 256-byte slab objects: the low bits carry nothing.
    let cell = ((skb >> 8) ^ (skb >> 22)) as usize & (HINTS - 1);
    // SAFETY: the mask keeps `cell` below `HINTS`; a checked index would leave a panic path, which
    // the verifier cannot rule out on every kernel.
    unsafe { HINT.get_unchecked(cell) }
}

/// Counts one thing that could not be reported, or was.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(n) = COUNTS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU slot, valid for as long as the program runs.
        unsafe { *n += 1 }
    }
}

/// Counts an event that was lost, or a gap in what is seen. `hook`: the [`Hook`]'s number, 0 where it is
/// not known.
///
/// [`Hook`]: tracer_common::abi::Hook
#[inline(always)]
pub fn lose(blindness: Blindness, hook: u32) {
    lose_at(blindness.slot(hook) as u32);
}

/// A function of its own in the kernel too: nothing of it is on the way of what is not lost.
#[inline(never)]
fn lose_at(slot: u32) {
    let (Some(losses), Some(any), Some(round)) =
        (LOSSES.get_ptr_mut(0), LOST.get_ptr_mut(LOST_ANY), LOST.get_ptr_mut(ROUND))
    else {
        return;
    };
    // What it is was lost on the way: the mask has to stay, for the verifier.
    let slot = core::hint::black_box(slot) as usize & (SLOTS - 1);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a per-CPU value, and an index that the mask keeps within it; two words of a map that are
    // only loaded and added to. An interrupt may lose an event in the midst of this, which is later.
    unsafe {
        let losses = losses.cast::<Losses>().add(slot);
        let round = round.read_volatile();
        if (*losses).round != round || (*losses).count == 0 || (*losses).since > now {
            (*losses).round = round;
            (*losses).since = now;
        }
        if (*losses).until < now {
            (*losses).until = now;
        }
        add(&raw mut (*losses).count, 1);
        add(any, 1);
    }
}

/// BPF's atomic add (`BPF_XADD`).
///
/// # Safety
/// `word` is an aligned word of a map's value or a static.
#[inline(always)]
unsafe fn add(word: *mut u64, n: i64) {
    // SAFETY: the caller's; no register is changed.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {n}",
            word = in(reg) word,
            n = in(reg) n,
        );
    }
}

/// The identity of the skb at this address, if it is followed.
#[inline(always)]
pub fn identity(skb: u64) -> Option<Identity> {
    if hint(skb).load() == 0 {
        return None;
    }
    // SAFETY: the value is copied at once; a concurrent change of this entry would mean that the
    // skb is freed while a hook runs on it.
    unsafe { IDENTITY.get(skb).copied() }
}

/// What `PORTS` holds of a device or a namespace.
#[inline(always)]
pub fn port(key: u64) -> Option<u8> {
    // SAFETY: a byte, copied at once.
    unsafe { PORTS.get(key).copied() }
}

/// Begins to follow the skb at this address, under a new life.
#[inline(always)]
pub fn follow(skb: u64, mark: u32, cpu: u32) -> u64 {
    let Some(n) = LIVES.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: as in `count`.
    let life = unsafe {
        *n += 1;
        (*n << 12) | u64::from(cpu & 0xfff)
    };
    if IDENTITY.insert(skb, Identity { life, mark, pad: 0 }, 0).is_ok() {
        hint(skb).add(1);
    } else {
        lose(Blindness::MapFull, 0);
    }
    life
}

/// Ends following the skb at this address.
#[inline(always)]
pub fn forget(skb: u64) {
    if IDENTITY.remove(skb).is_ok() {
        hint(skb).add(-1);
        count(Counter::Forgotten);
    }
}

/// Makes a tuple match from now on, and its replies.
#[inline(always)]
pub fn learn(tuple: &Tuple) {
    learn_way(tuple);
    learn_way(&tuple.reversed());
}

/// Makes a tuple match from now on, and not its replies. A refusal is counted, and not told with its time
/// as by [`lose`]: another function does not fit on the stack beside those that learn and their hooks.
#[inline(always)]
pub fn learn_way(tuple: &Tuple) {
    let learned = LEARNED.insert(tuple, 1, 0).is_ok();
    count(if learned { Counter::Learned } else { Counter::Unlearned });
    LEARNED_ANY.store(1);
}

/// So many tuples were learned.
#[inline(always)]
pub fn note_learned(n: u64) {
    if n != 0 {
        LEARNED_ANY.store(n);
    }
}

/// Whether this tuple was learned.
#[inline(always)]
pub fn learned(tuple: &Tuple) -> bool {
    // SAFETY: only the entry's presence matters.
    LEARNED_ANY.load() != 0 && unsafe { LEARNED.get(tuple) }.is_some()
}
