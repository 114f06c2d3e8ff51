//! From numbers to names and words: what the rows of the table are about.

use tracer_common::drops::{
    BY_PROTOCOL, DropKey, TRAIT_OVS_EMPTY, TRAIT_OVS_METER, TRAIT_OVS_UPCALL,
};

use crate::drops::why_everyday;
use crate::record::{Drops, Netns, Place};
use crate::verdict::{Matter, Spot, commands, named};

/// What numbers mean on this node.
pub trait Names {
    /// A drop reason's name and subsystem; `None` where this kernel has no reasons.
    fn reason(&self, number: u32) -> Option<(String, String)>;
    /// The function at a code address.
    fn place(&self, address: u64) -> Option<Place>;
    /// A kernel stack by its number, innermost first.
    fn stack(&self, number: u32) -> Vec<String>;
    /// A device by namespace and index.
    fn device(&self, netns: u32, ifindex: u32) -> Option<String>;
    /// A namespace by its inode.
    fn netns(&self, inode: u32) -> Netns;
    /// The Open vSwitch port that a device is, if it is one.
    fn ovs_port(&self, netns: u32, ifindex: u32) -> Option<String>;
    /// A protocol by its number in a tuple.
    fn protocol(&self, number: u16) -> String;
}

/// What the drops of one kind have in common: a row without a count and without what `--by` tells
/// apart, but for the protocol. `by`: what more was asked for, `BY_*`; `rest`: they have lost that.
pub fn kind(key: &DropKey, rest: bool, names: &dyn Names, by: u32, by_ovs_port: bool) -> Drops {
    let silent = silent(key.traits);
    let reason = if silent.is_none() { names.reason(key.reason) } else { None };
    let (reason, subsystem) = match (reason, &silent) {
        (_, Some(_)) => (None, Some("openvswitch".to_owned())),
        (Some((reason, subsystem)), None) => (Some(reason), Some(subsystem)),
        (None, None) => (None, None),
    };
    let place = names.place(key.location);
    let symbol = silent.map(|(symbol, _)| symbol.to_owned());
    let symbol = symbol.or_else(|| place.as_ref().map(|place| place.symbol.clone()));
    let netns = (key.netns != 0).then(|| names.netns(key.netns));
    let dev = names.device(key.netns, key.ifindex);
    let (mut about, mut meaning) = named(reason.as_deref(), symbol.as_deref());
    if let Some((_, words)) = silent {
        (about, meaning) = (Matter::Ovs, Some(words));
    }
    let everyday = why_everyday(reason.as_deref(), symbol.as_deref(), key.traits);
    let next = match everyday {
        // It is known why, and nothing is amiss.
        Some(_) => Vec::new(),
        None => commands(about, &Spot::at(netns.as_ref(), dev.as_deref(), symbol.as_deref())),
    };
    Drops {
        offset: place.as_ref().map(|place| place.offset),
        netns: netns.map(|n| n.name.unwrap_or_else(|| n.inode.to_string())),
        ovs_port: by_ovs_port.then(|| names.ovs_port(key.netns, key.ifindex)).flatten(),
        dev,
        proto: if rest { None } else { protocol(key, names, by) },
        meaning: everyday.or(meaning).map(str::to_owned),
        next,
        everyday: everyday.map(str::to_owned),
        rest,
        silent: silent.is_some(),
        symbol,
        reason,
        subsystem,
        ..Drops::default()
    }
}

/// Where, and in words: a drop of which the kernel says nothing.
fn silent(traits: u16) -> Option<(&'static str, &'static str)> {
    [
        (
            TRAIT_OVS_EMPTY,
            "ovs_execute_actions",
            "Open vSwitch's flow for it has no actions: it says drop",
        ),
        (TRAIT_OVS_METER, "ovs_meter_execute", "an Open vSwitch meter dropped it: over its rate"),
        (
            TRAIT_OVS_UPCALL,
            "ovs_dp_upcall",
            "Open vSwitch could not ask ovs-vswitchd about it: the queue of upcalls was full",
        ),
    ]
    .into_iter()
    .find(|(bit, ..)| traits & bit != 0)
    .map(|(_, symbol, words)| (symbol, words))
}

fn protocol(key: &DropKey, names: &dyn Names, by: u32) -> Option<String> {
    (by & BY_PROTOCOL != 0 && key.proto != 0).then(|| names.protocol(key.proto))
}
