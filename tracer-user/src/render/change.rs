//! What changed of a packet between two places.

use crate::model::{Hop, Tunnel, Vlan};
use crate::reconstruct::sight::{Mac, Sight};
use crate::reconstruct::tuple::FlowTuple;
use crate::verdict::words::{ends, safe};

/// What is different now, each in a few words, the telling ones first.
pub fn changes(was: &Sight, now: &Hop) -> Vec<String> {
    let mut found = Vec::new();
    translation(was, now, &mut found);
    tunnel(was.tunnel.as_deref(), now.tunnel.as_ref(), now, &mut found);
    vlan(&was.vlan, now, &mut found);
    if let (Some(old), Some(new)) = (was.ttl, now.ip.as_ref().map(|ip| ip.ttl))
        && old != new
    {
        found.push(format!("ttl {old} -> {new}"));
    }
    macs(was, now, &mut found);
    if was.len != now.len {
        found.push(format!("len {} -> {}", was.len, now.len));
    }
    found
}

fn translation(was: &Sight, now: &Hop, found: &mut Vec<String>) {
    let Some(old) = was.tuple else { return };
    let Some(new) = now.tuple.as_ref().and_then(FlowTuple::from_record) else {
        return;
    };
    if old.proto != new.proto || old == new {
        return;
    }
    let source = (old.src, old.sport) != (new.src, new.sport);
    let destination = (old.dst, old.dport) != (new.dst, new.dport);
    // A fragment without ports is no translation.
    let ports_seen = old.sport.is_some() == new.sport.is_some();
    let name = match (source, destination) {
        _ if !ports_seen && old.src == new.src && old.dst == new.dst => return,
        (true, true) => "NAT",
        (true, false) => "SNAT",
        _ => "DNAT",
    };
    found.push(format!("{name} {}", ends(&new)));
}

fn tunnel(was: Option<&Tunnel>, new: Option<&Tunnel>, now: &Hop, found: &mut Vec<String>) {
    // A drop or a socket may be shown without the headers around it.
    if was == new || now.tuple.is_none() {
        return;
    }
    let name = |t: &Tunnel| {
        let key = t.key.map(|k| format!(" {k}")).unwrap_or_default();
        format!("{}{key}", safe(&t.kind))
    };
    match (was, new) {
        (Some(old), None) => found.push(format!("tunnel off ({})", name(old))),
        (None, Some(t)) => found.push(format!("tunnel on ({} {} -> {})", name(t), t.src, t.dst)),
        (Some(old), Some(t)) => {
            found.push(format!(
                "tunnel {} -> {} {} -> {}",
                name(old),
                name(t),
                t.src,
                t.dst
            ));
        }
        (None, None) => {}
    }
}

fn vlan(was: &[Vlan], now: &Hop, found: &mut Vec<String>) {
    if was == now.vlan || (now.eth.is_none() && now.vlan.is_empty()) {
        return;
    }
    let ids = |tags: &[Vlan]| {
        let ids: Vec<_> = tags.iter().map(|t| t.id.to_string()).collect();
        ids.join(".")
    };
    found.push(match (was, now.vlan.as_slice()) {
        (old, []) => format!("VLAN off ({})", ids(old)),
        ([], new) => format!("VLAN on ({})", ids(new)),
        (old, new) => format!("VLAN {} -> {}", ids(old), ids(new)),
    });
}

fn macs(was: &Sight, now: &Hop, found: &mut Vec<String>) {
    let (Some((old_src, old_dst)), Some(eth)) = (was.eth, &now.eth) else {
        return;
    };
    let (Some(src), Some(dst)) = (Mac::parse(&eth.src), Mac::parse(&eth.dst)) else {
        return;
    };
    if (old_src, old_dst) != (src, dst) {
        found.push(format!("MAC {src} -> {dst}"));
    }
}
