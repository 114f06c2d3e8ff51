//! The hooks that see the whole node, whatever its devices: each in tiers, the best that loads and
//! attaches is used, and what was tried is told.

use anyhow::{Context as _, anyhow};
use aya::Btf;
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program};

use super::load::Loaded;
use super::refusal::chain;
use crate::kernel::hook_types::HookType;

/// One kind of sighting, and how it came to be attached.
#[derive(Clone, Debug)]
pub struct Attached {
    /// What it sees: `tc-ingress`, `tc-egress`, `drop`, `consume`, `deliver`, `clone`.
    pub kind: &'static str,
    /// How, as `tp_btf:kfree_skb`; `None` when no tier attached.
    pub probe: Option<String>,
    /// The tiers that were refused before, each with the kernel's answer.
    pub refused: Vec<(String, String)>,
    /// What is not seen when no tier attached.
    pub costs: &'static str,
}

impl Attached {
    /// Why nothing can be traced, where this is what cannot be done without: a trace that sees no drop
    /// would call a flow fine that dies.
    pub fn is_fatal(&self) -> Option<String> {
        if self.probe.is_some() || self.kind != "drop" {
            return None;
        }
        let refused = self.refused.iter().map(|(probe, why)| format!("{probe}: {why}"));
        let refused = refused.collect::<Vec<_>>().join("; ");
        Some(format!("the kernel refused the hook that sees drops: {refused}"))
    }
}

/// A way to attach one program.
#[derive(Clone, Copy)]
enum Way {
    Tracepoint(&'static str),
    Fentry(&'static str),
    Fexit(&'static str),
    Kprobe(&'static str),
    RootCgroup,
}

/// One tier: the programs that must all attach for it to stand.
struct Tier(&'static [(&'static str, Way)]);

/// One kind of sighting with its tiers, best first.
struct Kind {
    name: &'static str,
    costs: &'static str,
    tiers: &'static [Tier],
}

/// Ways of packets by devices. The names say where in the stack that is, not how it is seen.
const DEVICES: &[Kind] = &[
    Kind {
        name: "tc-ingress",
        costs: "packets are not seen where they come in by a device",
        tiers: &[Tier(&[("device_in", Way::Tracepoint("netif_receive_skb"))])],
    },
    Kind {
        name: "tc-egress",
        costs: "packets are not seen where they leave by a device",
        tiers: &[Tier(&[("device_out", Way::Tracepoint("net_dev_queue"))])],
    },
];

/// Ends of packets, and what becomes of them elsewhere.
const ENDS: &[Kind] = &[
    Kind {
        name: "drop",
        costs: "no drop is seen: lasthop cannot say where a packet died",
        tiers: &[Tier(&[("drop", Way::Tracepoint("kfree_skb"))])],
    },
    Kind {
        name: "consume",
        costs: "the end of packets that were put to use is not seen: what became of a packet that the host \
                answers itself (ICMP echo, ARP) is unknown",
        tiers: &[Tier(&[("consume", Way::Tracepoint("consume_skb"))])],
    },
    Kind {
        name: "deliver",
        costs: "delivery to a socket is not seen: what became of a packet that came to one is unknown",
        tiers: &[
            Tier(&[("deliver_cgroup", Way::RootCgroup)]),
            Tier(&[("deliver_fentry", Way::Fentry("sk_filter_trim_cap"))]),
            Tier(&[("deliver_kprobe", Way::Kprobe("sk_filter_trim_cap"))]),
        ],
    },
    Kind {
        name: "clone",
        costs: "copies are not followed by identity, but joined to their packet by what NAT and \
                routing leave alone of its bytes",
        tiers: &[
            Tier(&[
                ("skb_clone_fexit", Way::Fexit("skb_clone")),
                ("skb_copy_fexit", Way::Fexit("skb_copy")),
                ("pskb_copy_fexit", Way::Fexit("__pskb_copy_fclone")),
                ("skb_copy_expand_fexit", Way::Fexit("skb_copy_expand")),
            ]),
            Tier(&[
                ("copy_enter_kprobe", Way::Kprobe("skb_clone")),
                ("copy_return_kprobe", Way::Kprobe("skb_clone")),
                ("copy_enter_kprobe", Way::Kprobe("skb_copy")),
                ("copy_return_kprobe", Way::Kprobe("skb_copy")),
                ("copy_enter_kprobe", Way::Kprobe("__pskb_copy_fclone")),
                ("copy_return_kprobe", Way::Kprobe("__pskb_copy_fclone")),
                ("copy_enter_kprobe", Way::Kprobe("skb_copy_expand")),
                ("copy_return_kprobe", Way::Kprobe("skb_copy_expand")),
            ]),
        ],
    },
];

impl Way {
    fn label(self) -> String {
        match self {
            Self::Tracepoint(name) => format!("tp_btf:{name}"),
            Self::Fentry(name) => format!("fentry:{name}"),
            Self::Fexit(name) => format!("fexit:{name}"),
            Self::Kprobe(name) => format!("kprobe:{name}"),
            Self::RootCgroup => "cgroup_skb:ingress".to_owned(),
        }
    }
}

fn kinds() -> impl Iterator<Item = &'static Kind> {
    DEVICES.iter().chain(ENDS)
}

/// The kernel's types that some tier needs.
pub fn hook_types() -> Vec<HookType> {
    let tiers = kinds().flat_map(|kind| kind.tiers);
    let ways = tiers.flat_map(|Tier(programs)| *programs).map(|(_, way)| *way);
    ways.filter_map(|way| match way {
        Way::Tracepoint(name) => Some(HookType::Tracepoint(name)),
        Way::Fentry(name) | Way::Fexit(name) => Some(HookType::Function(name)),
        Way::Kprobe(_) | Way::RootCgroup => None,
    })
    .collect()
}

/// The programs of the best tiers, each with the function or tracepoint that its types are of.
pub fn best() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tiers = kinds().filter_map(|kind| kind.tiers.first());
    tiers.flat_map(|Tier(programs)| *programs).map(|(program, way)| match way {
        Way::Tracepoint(name) | Way::Fentry(name) | Way::Fexit(name) | Way::Kprobe(name) => {
            (*program, *name)
        }
        Way::RootCgroup => (*program, ""),
    })
}

