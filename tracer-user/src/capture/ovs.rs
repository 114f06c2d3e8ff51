//! Open vSwitch's hooks: attached when its module is there, at the start or any time later.
//!
//! The functions that every packet passes are hooked by fentry where the kernel tells of the module's
//! functions (5.11, `CONFIG_DEBUG_INFO_BTF_MODULES`), else by kprobe as the others. While an fentry
//! program is attached the kernel keeps the module from being unloaded.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use aya::Pod;
use aya::maps::Array;
use aya::programs::Program;
use tracer_common::ovs::OvsLayout;

use super::entry::{Entry, Functions};
use super::load::Loaded;
use super::probes::Attached;
use super::refusal::chain;
use crate::kernel::btf::{KernelBtf, field};
use crate::kernel::ovs_layout::{Gap, ovs_layout};

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodLayout(OvsLayout);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for PodLayout {}

/// One kind of sighting: the programs that must all attach for it to stand, and to which functions, in
/// two tiers.
struct Kind {
    name: &'static str,
    costs: &'static str,
    /// By fentry.
    entry: Option<Entry>,
    /// By kprobes.
    programs: &'static [(&'static str, &'static str)],
}

/// Where every device is seen, what a vport receives was judged before.
const RECEIVE: Kind = Kind {
    name: "ovs-receive",
    costs: "it is not seen which vport of Open vSwitch receives a packet",
    entry: Some(("ovs_receive_fentry", "ovs_vport_receive")),
    programs: &[("ovs_receive_kprobe", "ovs_vport_receive")],
};
/// Where some have none.
const RECEIVE_AND_JUDGE: Kind = Kind {
    entry: Some(("ovs_receive_judge_fentry", "ovs_vport_receive")),
    programs: &[("ovs_receive_judge_kprobe", "ovs_vport_receive")],
    ..RECEIVE
};

const KINDS: &[Kind] = &[
    Kind {
        name: "ovs-output",
        costs: "it is not seen to which vport Open vSwitch sends a packet, nor that it sends it to none",
        entry: Some(("ovs_output_fentry", "ovs_vport_send")),
        programs: &[("ovs_output_kprobe", "ovs_vport_send")],
    },
    Kind {
        name: "ovs-upcall",
        costs: "packets that go up to ovs-vswitchd show as consumed",
        entry: None,
        programs: &[
            ("ovs_upcall_kprobe", "ovs_dp_upcall"),
            ("ovs_upcall_return_kprobe", "ovs_dp_upcall"),
        ],
    },
    Kind {
        name: "ovs-answer",
        costs: "the flows that ovs-vswitchd installs in answer to a packet are not seen: one that it \
                decides to drop shows as lost on the way to it, until others of its flow tell",
        entry: None,
        programs: &[("ovs_answer_kprobe", "ovs_flow_tbl_insert")],
    },
    Kind {
        name: "ovs-execute",
        costs: "packets that ovs-vswitchd hands back to the datapath are seen from the next device on",
        entry: None,
        programs: &[
            ("ovs_execute_kprobe", "ovs_packet_cmd_execute"),
            ("ovs_execute_return_kprobe", "ovs_packet_cmd_execute"),
        ],
    },
    Kind {
        name: "ovs-actions",
        costs: "the actions that Open vSwitch runs are not seen: packets that it drops before Linux 6.6 \
                show as vanished",
        entry: Some(("ovs_actions_fentry", "ovs_execute_actions")),
        programs: &[("ovs_actions_kprobe", "ovs_execute_actions")],
    },
];

/// What counts Open vSwitch's silent drops where the kernel has no reasons for them: before 6.6.
const COUNT_UNEXPLAINED: &[Kind] = &[
    Kind {
        name: "ovs-empty",
        costs: "packets that Open vSwitch drops for want of actions are not counted",
        entry: None,
        programs: &[("count_ovs_empty_kprobe", "ovs_execute_actions")],
    },
    Kind {
        name: "ovs-meter",
        costs: "packets that a meter of Open vSwitch drops are not counted",
        entry: None,
        programs: &[
            ("count_ovs_meter_kprobe", "ovs_meter_execute"),
            ("count_ovs_meter_return_kprobe", "ovs_meter_execute"),
        ],
    },
];

