//! tc hooks on every port: tcx links where the kernel has them (6.6 and later), else classifiers on
//! a clsact qdisc. Always in front of what is there already, and always passing the packet on.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, anyhow};
use aya::programs::links::{Link as _, LinkOrder};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};

use super::blocks::Blocks;
use super::clsact::{self, Classifier, InUse, Qdisc};
use super::load::{Loaded, chain};
use super::tcx;
use crate::topology::{Link, enter};

/// How packets are seen at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// BPF links: the kernel removes them when lasthop ends, however it ends.
    Tcx,
    /// Classifiers on a clsact qdisc: they stay when lasthop is killed.
    Clsact,
}

/// The programs of one port.
struct Port {
    link: Link,
    /// clsact: the qdisc was not there before.
    made_qdisc: bool,
    links: Vec<Hook>,
    /// clsact: blocks shared with other devices, on which the hooks are, by index.
    blocks: Vec<u32>,
}

/// One program on one port.
enum Hook {
    /// Attached by the device's name.
    Named(SchedClassifierLink),
    /// Attached by its index: a tcx link, for as long as this is open.
    Indexed { _link: OwnedFd },
}

/// The ports that have hooks.
pub struct Ports {
    tier: Tier,
    attached: HashMap<(u32, u32), Port>,
    /// clsact: the hooks on blocks that several of the devices share.
    blocks: Blocks,
    /// clsact: holds off other lasthops from removing this one's classifiers.
    in_use: Option<InUse>,
    /// clsact: no other lasthop was running when this one began.
    alone: bool,
}

/// For Ethernet devices.
pub const ETHERNET: [(&str, TcAttachType); 2] =
    [("lasthop_in", TcAttachType::Ingress), ("lasthop_out", TcAttachType::Egress)];
const NETWORK: [(&str, TcAttachType); 2] =
    [("lasthop_l3_in", TcAttachType::Ingress), ("lasthop_l3_out", TcAttachType::Egress)];

impl Ports {
    /// Loads the classifiers for Ethernet devices; the others are loaded when a device needs them.
    pub fn new(loaded: &mut Loaded) -> anyhow::Result<Self> {
        for (name, _) in ETHERNET {
            loaded_program(loaded, name)?;
        }
        let tier = best_tier(loaded)?;
        let mut ports = Self {
            tier,
            attached: HashMap::new(),
            blocks: Blocks::default(),
            in_use: None,
            alone: false,
        };
        if tier == Tier::Clsact {
            ports.alone = clsact::is_unused();
            ports.in_use =
                clsact::mark_in_use().inspect_err(|e| log::warn!("{}: {e}", clsact::LOCK)).ok();
        }
        Ok(ports)
    }

    /// How packets are seen here.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// How many devices have hooks.
    pub fn devices(&self) -> usize {
        self.attached.len()
    }

    /// How many hooks there are.
    pub fn hooks(&self) -> usize {
        self.attached.values().map(|port| port.links.len() + port.blocks.len()).sum()
    }

    /// Whether this device has hooks.
    pub fn has(&self, netns: u32, ifindex: u32) -> bool {
        self.attached.contains_key(&(netns, ifindex))
    }

