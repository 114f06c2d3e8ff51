//! The parts of a node that a packet passes, to tell networks apart that use the same addresses.
//!
//! Overlapping tenants have flows that look alike down to the port and share no place. One real flow of
//! which some part is not seen has its packets begin in one place all the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::reconstruct::sight::Sight;
use crate::record::HookName;

/// How many parts of a flow are remembered; one that has been in more is taken to have been anywhere.
const MAX_PARTS: usize = 32;

/// One part of a node: within it packets get from one device to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// A namespace's own network stack.
    Stack,
    /// The bridge (or VRF, bond, team) with this name, hashed.
    Master(u64),
    /// A port of Open vSwitch, whose tables alone know to which others it leads.
    Port(u32),
}

/// One part of a node, in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    netns: u32,
    within: Within,
}

impl Part {
    /// Where this is; `None` where that is unknown, or in what carries a tunnel: all who use it meet there.
    pub fn of(sight: &Sight) -> Option<Self> {
        let netns = sight.site.netns.as_ref().filter(|_| sight.tunnel.is_none())?.inode;
        Some(Self { netns, within: within(sight) })
    }

    /// A host sends from here, and does not pass on what came from elsewhere.
    pub fn is_source(sight: &Sight) -> bool {
        sight.hook == HookName::TcEgress && within(sight) == Within::Stack
    }
}

fn within(sight: &Sight) -> Within {
    let Some(dev) = &sight.site.dev else { return Within::Stack };
    let kind = dev.kind.as_deref();
    let is_end = matches!(sight.hook, HookName::Deliver | HookName::Drop | HookName::Consume);
    match (&dev.master, kind) {
        // Its own port: the host's stack.
        _ if dev.bridge.is_some() && kind == Some("openvswitch") => Within::Stack,
        _ if dev.bridge.is_some() => Within::Port(dev.ifindex),
        (Some(master), _) => Within::Master(hashed(master)),
        // What ends at such a device has ended in the stack behind it.
        (None, Some("bridge" | "vrf" | "bond" | "team")) if !is_end => {
            Within::Master(hashed(&dev.name))
        }
        _ => Within::Stack,
    }
}

fn hashed(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The parts that a flow's packets have been in.
#[derive(Clone, Debug, Default)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// Whether a packet that is seen there may be of this flow.
    pub fn include(&self, part: Option<Part>) -> bool {
        let Some(part) = part else { return true };
        self.0.contains(&part) || self.0.len() >= MAX_PARTS
    }

    /// A packet was here; whether that is new.
    pub fn add(&mut self, part: Option<Part>) -> bool {
        let Some(part) = part.filter(|part| !self.include(Some(*part))) else { return false };
        self.0.push(part);
        true
    }

    /// Whether packets of both have been in one.
    pub fn meet(&self, other: &Self) -> bool {
        self.0.iter().any(|part| other.include(Some(*part)))
    }

    /// All that the other has.
    pub fn take_over(&mut self, other: &Self) {
        for part in &other.0 {
            self.add(Some(*part));
        }
    }
}
