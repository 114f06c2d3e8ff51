//! What changed of a packet between two places.

use tracer_core::reconstruct::sight::Sight;
use tracer_core::record::{Hop, Tunnel, Vlan};
use tracer_core::verdict::words::{ends, safe};

/// What is different now, each in a few words, the telling ones first.
pub fn changes(was: &Sight, now: &Hop) -> Vec<String> {
    let mut found = Vec::new();
    translation(was, now, &mut found);
    tunnel(was.tunnel.as_deref(), now.tunnel.as_deref(), now, &mut found);
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
    let Some(new) = now.tuple else {
        return;
    };
    if old.proto != new.proto || old == new {
        return;
    }
    let source = (old.src, old.sport) != (new.src, new.sport);
    let destination = (old.dst, old.dport) != (new.dst, new.dport);
    // A fragment without ports is no translation.
    let ports_seen = old.sport.is_some() == new.sport.is_some();
    if !ports_seen && old.src == new.src && old.dst == new.dst {
        return;
    }
    // Whether it is a translation or the undoing of one, one packet does not tell.
    let what = match (source, destination) {
        (true, true) => "",
        (true, false) => "source ",
        _ => "destination ",
    };
    found.push(format!("NAT {what}{}", ends(&new)));
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
            found.push(format!("tunnel {} -> {} {} -> {}", name(old), name(t), t.src, t.dst));
        }
        (None, None) => {}
    }
}

fn vlan(was: &[Vlan], now: &Hop, found: &mut Vec<String>) {
    if *was == *now.vlan || (now.eth.is_none() && now.vlan.is_empty()) {
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
    if let (Some(old), Some(new)) = (was.eth, now.eth)
        && old != new
    {
        found.push(format!("MAC {} -> {}", new.src, new.dst));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tracer_core::reconstruct::sight::Catalog;
    use tracer_core::reconstruct::testing::{HopExt, hop, tuple};
    use tracer_core::record::HookName::{TcEgress, TcIngress};

    fn between(was: &Hop, now: &Hop) -> Vec<String> {
        changes(&Catalog::default().sight(was), now)
    }

    #[test]
    fn what_stays_is_not_told() {
        let was = hop(TcEgress, 1, 1).on("a", "veth0", Some("veth")).to_mac("02:00:00:00:00:05");
        let now = hop(TcIngress, 2, 1).on("b", "veth1", Some("veth")).to_mac("02:00:00:00:00:05");
        assert_eq!(between(&was, &now), Vec::<String>::new());
    }

    #[test]
    fn each_change_is_told() {
        let was = hop(TcIngress, 1, 1).to_mac("02:00:00:00:00:05");
        let mut now = hop(TcEgress, 2, 1).to_mac("02:00:00:00:00:06");
        now.tuple = Some(tuple("udp", "10.0.0.1", 1000, "10.7.7.7", 53));
        now.ip.as_mut().unwrap().ttl = 63;
        now.vlan = vec![Vlan { id: 10, tpid: 0x8100, pcp: 0 }];
        now.tunnel = Some(Arc::new(Tunnel {
            kind: "vxlan".into(),
            key: Some(42),
            src: "192.0.2.1".parse().unwrap(),
            dst: "192.0.2.2".parse().unwrap(),
            dport: Some(4789),
        }));
        now.len = 110;
        assert_eq!(
            between(&was, &now),
            [
                "NAT destination 10.0.0.1:1000 -> 10.7.7.7:53",
                "tunnel on (vxlan 42 192.0.2.1 -> 192.0.2.2)",
                "VLAN on (10)",
                "ttl 64 -> 63",
                "MAC 02:00:00:00:00:99 -> 02:00:00:00:00:06",
                "len 60 -> 110",
            ]
        );
        let back = between(&now, &was);
        assert!(back.contains(&"tunnel off (vxlan 42)".to_owned()), "{back:?}");
        assert!(back.contains(&"VLAN off (10)".to_owned()), "{back:?}");
    }

    #[test]
    fn a_fragment_without_ports_is_no_translation() {
        let now = hop(TcEgress, 2, 1).fragment(1400, false);
        assert_eq!(between(&hop(TcIngress, 1, 1), &now), Vec::<String>::new());
    }
}