    /// Attaches both hooks to a device. One that vanished meanwhile, or whose namespace did, is no
    /// error.
    pub fn attach(&mut self, loaded: &mut Loaded, link: &Link) -> anyhow::Result<()> {
        let key = (link.netns.inode, link.ifindex);
        if self.attached.contains_key(&key) {
            return Ok(());
        }
        if self.tier == Tier::Clsact && self.alone {
            self.remove_leftovers(link);
        }
        let programs = if link.mac.is_some() { ETHERNET } else { NETWORK };
        let mut port =
            Port { link: link.clone(), made_qdisc: false, links: Vec::new(), blocks: Vec::new() };
        for hook @ (name, _) in programs {
            let program = loaded_program(loaded, name)?;
            let (tier, blocks) = (self.tier, &mut self.blocks);
            let done = match enter(&link.netns, || attach_here(program, hook, &port, tier, blocks))
            {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    log::debug!("{}: {e}", link.name);
                    break;
                }
                done => done?,
            };
            match done {
                Ok(Done::Own(hook, made_qdisc)) => {
                    port.links.push(hook);
                    port.made_qdisc |= made_qdisc;
                }
                Ok(Done::Shared(block)) => port.blocks.push(block),
                Ok(Done::NoEgress) => log::warn!(
                    "packets that leave by {} in {} are not seen there: its qdisc `ingress` is in \
                     the way of an egress hook (before Linux 6.6)",
                    link.name.escape_debug(),
                    link.netns.label()
                ),
                Err(e) if is_gone(&e) => {
                    log::debug!("{} vanished before it could be hooked", link.name);
                    break;
                }
                Err(e) => {
                    release(port, self.tier, &mut self.blocks);
                    return Err(anyhow!("{}", chain(&e))).with_context(|| {
                        format!("{name} on {} in {}", link.name, link.netns.label())
                    });
                }
            }
        }
        if !port.links.is_empty() || !port.blocks.is_empty() {
            self.attached.insert(key, port);
        }
        Ok(())
    }

    /// What a killed lasthop left on a device, each as `NAME on DEVICE in NAMESPACE`. Always empty
    /// with tcx, where the kernel cleans up.
    pub fn leftovers(&self, link: &Link) -> Vec<String> {
        self.find_leftovers(link)
            .iter()
            .map(|l| format!("{} on {} in {}", l.name, link.name, link.netns.label()))
            .collect()
    }

    fn find_leftovers(&self, link: &Link) -> Vec<Classifier> {
        if self.tier == Tier::Tcx || !self.alone {
            return Vec::new();
        }
        let found = enter(&link.netns, || clsact::leftovers_here(link.ifindex));
        found.and_then(|f| f).unwrap_or_default()
    }

    fn remove_leftovers(&self, link: &Link) {
        for leftover in self.find_leftovers(link) {
            let done = enter(&link.netns, || clsact::remove_here(&leftover)).and_then(|r| r);
            match done {
                Ok(()) => log::info!("removed {} left behind on {}", leftover.name, link.name),
                Err(e) => log::warn!("cannot remove {} on {}: {e}", leftover.name, link.name),
            }
        }
    }

    /// Detaches all hooks, and removes the qdiscs that were made for them.
    pub fn detach_all(&mut self) {
        for (_, port) in std::mem::take(&mut self.attached) {
            release(port, self.tier, &mut self.blocks);
        }
        self.in_use = None;
    }

    /// Forgets a device that is gone; its hooks went with it.
    pub fn gone(&mut self, netns: u32, ifindex: u32) {
        if let Some(port) = self.attached.remove(&(netns, ifindex)) {
            log::debug!("{} is gone", port.link.name);
            release(port, self.tier, &mut self.blocks);
        }
    }

    /// Forgets all devices of a namespace that is gone.
    pub fn netns_gone(&mut self, netns: u32) {
        let gone: Vec<u32> =
            self.attached.keys().filter(|(inode, _)| *inode == netns).map(|(_, i)| *i).collect();
        for ifindex in gone {
            self.gone(netns, ifindex);
        }
    }
}

fn program<'a>(loaded: &'a mut Loaded, name: &str) -> anyhow::Result<&'a mut SchedClassifier> {
    let program =
        loaded.ebpf.program_mut(name).with_context(|| format!("no program {name} inside"))?;
    Ok(program.try_into()?)
}

/// The program, loaded if it was not yet: that takes tens of milliseconds each.
fn loaded_program<'a>(
    loaded: &'a mut Loaded,
    name: &str,
) -> anyhow::Result<&'a mut SchedClassifier> {
    let program = program(loaded, name)?;
    if program.fd().is_err() {
        program.load().map_err(|e| anyhow!("the kernel refused {name}: {}", chain(&e)))?;
    }
    Ok(program)
}

/// Tries a tcx link on the loopback device, which every namespace has.
fn best_tier(loaded: &mut Loaded) -> anyhow::Result<Tier> {
    let program = program(loaded, ETHERNET[0].0)?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    match program.attach_with_options("lo", ETHERNET[0].1, options) {
        Ok(id) => {
            program.detach(id)?;
            Ok(Tier::Tcx)
        }
        Err(e) => {
            log::debug!("no tcx: {}", chain(&e));
            Ok(Tier::Clsact)
        }
    }
}

