//! Addresses that are translated for some: where a packet to one of them is not, that is a fault.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::reconstruct::nat::{Nat, Step};
use crate::reconstruct::tracked::Tracked;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::Proto;

/// How many are remembered.
const MAX_SERVICES: usize = 1024;

/// Namespace, protocol, address and port before the translation.
type Key = (u32, Proto, IpAddr, Option<u16>);

/// The translations of destinations that were seen, by the address that is translated.
#[derive(Debug, Default)]
pub struct Services {
    known: HashMap<Key, Step>,
}

/// A flow to such an address that left the namespace as it came.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What becomes of others.
    pub step: Step,
    /// What conntrack made of this flow there.
    pub tracked: Option<Tracked>,
}

fn key(netns: u32, tuple: &FlowTuple) -> Key {
    (netns, tuple.proto, tuple.dst, tuple.dport)
}

impl Services {
    /// Learns from a flow's translations.
    pub fn learn(&mut self, nat: &Nat) {
        for step in nat.steps.iter().filter(|step| step.is_destination()) {
            let Some(netns) = step.at.site.netns.as_ref().map(|n| n.inode) else { continue };
            let room = self.known.len() < MAX_SERVICES;
            let key = key(netns, &step.from);
            if room && !self.known.contains_key(&key) {
                self.known.insert(key, step.clone());
            }
        }
    }

    /// The translation that this flow went without.
    pub fn passed_by(&self, nat: &Nat) -> Option<Passed> {
        if nat.steps.iter().any(Step::is_destination) {
            return None;
        }
        nat.left.iter().find_map(|(netns, tuple, tracked)| {
            let step = self.known.get(&key(*netns, tuple))?.clone();
            Some(Passed { step, tracked: *tracked })
        })
    }
}