/// What counts those of which no kernel tells.
const COUNT_LOST: &[Kind] = &[Kind {
    name: "ovs-upcall",
    costs: "packets that Open vSwitch cannot hand to ovs-vswitchd are not counted",
    entry: None,
    programs: &[
        ("count_ovs_upcall_kprobe", "ovs_dp_upcall"),
        ("count_ovs_upcall_return_kprobe", "ovs_dp_upcall"),
    ],
}];

/// Attaches what counts Open vSwitch's silent drops, where Open vSwitch is there. `explains`: this
/// kernel has reasons of its own for Open vSwitch's drops.
pub fn attach_count(loaded: &mut Loaded, btf: &KernelBtf, explains: bool) -> Vec<Attached> {
    if !is_present() && !is_built_in(btf) {
        return Vec::new();
    }
    let (layout, _) = ovs_layout(btf);
    if let Err(e) = write_layout(loaded, layout) {
        log::warn!("Open vSwitch's silent drops cannot be counted: {e:#}");
        return Vec::new();
    }
    let unexplained = if explains { &[][..] } else { COUNT_UNEXPLAINED };
    let kinds = unexplained.iter().chain(COUNT_LOST);
    kinds.map(|kind| attach_kind(loaded, kind)).collect()
}

/// Where a loaded or built-in module shows itself.
const MODULE: &str = "/sys/module/openvswitch";

/// Whether Open vSwitch's datapath is in this kernel, and ready.
fn is_present() -> bool {
    let state = std::fs::read_to_string(Path::new(MODULE).join("initstate"));
    match state {
        Ok(state) => state.trim() == "live",
        // A built-in module has no state.
        Err(_) => Path::new(MODULE).exists(),
    }
}

/// Whether it was built into the kernel proper, and shows no module.
fn is_built_in(btf: &KernelBtf) -> bool {
    field(btf.vmlinux(), &["sw_flow_actions"]).is_ok()
}

/// What the kernel's types tell of Open vSwitch.
pub struct OvsFacts {
    layout: OvsLayout,
    gap: Option<Gap>,
    /// The functions that have programs for their entry.
    pub functions: Functions,
    is_built_in: bool,
}

impl OvsFacts {
    /// `None` where there is no Open vSwitch. `judge_received`: there may be devices that are not seen.
    pub fn find(btf: &KernelBtf, judge_received: bool) -> Option<Self> {
        let is_built_in = is_built_in(btf);
        if !is_built_in && !is_present() {
            return None;
        }
        let (layout, gap) = ovs_layout(btf);
        let entries: Vec<_> = kinds(judge_received).filter_map(|kind| kind.entry).collect();
        let functions = Functions::find(btf, "openvswitch", is_built_in, &entries);
        Some(Self { layout, gap, functions, is_built_in })
    }
}

/// The hooks, and whether they are attached.
#[derive(Debug, Default)]
pub struct OvsHooks {
    attached: Vec<Attached>,
    gap: Option<Gap>,
    judge_received: bool,
    is_attached: bool,
    /// It is part of the kernel proper, and never comes nor goes.
    is_built_in: bool,
}

impl OvsHooks {
    /// `judge_received`: there may be devices that are not seen.
    pub fn new(judge_received: bool) -> Self {
        Self { judge_received, ..Self::default() }
    }

    /// Attaches what can be attached, where Open vSwitch is there.
    pub fn start(&mut self, loaded: &mut Loaded, facts: Option<OvsFacts>) {
        if let Some(facts) = facts {
            self.is_built_in = facts.is_built_in;
            self.attach(loaded, facts);
        }
    }

