//! From numbers to names and words: the rows of the table.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use tracer_common::drops::{
    BY_ADDRESS, BY_PORT, BY_PROTOCOL, BY_SOURCE_PORT, DropKey, TRAIT_OVS_EMPTY, TRAIT_OVS_METER,
    TRAIT_OVS_UPCALL,
};
use tracer_common::flow::Addr;

use crate::drops::{Entry, why_everyday};
use crate::model::{Drops, Netns, Place};
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

/// The rows, most frequent first. Lines that differ in nothing that is shown are one row. `by`: what
/// more was asked for, `BY_*`.
pub fn rows(
    entries: impl Iterator<Item = Entry>,
    names: &dyn Names,
    by: u32,
    by_ovs_port: bool,
) -> Vec<Drops> {
    let mut merged: HashMap<RowKey, Drops> = HashMap::new();
    for entry in entries.filter(|entry| entry.count.packets != 0) {
        let row = row(&entry, names, by, by_ovs_port);
        let known = merged.entry(RowKey::of(&row)).or_insert_with(|| Drops {
            count: 0,
            bytes: 0,
            ..row.clone()
        });
        known.count += row.count;
        known.bytes += row.bytes;
    }
    let mut rows: Vec<Drops> = merged.into_values().collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| RowKey::of(a).cmp(&RowKey::of(b))));
    rows
}

/// What tells rows apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct RowKey(Vec<Option<String>>);

impl RowKey {
    fn of(row: &Drops) -> Self {
        let text = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string);
        Self(vec![
            row.reason.clone(),
            row.subsystem.clone(),
            row.symbol.clone(),
            row.netns.clone(),
            row.dev.clone(),
            row.ovs_port.clone(),
            row.proto.clone(),
            text(row.src.as_ref().map(|v| v as &dyn std::fmt::Display)),
            text(row.sport.as_ref().map(|v| v as _)),
            text(row.dst.as_ref().map(|v| v as _)),
            text(row.dport.as_ref().map(|v| v as _)),
            (!row.stack.is_empty()).then(|| row.stack.join(" ")),
            row.everyday.clone(),
            row.rest.then(String::new),
            row.silent.then(String::new),
        ])
    }
}

fn row(entry: &Entry, names: &dyn Names, by: u32, by_ovs_port: bool) -> Drops {
    let Entry { detail, rest, count } = entry;
    let key = &detail.key;
    let by = if *rest { 0 } else { by };
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
        None => commands(about, &Spot::at(netns.as_ref(), dev.as_deref())),
    };
    // Of what is no IP packet there are none.
    let addressed =
        by & BY_ADDRESS != 0 && (detail.src, detail.dst) != (Addr([0; 2]), Addr([0; 2]));
    Drops {
        ts: 0,
        count: count.packets,
        bytes: count.bytes,
        rate: None,
        offset: place.as_ref().map(|place| place.offset),
        netns: netns.map(|n| n.name.unwrap_or_else(|| n.inode.to_string())),
        ovs_port: by_ovs_port.then(|| names.ovs_port(key.netns, key.ifindex)).flatten(),
        dev,
        proto: protocol(key, names, by),
        src: addressed.then(|| ip(detail.src)),
        sport: (by & BY_SOURCE_PORT != 0 && detail.sport != 0).then_some(detail.sport),
        dst: addressed.then(|| ip(detail.dst)),
        dport: (by & BY_PORT != 0 && detail.dport != 0).then_some(detail.dport),
        stack: if detail.stack == 0 { Vec::new() } else { names.stack(detail.stack - 1) },
        meaning: everyday.or(meaning).map(str::to_owned),
        next,
        everyday: everyday.map(str::to_owned),
        rest: *rest,
        folded: None,
        silent: silent.is_some(),
        symbol,
        reason,
        subsystem,
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

fn ip(addr: Addr) -> std::net::IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}
