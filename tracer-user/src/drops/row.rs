//! From numbers to names and words: the rows of the table.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use tracer_common::drops::{BY_ADDRESS, BY_PORT, BY_PROTOCOL, BY_SOURCE_PORT, DropKey};
use tracer_common::flow::Addr;

use crate::drops::{Entry, why_everyday};
use crate::model::{Drops, Netns, Place};
use crate::verdict::{Spot, commands, named};

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
        ])
    }
}

fn row(entry: &Entry, names: &dyn Names, by: u32, by_ovs_port: bool) -> Drops {
    let Entry { detail, rest, count } = entry;
    let key = &detail.key;
    let by = if *rest { 0 } else { by };
    let reason = names.reason(key.reason);
    let (reason, subsystem) = reason.map_or((None, None), |(r, s)| (Some(r), Some(s)));
    let place = names.place(key.location);
    let symbol = place.as_ref().map(|place| place.symbol.as_str());
    let netns = (key.netns != 0).then(|| names.netns(key.netns));
    let dev = names.device(key.netns, key.ifindex);
    let (about, meaning) = named(reason.as_deref(), symbol);
    let check = commands(about, &Spot::at(netns.as_ref(), dev.as_deref()));
    let everyday = why_everyday(reason.as_deref(), symbol, key.traits);
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
        src: (by & BY_ADDRESS != 0).then(|| ip(detail.src)),
        sport: (by & BY_SOURCE_PORT != 0 && detail.sport != 0).then_some(detail.sport),
        dst: (by & BY_ADDRESS != 0).then(|| ip(detail.dst)),
        dport: (by & BY_PORT != 0 && detail.dport != 0).then_some(detail.dport),
        stack: if detail.stack == 0 { Vec::new() } else { names.stack(detail.stack - 1) },
        meaning: meaning.map(str::to_owned),
        next: check,
        everyday: everyday.map(str::to_owned),
        rest: *rest,
        folded: None,
        symbol: place.map(|place| place.symbol),
        reason,
        subsystem,
    }
}

fn protocol(key: &DropKey, names: &dyn Names, by: u32) -> Option<String> {
    (by & BY_PROTOCOL != 0 && key.proto != 0).then(|| names.protocol(key.proto))
}

fn ip(addr: Addr) -> std::net::IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}