    /// Looks whether the module came or went since. `true`: it came, and its hooks are attached;
    /// there are new names of functions and reasons to be read.
    pub fn follow_module(&mut self, loaded: &mut Loaded) -> bool {
        if self.is_built_in {
            return false;
        }
        let present = is_present();
        if present == self.is_attached {
            return false;
        }
        if !present {
            self.detach(loaded);
            return false;
        }
        match KernelBtf::open().map(|btf| OvsFacts::find(&btf, self.judge_received)) {
            Ok(Some(facts)) => self.attach(loaded, facts),
            // It went again at once.
            Ok(None) => return false,
            Err(e) => {
                self.is_attached = true;
                log::warn!("Open vSwitch cannot be hooked: {e}");
            }
        }
        true
    }

    /// The kinds of sightings, with how they were attached; empty without Open vSwitch.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// What is not shown although the hooks stand.
    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    fn attach(&mut self, loaded: &mut Loaded, facts: OvsFacts) {
        self.is_attached = true;
        self.gap = facts.gap;
        if let Err(e) = write_layout(loaded, facts.layout) {
            log::warn!("Open vSwitch cannot be hooked: {e:#}");
            return;
        }
        loaded.entries.load(&facts.functions);
        let kinds = kinds(self.judge_received);
        self.attached = kinds.map(|kind| attach_kind(loaded, kind)).collect();
    }

    fn detach(&mut self, loaded: &mut Loaded) {
        for kind in kinds(self.judge_received) {
            unload(loaded, kind);
        }
        self.attached.clear();
        self.is_attached = false;
    }
}

/// The hooks of a trace. `judge_received`: there may be devices that are not seen.
fn kinds(judge_received: bool) -> impl Iterator<Item = &'static Kind> {
    let receive = if judge_received { &RECEIVE_AND_JUDGE } else { &RECEIVE };
    std::iter::once(receive).chain(KINDS)
}

fn write_layout(loaded: &mut Loaded, layout: OvsLayout) -> anyhow::Result<()> {
    let map = loaded.ebpf.map_mut("OVS_LAYOUT").context("no map OVS_LAYOUT inside")?;
    let mut map: Array<_, PodLayout> = Array::try_from(map)?;
    map.set(0, PodLayout(layout), 0)?;
    Ok(())
}

/// By the first of the two tiers that the kernel takes.
fn attach_kind(loaded: &mut Loaded, kind: &Kind) -> Attached {
    let mut attached =
        Attached { kind: kind.name, probe: None, refused: Vec::new(), costs: kind.costs };
    if let Some(entry) = kind.entry {
        let result = loaded.entries.attach(entry);
        tell(&mut attached, format!("fentry:{}", entry.1), result);
    }
    if attached.probe.is_none() {
        let mut labels: Vec<_> = kind.programs.iter().map(|(_, f)| format!("kprobe:{f}")).collect();
        labels.dedup();
        let result = kind.programs.iter().try_for_each(|(name, f)| attach(loaded, name, f));
        if result.is_err() {
            unload(loaded, kind);
        }
        tell(&mut attached, labels.join(" "), result);
    }
    attached
}

/// How one tier came out.
fn tell(attached: &mut Attached, probe: String, result: anyhow::Result<()>) {
    match result {
        Ok(()) => attached.probe = Some(probe),
        Err(e) => {
            log::debug!("{}: {probe} refused: {e:#}", attached.kind);
            attached.refused.push((probe, format!("{e:#}")));
        }
    }
}

fn attach(loaded: &mut Loaded, name: &str, function: &str) -> anyhow::Result<()> {
    let program = loaded.ebpf.program_mut(name);
    let Some(Program::KProbe(program)) = program else {
        return Err(anyhow!("no kprobe {name} inside"));
    };
    if program.fd().is_err() {
        program.load().map_err(|e| anyhow!("{}", chain(&e)))?;
    }
    program.attach(function, 0).map_err(|e| anyhow!("{}", chain(&e)))?;
    Ok(())
}

fn unload(loaded: &mut Loaded, kind: &Kind) {
    if let Some((name, _)) = kind.entry {
        loaded.entries.unload(name);
    }
    for (name, _) in kind.programs {
        if let Some(Program::KProbe(program)) = loaded.ebpf.program_mut(name) {
            let _ = program.unload();
        }
    }
}