/// Attaches the program that counts drops; how.
pub fn attach_count(loaded: &mut Loaded) -> anyhow::Result<String> {
    let way = Way::Tracepoint("kfree_skb");
    attach_one(loaded, "count_drop", way).context("drops cannot be counted")?;
    loaded.btf = None;
    Ok(way.label())
}

/// Attaches what sees packets at devices. Before [`attach_ends`]: no packet's end is to be seen
/// before its way.
pub fn attach_devices(loaded: &mut Loaded) -> Vec<Attached> {
    DEVICES.iter().map(|kind| attach_kind(loaded, kind)).collect()
}

/// Attaches every other kind by the first of its tiers that the kernel takes, and lets go of the
/// types, which nothing needs after that.
pub fn attach_ends(loaded: &mut Loaded) -> Vec<Attached> {
    let attached = ENDS.iter().map(|kind| attach_kind(loaded, kind)).collect();
    loaded.btf = None;
    attached
}

fn attach_kind(loaded: &mut Loaded, kind: &Kind) -> Attached {
    let mut refused = Vec::new();
    for Tier(programs) in kind.tiers {
        let labels: Vec<String> = programs.iter().map(|(_, way)| way.label()).collect();
        let result = programs.iter().try_for_each(|(name, way)| {
            attach_one(loaded, name, *way).with_context(|| way.label())
        });
        match result {
            Ok(()) => {
                let mut names = labels;
                names.dedup();
                let probe = Some(names.join(" "));
                return Attached { kind: kind.name, probe, refused, costs: kind.costs };
            }
            Err(e) => {
                for (name, _) in *programs {
                    detach(loaded, name);
                }
                log::debug!("{}: {} refused: {e:#}", kind.name, labels[0]);
                refused.push((labels[0].clone(), format!("{:#}", e.root_cause())));
            }
        }
    }
    Attached { kind: kind.name, probe: None, refused, costs: kind.costs }
}

fn attach_one(loaded: &mut Loaded, name: &str, way: Way) -> anyhow::Result<()> {
    let Loaded { ebpf, btf, .. } = loaded;
    let btf = btf.as_ref().ok_or_else(|| anyhow!("the kernel's BTF was let go of"))?;
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("no program {name} inside"))?;
    attach_program(program, btf, way).map_err(|e| {
        match e.downcast::<aya::programs::ProgramError>() {
            Ok(e) => anyhow!("{}", chain(&e)),
            Err(e) => e,
        }
    })
}

fn attach_program(program: &mut Program, btf: &Btf, way: Way) -> anyhow::Result<()> {
    match (program, way) {
        (Program::BtfTracePoint(p), Way::Tracepoint(name)) => {
            if p.fd().is_err() {
                p.load(name, btf)?;
            }
            p.attach()?;
        }
        (Program::FEntry(p), Way::Fentry(name)) => {
            if p.fd().is_err() {
                p.load(name, btf)?;
            }
            p.attach()?;
        }
        (Program::FExit(p), Way::Fexit(name)) => {
            if p.fd().is_err() {
                p.load(name, btf)?;
            }
            p.attach()?;
        }
        (Program::KProbe(p), Way::Kprobe(name)) => {
            if p.fd().is_err() {
                p.load()?;
            }
            p.attach(name, 0)?;
        }
        (Program::CgroupSkb(p), Way::RootCgroup) => {
            if p.fd().is_err() {
                p.load()?;
            }
            let root = super::cgroup_root::open()?;
            // A BPF link (5.7 and later) always leaves room for others; the mode is for older kernels.
            p.attach(root, CgroupSkbAttachType::Ingress, CgroupAttachMode::Single)?;
        }
        (other, way) => {
            anyhow::bail!(
                "program of type {:?} cannot attach to {}",
                other.prog_type(),
                way.label()
            )
        }
    }
    Ok(())
}

/// Unloads a program of a tier that did not come to stand as a whole.
fn detach(loaded: &mut Loaded, name: &str) {
    if let Some(program) = loaded.ebpf.program_mut(name) {
        let _ = match program {
            Program::FExit(p) => p.unload(),
            Program::FEntry(p) => p.unload(),
            Program::KProbe(p) => p.unload(),
            Program::CgroupSkb(p) => p.unload(),
            _ => Ok(()),
        };
    }
}
