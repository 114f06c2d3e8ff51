//! Loads the kernel programs with this kernel's facts written into them.

use anyhow::{Context as _, anyhow, bail};
use aya::{Btf, Ebpf, EbpfLoader, Pod, VerifierLogLevel};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracer_common::abi::Layout;
use tracer_common::conntrack::CtLayout;
use tracer_common::drops::{BY_STACK, DropPlan};
use tracer_common::flow::Filter;

use super::entry::Entries;
use super::object::OBJECT;
use super::ports::Choice;
use super::probes;
use super::refusal::chain;
use crate::kernel::btf::KernelBtf;
use crate::kernel::conntrack;
use crate::kernel::hook_types::hook_types;
use crate::kernel::layout::layout;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodLayout(Layout);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for PodLayout {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCtLayout(CtLayout);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for PodCtLayout {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodFilter(Filter);
// SAFETY: `repr(C)`, integers only, explicit padding.
unsafe impl Pod for PodFilter {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodDropPlan(DropPlan);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for PodDropPlan {}

/// What the object is loaded for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// To follow packets.
    Follow {
        /// Size of the ring buffer, bytes. It is mapped twice (the second mapping makes a record
        /// that wraps around contiguous), so resident memory grows by up to twice this.
        ring_bytes: u32,
        /// Whose devices' hops are recorded.
        choice: Choice,
    },
    /// To count drops.
    Count {
        /// How.
        plan: DropPlan,
        /// For how many details each of the two maps has room.
        details: u32,
    },
}

/// For how many places (reason, function, device, namespace) drops can be counted.
const PLACES: u32 = 4096;
/// How many kernel stacks are told apart.
const KERNEL_STACKS: u32 = 1024;
/// The smallest ring buffer there can be, bytes.
const NO_RING: u32 = 4096;

/// A loader that has not read the kernel's types, to be made before there are threads that open
/// files.
///
/// Its constructor (aya 0.14, the only one) parses all of them, which takes a good part of the start
/// and tens of megabytes, whatever types it is given afterwards. Where no file can be opened it does
/// without.
pub fn loader() -> EbpfLoader<'static> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    let limited = limit.is_ok_and(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, 0, hard).is_ok());
    let loader = EbpfLoader::new();
    if let Ok((soft, hard)) = limit
        && limited
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
    {
        log::warn!("no more files can be opened: {e}");
    }
    loader
}

/// The object in the kernel, and the types that its hooks are found by.
pub struct Loaded {
    /// The object; its programs are loaded one by one as their hooks are attached.
    pub ebpf: Ebpf,
    /// The types that hooks are found by, let go of once all is attached.
    pub btf: Option<Btf>,
    /// Its programs for functions of modules.
    pub entries: Entries,
}

/// Writes the filter and this kernel's layout into the object and creates its maps, those that the
/// purpose does not need as small as can be.
///
/// # Errors
/// One line that says what is missing and what to do.
pub fn load(
    loader: EbpfLoader<'static>,
    kernel: &KernelBtf,
    filter: &Filter,
    purpose: Purpose,
) -> anyhow::Result<Loaded> {
    let Some(object) = OBJECT else {
        bail!(
            "this binary was built without its kernel programs: build it with `cargo xtask build`"
        );
    };
    // Before 5.11 BPF memory counts against this limit.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, u64::MAX, u64::MAX);
    let layout = PodLayout(layout(kernel)?);
    let ct_layout = PodCtLayout(conntrack::layout(kernel));
    let btf = hook_types(kernel, &probes::hook_types()).context("the kernel's BTF")?;
    let filter = PodFilter(*filter);
    let log_level = log_level();
    let mut choice = Choice::ByNetns;
    let (ring_bytes, plan, [places, details, stacks]) = match purpose {
        Purpose::Follow { ring_bytes, choice: chosen } => {
            choice = chosen;
            (ring_bytes, DropPlan::default(), [1; 3])
        }
        Purpose::Count { plan, details } => {
            let stacks = if plan.by & BY_STACK != 0 { KERNEL_STACKS } else { 1 };
            (NO_RING, plan, [PLACES, details, stacks])
        }
    };
    let plan = PodDropPlan(plan);
    let choice = choice as u32;
    let mut loader: EbpfLoader<'_> = loader;
    if let Purpose::Count { .. } = purpose {
        for map in ["IDENTITY", "LEARNED", "COPYING", "PORTS"] {
            loader.map_max_entries(map, 1);
        }
    }
    let ebpf = loader
        .btf(Some(&btf))
        .override_global("LAYOUT", &layout, true)
        .override_global("CT_LAYOUT", &ct_layout, true)
        .override_global("FILTER", &filter, true)
        .override_global("DROP_PLAN", &plan, true)
        .override_global("CHOICE", &choice, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("EVENTS", ring_bytes)
        .map_max_entries("DROPS", places)
        .map_max_entries("DETAILS_EVEN", details)
        .map_max_entries("DETAILS_ODD", details)
        .map_max_entries("STACKS", stacks)
        .verifier_log_level(verifier_log())
        .load(object)
        .map_err(|e| explain_load(&e))?;
    let entries = Entries::of(&ebpf).context("the maps")?;
    Ok(Loaded { ebpf, btf: Some(btf), entries })
}

/// The verifier's own words, where somebody asked for them (`-vv`): they slow the load down a lot.
fn verifier_log() -> VerifierLogLevel {
    if log::log_enabled!(log::Level::Debug) {
        VerifierLogLevel::DEBUG
    } else {
        VerifierLogLevel::empty()
    }
}

/// How much the programs say of their own work: nothing, but where somebody asked (`-vv`).
fn log_level() -> u8 {
    if log::log_enabled!(log::Level::Debug) { aya_log::Level::Debug as u8 } else { 0 }
}

/// Says what to do where the kernel refuses.
fn explain_load(e: &aya::EbpfError) -> anyhow::Error {
    let text = chain(e);
    if text.contains("Operation not permitted") {
        anyhow!(
            "the kernel refused to create BPF maps ({text}): run lasthop as root, or with \
                 CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN"
        )
    } else {
        anyhow!("the kernel refused lasthop's BPF object: {text}")
    }
}
