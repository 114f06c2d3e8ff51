//! Drops counted in the kernel: the program attached, its maps read.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, bail};
use aya::maps::{Array, Map, MapData, PerCpuArray, PerCpuHashMap, StackTraceMap};
use aya::util::nr_cpus;
use aya::{EbpfLoader, Pod};
use tracer_common::drops::{DropCell, DropCount, DropDetail, DropKey, DropPlan};
use tracer_common::flow::Filter;

use super::counters::Counters;
use super::load::{Loaded, Purpose, load};
use super::ovs;
use super::probes::{self, Attached};
use super::syscall::take_entries;
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::Reasons;
use crate::kernel::symbols::{HIDDEN_SYMBOLS, Symbols};

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodKey(DropKey);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for PodKey {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodDetail(DropDetail);
// SAFETY: as above.
unsafe impl Pod for PodDetail {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCount(DropCount);
// SAFETY: as above.
unsafe impl Pod for PodCount {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCell(DropCell);
// SAFETY: as above.
unsafe impl Pod for PodCell {}

/// Drops by all that was asked for, of one generation.
struct Details {
    map: PerCpuHashMap<MapData, PodDetail, PodCount>,
    fd: OwnedFd,
    /// The kernel can hand over many at once.
    in_batches: bool,
}

/// How much is taken over at once, bytes.
const BATCH_BYTES: usize = 1 << 18;

/// How much memory the kernel takes for so many details in each generation, bytes: `struct htab_elem`, the
/// key, a pointer, a count for each processor, and a table of buckets (`kernel/bpf/hashtab.c`).
pub fn kernel_bytes(details: u32) -> u64 {
    const ELEMENT: u64 = 48 + 8;
    const BUCKET: u64 = 16;
    let processors = nr_cpus().unwrap_or(1) as u64;
    let counts = size_of::<DropCount>() as u64 * processors;
    let each = ELEMENT + size_of::<DropDetail>() as u64 + counts;
    let details = u64::from(details);
    2 * (details * each + details.next_power_of_two() * BUCKET)
}

impl Details {
    fn new(map: Map) -> anyhow::Result<Self> {
        let Map::PerCpuHashMap(data) = &map else {
            bail!("the details are in another kind of map")
        };
        let fd = data.fd().as_fd().try_clone_to_owned()?;
        Ok(Self { fd, map: PerCpuHashMap::try_from(map)?, in_batches: true })
    }

    /// Takes all out.
    fn take(&mut self, each: &mut dyn FnMut(DropDetail, DropCount)) -> anyhow::Result<()> {
        if self.in_batches {
            match self.take_in_batches(each) {
                // EINVAL before 5.6, ENOTSUPP for kinds of maps that cannot.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | 524)) => {
                    self.in_batches = false;
                }
                taken => return Ok(taken?),
            }
        }
        let entries: Vec<_> = self.map.iter().filter_map(Result::ok).collect();
        for (detail, counts) in entries {
            self.map.remove(&detail)?;
            each(detail.0, sum(&counts));
        }
        Ok(())
    }

    fn take_in_batches(&self, each: &mut dyn FnMut(DropDetail, DropCount)) -> io::Result<()> {
        let processors = nr_cpus().map_err(|(_, e)| e)?;
        let mut room =
            BATCH_BYTES / (size_of::<DropDetail>() + processors * size_of::<DropCount>());
        room = room.max(64);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut at = None;
        loop {
            keys.resize(room, PodDetail(DropDetail::default()));
            values.resize(room * processors, PodCount(DropCount::default()));
            // SAFETY: of the map's own types, for each key as many counts as there may be processors; a
            // count is 16 bytes long.
            let taken = unsafe { take_entries(self.fd.as_fd(), &mut at, &mut keys, &mut values) };
            let (taken, is_last) = match taken {
                // More entries than that share a hash.
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                    room *= 2;
                    continue;
                }
                taken => taken?,
            };
            let taken = keys.iter().zip(values.chunks_exact(processors)).take(taken);
            taken.for_each(|(PodDetail(detail), counts)| each(*detail, sum(counts)));
            if is_last {
                return Ok(());
            }
        }
    }
}

/// The count while it runs.
pub struct Counting {
    loaded: Option<Loaded>,
    /// Of places that came first to a cell, and of the others.
    cells: PerCpuArray<MapData, PodCell>,
    places: PerCpuHashMap<MapData, PodKey, PodCount>,
    /// Those of even and of odd generations.
    details: [Details; 2],
    generation: Array<MapData, u32>,
    now: u32,
    stacks: StackTraceMap<MapData>,
    counters: Counters,
    probe: String,
    ovs: Vec<Attached>,
}

/// What numbers in the maps mean.
pub struct Legend {
    /// Code addresses.
    pub symbols: Symbols,
    /// Drop reasons.
    pub reasons: Reasons,
}

impl Counting {
    /// Loads and attaches. `by` is `BY_*`; `filter` is `None` where all drops count; `details`: for
    /// how many different details there is room in the kernel between two readings; `aya` is a
    /// [`loader`](super::load::loader).
    ///
    /// # Errors
    /// One line that says what is missing and what to do.
    pub fn start(
        aya: EbpfLoader<'static>,
        by: u32,
        filter: Option<&Filter>,
        details: u32,
    ) -> anyhow::Result<(Self, Legend)> {
        let kernel = KernelBtf::open()?;
        let reasons = Reasons::read(&kernel);
        let details = if by == 0 { 1 } else { details };
        let symbols = Symbols::read().context("/proc/kallsyms")?;
        if symbols.is_empty() {
            log::warn!("{HIDDEN_SYMBOLS}; more of everyday life is shown");
        }
        let plan = DropPlan {
            by,
            filtered: u32::from(filter.is_some()),
            tcp_v4_rcv: symbols.code_of("tcp_v4_rcv").unwrap_or_default(),
            tcp_v6_rcv: symbols.code_of("tcp_v6_rcv").unwrap_or_default(),
        };
        let filter = filter.copied().unwrap_or(Filter::ANY);
        let mut loaded = load(aya, &kernel, &filter, Purpose::Count { plan, details })?;
        let mut take = |name: &str| {
            loaded.ebpf.take_map(name).with_context(|| format!("no map {name} inside"))
        };
        let cells = PerCpuArray::try_from(take("DROP_TABLE")?)?;
        let places = PerCpuHashMap::try_from(take("DROPS")?)?;
        let details = [Details::new(take("DETAILS_EVEN")?)?, Details::new(take("DETAILS_ODD")?)?];
        let generation = Array::try_from(take("GENERATION")?)?;
        let stacks = StackTraceMap::try_from(take("STACKS")?)?;
        let counters = Counters::take(&mut loaded)?;
        let probe = probes::attach_count(&mut loaded)?;
        let explains = reasons.has_subsystem("openvswitch");
        let ovs = ovs::attach_count(&mut loaded, &kernel, explains);
        let counting = Self {
            loaded: Some(loaded),
            cells,
            places,
            details,
            generation,
            now: 0,
            stacks,
            counters,
            probe,
            ovs,
        };
        Ok((counting, Legend { symbols, reasons }))
    }

    /// The probes that are attached, by name.
    pub fn probes(&self) -> Vec<String> {
        let ovs = self.ovs.iter().filter_map(|kind| kind.probe.clone());
        std::iter::once(self.probe.clone()).chain(ovs).collect()
    }

    /// What is not counted, each a sentence.
    pub fn blind(&self) -> Vec<String> {
        let missing = self.ovs.iter().filter(|kind| kind.probe.is_none());
        missing.map(|kind| format!("{}: {}", kind.kind, kind.costs)).collect()
    }

    /// How often each place has dropped, from the beginning on. A place may be there more than once.
    pub fn places(&self) -> Vec<(DropKey, DropCount)> {
        let cells = self.cells.iter().filter_map(Result::ok);
        let cells: Vec<_> = cells.flat_map(|of_all| of_all.to_vec()).collect();
        let in_cells = cells.iter().map(|PodCell(cell)| (cell.key, cell.count));
        let entries = self.places.iter().filter_map(Result::ok);
        let in_map = entries.map(|(key, counts)| (key.0, sum(&counts)));
        in_cells.filter(|(_, count)| count.packets != 0).chain(in_map).collect()
    }

    /// Takes over what was counted in detail since the last call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_details(
        &mut self,
        mut each: impl FnMut(DropDetail, DropCount),
    ) -> anyhow::Result<()> {
        let old = self.now as usize & 1;
        self.now = self.now.wrapping_add(1);
        self.generation.set(0, self.now, 0)?;
        if self.loaded.is_some() {
            // Programs that run at this moment may still count in the old one; none takes long.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.details.get_mut(old).map_or(Ok(()), |details| details.take(&mut each))
    }

    /// A kernel stack by its number: return addresses, innermost first.
    pub fn stack(&self, number: u32) -> Vec<u64> {
        let trace = self.stacks.get(&number, 0).ok();
        trace.map_or_else(Vec::new, |trace| trace.frames().iter().map(|frame| frame.ip).collect())
    }

    /// Drops that no map had room for.
    pub fn not_held(&self) -> u64 {
        self.counters.not_held()
    }

    /// Detaches. The maps can still be read.
    pub fn detach(&mut self) {
        self.loaded = None;
    }
}

fn sum(counts: &[PodCount]) -> DropCount {
    counts.iter().fold(DropCount::default(), |sum, PodCount(count)| DropCount {
        packets: sum.packets.saturating_add(count.packets),
        bytes: sum.bytes.saturating_add(count.bytes),
    })
}
