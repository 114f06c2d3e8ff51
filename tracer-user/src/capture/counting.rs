//! Drops counted in the kernel: the program attached, its maps read.

use anyhow::Context as _;
use aya::maps::{Array, MapData, PerCpuArray, PerCpuHashMap, StackTraceMap};
use aya::{EbpfLoader, Pod};
use tracer_common::drops::{DropCell, DropCount, DropDetail, DropKey, DropPlan};
use tracer_common::flow::Filter;

use super::counters::Counters;
use super::load::{Loaded, Purpose, load};
use super::ovs;
use super::probes::{self, Attached};
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

type Details = PerCpuHashMap<MapData, PodDetail, PodCount>;

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
        let details = [
            PerCpuHashMap::try_from(take("DETAILS_EVEN")?)?,
            PerCpuHashMap::try_from(take("DETAILS_ODD")?)?,
        ];
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

    /// What was counted in detail since the last call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_details(&mut self) -> anyhow::Result<Vec<(DropDetail, DropCount)>> {
        let old = self.now as usize & 1;
        self.now = self.now.wrapping_add(1);
        self.generation.set(0, self.now, 0)?;
        if self.loaded.is_some() {
            // Programs that run at this moment may still count in the old one; none takes long.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let Some(map) = self.details.get_mut(old) else { return Ok(Vec::new()) };
        let entries: Vec<_> = map.iter().filter_map(Result::ok).collect();
        let mut taken = Vec::with_capacity(entries.len());
        for (detail, counts) in entries {
            map.remove(&detail)?;
            taken.push((detail.0, sum(&counts)));
        }
        Ok(taken)
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

fn sum(counts: &aya::maps::PerCpuValues<PodCount>) -> DropCount {
    counts.iter().fold(DropCount::default(), |sum, PodCount(count)| DropCount {
        packets: sum.packets.saturating_add(count.packets),
        bytes: sum.bytes.saturating_add(count.bytes),
    })
}