/// Detaches the hooks of a port, inside its namespace: a classifier is removed by netlink, by its
/// device's index, which elsewhere is another device's.
fn release(port: Port, tier: Tier, blocks: &mut Blocks) {
    if tier == Tier::Tcx {
        return; // A link is a descriptor: closing it detaches.
    }
    let (link, made_qdisc) = (port.link.clone(), port.made_qdisc);
    let mut hooks = Some(port.links);
    let inode = link.netns.inode;
    let done = enter(&link.netns, || {
        // First, as what follows fails where the device has gone, and others share its blocks.
        for block in port.blocks {
            if let Err(e) = blocks.leave((inode, block)) {
                log::debug!("block {block} of {}: {e}", link.name);
            }
        }
        hooks.take().into_iter().flatten().try_for_each(|hook| match hook {
            Hook::Named(hook) => hook.detach().map_err(|e| chain(&e)),
            Hook::Indexed { .. } => Ok(()),
        })?;
        if made_qdisc {
            clsact::remove_empty_qdisc_here(link.ifindex).map_err(|e| e.to_string())?;
        }
        Ok::<(), String>(())
    });
    match done {
        Ok(Ok(())) => {}
        // Mostly because the device has gone, and all that was attached to it.
        Ok(Err(e)) => log::debug!("{}: {e}", link.name),
        // The namespace has gone, and so have its classifiers: dropped here they would be looked for
        // in this namespace.
        Err(e) => {
            log::debug!("{}: {e}", link.name);
            hooks.take().into_iter().flatten().for_each(std::mem::forget);
            blocks.forget_netns(inode);
        }
    }
}

/// What came of attaching to one direction of a port.
enum Done {
    /// A hook of the port's own, and whether a qdisc was made for it.
    Own(Hook, bool),
    /// On the block of this index, which the port shares with others.
    Shared(u32),
    /// The port's qdisc has no place for one.
    NoEgress,
}

/// Attaches in the namespace that this thread is in.
fn attach_here(
    program: &mut SchedClassifier,
    (program_name, direction): (&str, TcAttachType),
    port: &Port,
    tier: Tier,
    blocks: &mut Blocks,
) -> Result<Done, ProgramError> {
    let link = &port.link;
    // A device that was renamed since netlink told of it is found by its index.
    let now = nix::net::if_::if_indextoname(link.ifindex).map_err(|e| io_error(e.into()))?;
    let Ok(name) = now.to_str() else {
        return attach_nameless(program, link.ifindex, direction, tier);
    };
    if tier == Tier::Tcx {
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        return attach_own(program, name, direction, options).map(|hook| Done::Own(hook, false));
    }
    let made_qdisc = add_clsact(name)?;
    if !made_qdisc && !port.made_qdisc {
        let is_egress = direction == TcAttachType::Egress;
        // Where it cannot be read, attaching tells what is wrong.
        let qdisc = clsact::qdisc_here(link.ifindex).inspect_err(|e| log::debug!("{name}: {e}"));
        let qdisc = qdisc.unwrap_or(Qdisc { has_egress: true, ..Qdisc::default() });
        if is_egress && !qdisc.has_egress {
            return Ok(Done::NoEgress);
        }
        let block = if is_egress { qdisc.egress_block } else { qdisc.ingress_block };
        if let Some(block) = block {
            blocks.join((link.netns.inode, block), program.fd()?.as_fd(), program_name)?;
            return Ok(Done::Shared(block));
        }
    }
    // Priority 0: the kernel puts it in front of the filters that are there.
    let options = TcAttachOptions::Netlink(NlOptions::default());
    attach_own(program, name, direction, options).map(|hook| Done::Own(hook, made_qdisc))
}

fn attach_own(
    program: &mut SchedClassifier,
    name: &str,
    direction: TcAttachType,
    options: TcAttachOptions,
) -> Result<Hook, ProgramError> {
    let id = program.attach_with_options(name, direction, options)?;
    // Out of aya's table, which takes devices of the same index in two namespaces for one.
    program.take_link(id).map(Hook::Named)
}

/// Gives the device a clsact qdisc; `false` where there is one in its place.
fn add_clsact(name: &str) -> Result<bool, ProgramError> {
    match tc::qdisc_add_clsact(name) {
        Ok(()) => Ok(true),
        Err(TcError::AlreadyAttached) => Ok(false),
        // With the kernel's extended acknowledgement aya does not recognise it.
        Err(e) if chain(&e).contains("File exists") => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Attaches to a device whose name is no UTF-8.
fn attach_nameless(
    program: &SchedClassifier,
    ifindex: u32,
    direction: TcAttachType,
    tier: Tier,
) -> Result<Done, ProgramError> {
    if tier == Tier::Clsact {
        let why = "its name is no UTF-8, and without tcx devices are hooked by name";
        return Err(io_error(std::io::Error::other(why)));
    }
    let link = tcx::attach(program.fd()?.as_fd(), ifindex, direction).map_err(io_error)?;
    Ok(Done::Own(Hook::Indexed { _link: link }, false))
}

fn io_error(e: std::io::Error) -> ProgramError {
    TcError::IoError(e).into()
}

fn is_gone(e: &ProgramError) -> bool {
    let text = chain(e);
    text.contains("No such device") || text.contains("os error 6)") || text.contains("os error 19)")
}
