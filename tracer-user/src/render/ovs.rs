//! What Open vSwitch does with a packet, for a line of text.

use std::fmt::Write as _;

use crate::model::{HookName, Hop, Ovs};
use crate::verdict::words::safe;

/// What a hop in the datapath is about; empty for others.
pub fn facts(hop: &Hop) -> String {
    let Some(ovs) = &hop.ovs else {
        return String::new();
    };
    let mut text = match hop.hook {
        HookName::OvsReceive => port(" in by port", ovs.port.as_deref(), ovs.port_no, ovs),
        HookName::OvsOutput => port(" out by port", ovs.port.as_deref(), ovs.port_no, ovs),
        HookName::OvsActions => run(ovs),
        HookName::OvsAnswer => format!(" ovs-vswitchd installs a flow:{}", run(ovs)),
        HookName::OvsUpcall => upcall(ovs),
        _ => String::new(),
    };
    conntrack(ovs, &mut text);
    text
}

fn port(how: &str, name: Option<&str>, number: Option<u32>, ovs: &Ovs) -> String {
    let name = match (name, number) {
        (None, None) => return String::new(),
        (Some(name), None) => format!("{how} {}", safe(name)),
        (None, Some(number)) => format!("{how} {number}"),
        (Some(name), Some(number)) => format!("{how} {number} {}", safe(name)),
    };
    let dp = ovs.dp.as_deref().map(|dp| format!(" of {}", safe(dp))).unwrap_or_default();
    format!("{name}{dp}")
}

fn run(ovs: &Ovs) -> String {
    let mut text = String::new();
    if ovs.from_userspace {
        text.push_str(" back from ovs-vswitchd");
    }
    if let Some(id) = ovs.recirc_id.filter(|id| *id != 0) {
        let _ = write!(text, " recirculated {id:#x}");
    }
    if let Some(actions) = &ovs.actions {
        let _ = write!(text, " actions: {}{}", safe(actions), if ovs.cut { "…" } else { "" });
    }
    text
}

fn upcall(ovs: &Ovs) -> String {
    let Some(upcall) = &ovs.upcall else {
        return String::new();
    };
    let mut text = String::from(match upcall.cmd.as_deref() {
        Some("miss") => " no flow matches: up to ovs-vswitchd",
        Some("action") => " up to ovs-vswitchd by an action",
        _ => " up to ovs-vswitchd",
    });
    if let Some(error) = &upcall.result {
        let _ = write!(text, ": FAILED {}", safe(error));
    }
    text
}

/// ` [ct +inv+trk zone 5]`.
fn conntrack(ovs: &Ovs, text: &mut String) {
    let Some(state) = &ovs.ct_state else { return };
    let _ = write!(text, " [ct +{}", safe(state).replace('|', "+"));
    if let Some(zone) = ovs.ct_zone {
        let _ = write!(text, " zone {zone}");
    }
    if let Some(mark) = ovs.ct_mark {
        let _ = write!(text, " mark {mark:#x}");
    }
    text.push(']');
}
