//! Open vSwitch's hooks: attached when its module is there, at the start or any time later.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use aya::Pod;
use aya::maps::Array;
use aya::programs::Program;
use tracer_common::ovs::OvsLayout;

use super::load::{Loaded, chain};
use super::probes::Attached;
use crate::kernel::btf::{KernelBtf, field};
use crate::kernel::ovs_layout::{Gap, ovs_layout};

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodLayout(OvsLayout);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for PodLayout {}

/// One kind of sighting: the programs that must all attach for it to stand, and to which functions.
struct Kind {
    name: &'static str,
    costs: &'static str,
    programs: &'static [(&'static str, &'static str)],
}

/// Where every device has tc hooks, what a vport receives was judged before.
const RECEIVE: Kind = Kind {
    name: "ovs-receive",
    costs: "it is not seen which vport of Open vSwitch receives a packet",
    programs: &[("ovs_receive_kprobe", "ovs_vport_receive")],
};
/// Where some have none.
const RECEIVE_AND_JUDGE: Kind =
    Kind { programs: &[("ovs_receive_judge_kprobe", "ovs_vport_receive")], ..RECEIVE };

const KINDS: &[Kind] = &[
    Kind {
        name: "ovs-output",
        costs: "it is not seen to which vport Open vSwitch sends a packet, nor that it sends it to none",
        programs: &[("ovs_output_kprobe", "ovs_vport_send")],
    },
    Kind {
        name: "ovs-upcall",
        costs: "packets that go up to ovs-vswitchd show as consumed",
        programs: &[
            ("ovs_upcall_kprobe", "ovs_dp_upcall"),
            ("ovs_upcall_return_kprobe", "ovs_dp_upcall"),
        ],
    },
    Kind {
        name: "ovs-answer",
        costs: "the flows that ovs-vswitchd installs in answer to a packet are not seen: one that it \
                decides to drop shows as lost on the way to it, until others of its flow tell",
        programs: &[("ovs_answer_kprobe", "ovs_flow_tbl_insert")],
    },
    Kind {
        name: "ovs-execute",
        costs: "packets that ovs-vswitchd hands back to the datapath are seen from the next device on",
        programs: &[
            ("ovs_execute_kprobe", "ovs_packet_cmd_execute"),
            ("ovs_execute_return_kprobe", "ovs_packet_cmd_execute"),
        ],
    },
    Kind {
        name: "ovs-actions",
        costs: "the actions that Open vSwitch runs are not seen: packets that it drops before Linux 6.6 \
                show as vanished",
        programs: &[("ovs_actions_kprobe", "ovs_execute_actions")],
    },
];

/// What counts Open vSwitch's silent drops where the kernel has no reasons for them: before 6.6.
const COUNT_UNEXPLAINED: &[Kind] = &[
    Kind {
        name: "ovs-empty",
        costs: "packets that Open vSwitch drops for want of actions are not counted",
        programs: &[("count_ovs_empty_kprobe", "ovs_execute_actions")],
    },
    Kind {
        name: "ovs-meter",
        costs: "packets that a meter of Open vSwitch drops are not counted",
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
pub fn is_present() -> bool {
    let state = std::fs::read_to_string(Path::new(MODULE).join("initstate"));
    match state {
        Ok(state) => state.trim() == "live",
        // A built-in module has no state.
        Err(_) => Path::new(MODULE).exists(),
    }
}

/// Whether it was built into the kernel proper, and shows no module.
pub fn is_built_in(btf: &KernelBtf) -> bool {
    field(btf.vmlinux(), &["sw_flow_actions"]).is_ok()
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
    /// `judge_received`: there may be devices without tc hooks.
    pub fn new(judge_received: bool) -> Self {
        Self { judge_received, ..Self::default() }
    }

    /// Attaches what can be attached, where Open vSwitch is there.
    pub fn start(&mut self, loaded: &mut Loaded, is_built_in: bool) {
        self.is_built_in = is_built_in;
        if self.is_built_in || is_present() {
            self.attach(loaded);
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
        self.attach(loaded);
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

    fn attach(&mut self, loaded: &mut Loaded) {
        self.is_attached = true;
        // Read again: it takes less time than it would take memory to keep it since the load.
        let btf = match KernelBtf::open() {
            Ok(btf) => btf,
            Err(e) => return log::warn!("Open vSwitch cannot be hooked: {e}"),
        };
        let (layout, gap) = ovs_layout(&btf);
        self.gap = gap;
        if let Err(e) = write_layout(loaded, layout) {
            log::warn!("Open vSwitch cannot be hooked: {e:#}");
            return;
        }
        let receive = if self.judge_received { &RECEIVE_AND_JUDGE } else { &RECEIVE };
        let kinds = std::iter::once(receive).chain(KINDS);
        self.attached = kinds.map(|kind| attach_kind(loaded, kind)).collect();
    }

    fn detach(&mut self, loaded: &mut Loaded) {
        let kinds = KINDS.iter().chain([&RECEIVE, &RECEIVE_AND_JUDGE]);
        for (name, _) in kinds.flat_map(|kind| kind.programs) {
            unload(loaded, name);
        }
        self.attached.clear();
        self.is_attached = false;
    }
}

fn write_layout(loaded: &mut Loaded, layout: OvsLayout) -> anyhow::Result<()> {
    let map = loaded.ebpf.map_mut("OVS_LAYOUT").context("no map OVS_LAYOUT inside")?;
    let mut map: Array<_, PodLayout> = Array::try_from(map)?;
    map.set(0, PodLayout(layout), 0)?;
    Ok(())
}

fn attach_kind(loaded: &mut Loaded, kind: &Kind) -> Attached {
    let mut labels: Vec<String> =
        kind.programs.iter().map(|(_, f)| format!("kprobe:{f}")).collect();
    labels.dedup();
    let probe = labels.join(" ");
    let result = kind.programs.iter().try_for_each(|(name, f)| attach(loaded, name, f));
    let (probe, refused) = match result {
        Ok(()) => (Some(probe), Vec::new()),
        Err(e) => {
            kind.programs.iter().for_each(|(name, _)| unload(loaded, name));
            log::debug!("{}: {probe} refused: {e:#}", kind.name);
            (None, vec![(probe, format!("{e:#}"))])
        }
    };
    Attached { kind: kind.name, probe, refused, costs: kind.costs }
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

fn unload(loaded: &mut Loaded, name: &str) {
    if let Some(Program::KProbe(program)) = loaded.ebpf.program_mut(name) {
        let _ = program.unload();
    }
}
