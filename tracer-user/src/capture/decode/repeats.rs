//! What many events have in common, made into words once: devices, namespaces, what conntrack and Open
//! vSwitch make of packets, and how they end.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use tracer_common::abi::{DEV_NAME_BYTES, Hook, Stack};
use tracer_common::codec::Decoded;
use tracer_common::conntrack::Ct as CtNumbers;

use super::ovs::OvsNumbers;
use crate::topology::Topology;
use tracer_core::record::{Ct, Dev, Drop, Netns, Ovs, Place};

/// How many of a kind are remembered; past that it starts anew.
const MAX_KNOWN: usize = 4096;
/// How many of a kind of which each takes some hundred bytes.
const MAX_LARGE: usize = 1024;

/// What was made before, by the numbers that events have for it: `MAX` at the most.
struct Known<K, V, const MAX: usize = MAX_KNOWN>(HashMap<K, V, foldhash::fast::RandomState>);

impl<K, V, const MAX: usize> Default for Known<K, V, MAX> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Hash + Eq, V: Clone, const MAX: usize> Known<K, V, MAX> {
    fn get(&mut self, key: K, make: impl FnOnce(&K) -> V) -> V {
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        if self.0.len() >= MAX {
            self.0.clear();
        }
        let new = make(&key);
        self.0.insert(key, new.clone());
        new
    }
}

/// How a packet ended, in the numbers of an event.
#[derive(PartialEq, Eq, Hash)]
pub struct EndNumbers {
    /// What kind of end.
    pub hook: Hook,
    /// The kernel's number of the reason.
    pub reason: u32,
    /// Where in the kernel's code, or 0.
    pub location: u64,
    /// Return addresses.
    pub stack: Stack,
}

impl EndNumbers {
    /// Of an event.
    pub fn of(decoded: &Decoded<'_>) -> Self {
        let Decoded { hook, event, stack, .. } = decoded;
        Self { hook: *hook, reason: event.reason, location: event.location, stack: *stack }
    }
}

/// How a packet ended, in words.
#[derive(Clone, Default)]
pub struct End {
    /// It was dropped.
    pub drop: Option<Arc<Drop>>,
    /// It was consumed by this function.
    pub by: Option<Arc<Place>>,
    /// Call chain, innermost first.
    pub stack: Option<Arc<[String]>>,
}

/// What was made into words before.
#[derive(Default)]
pub struct Repeats {
    devs: Known<(u32, u32, [u8; DEV_NAME_BYTES]), Option<Arc<Dev>>>,
    netns: Known<u32, Arc<Netns>>,
    ends: Known<EndNumbers, End>,
    cts: Known<CtNumbers, Option<Arc<Ct>>, MAX_LARGE>,
    ovs: Known<OvsNumbers, Arc<Ovs>, MAX_LARGE>,
    /// The topology that the devices and namespaces are of.
    topology: u64,
}

impl Repeats {
    /// Forgets what is no longer true.
    pub fn follow(&mut self, topology: &Topology) {
        if self.topology != topology.version() {
            self.topology = topology.version();
            (self.devs, self.netns) = Default::default();
        }
    }

    /// Numbers of the kernel's have other names now.
    pub fn rename(&mut self) {
        (self.ends, self.cts, self.ovs) = Default::default();
    }

    /// The device of this index, which the event calls by this name.
    pub fn dev(
        &mut self,
        topology: &Topology,
        netns: u32,
        ifindex: u32,
        name: [u8; DEV_NAME_BYTES],
    ) -> Option<Arc<Dev>> {
        self.devs.get((netns, ifindex, name), |(.., name)| {
            topology.model_dev(netns, ifindex, &device_name(name)).map(Arc::new)
        })
    }

    /// The namespace of this inode.
    pub fn netns(&mut self, topology: &Topology, inode: u32) -> Arc<Netns> {
        self.netns.get(inode, |_| Arc::new(topology.model_netns(inode)))
    }

    /// A conntrack entry; `make` puts it into words, where there are any.
    pub fn ct(
        &mut self,
        numbers: &CtNumbers,
        make: impl FnOnce(&CtNumbers) -> Option<Ct>,
    ) -> Option<Arc<Ct>> {
        self.cts.get(*numbers, |numbers| make(numbers).map(Arc::new))
    }

    /// What Open vSwitch did; `make` puts it into words.
    pub fn ovs(&mut self, numbers: OvsNumbers, make: impl FnOnce(&OvsNumbers) -> Ovs) -> Arc<Ovs> {
        self.ovs.get(numbers, |numbers| Arc::new(make(numbers)))
    }

    /// An end; `make` puts it into words.
    pub fn end(&mut self, numbers: EndNumbers, make: impl FnOnce(&EndNumbers) -> End) -> End {
        self.ends.get(numbers, make)
    }
}

/// The device's name at the time of the event; what is no text is replaced.
fn device_name(name: &[u8]) -> String {
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
