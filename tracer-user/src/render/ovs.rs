//! What Open vSwitch does with a packet, for a line of text.

use std::fmt::Write as _;

use tracer_core::record::{HookName, Hop, Ovs};
use tracer_core::verdict::words::safe;

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

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::reconstruct::testing::{HopExt, hop};
    use tracer_core::record::HookName::{
        OvsActions, OvsAnswer, OvsOutput, OvsReceive, OvsUpcall, TcEgress,
    };
    use tracer_core::record::Upcall;

    fn told(hook: HookName, set: impl FnOnce(&mut Ovs)) -> String {
        facts(&hop(hook, 1, 1).in_ovs(set))
    }

    #[test]
    fn each_hop_says_what_is_done() {
        let port = |o: &mut Ovs| (o.port, o.port_no) = (Some("va".into()), Some(2));
        assert_eq!(told(OvsReceive, port), " in by port 2 va of ovs-system");
        assert_eq!(told(OvsOutput, port), " out by port 2 va of ovs-system");
        let list = |o: &mut Ovs| o.actions = Some("ct(zone=5),recirc(0x2)".into());
        assert_eq!(told(OvsActions, list), " actions: ct(zone=5),recirc(0x2)");
        assert_eq!(
            told(OvsAnswer, |o| o.actions = Some("drop".into())),
            " ovs-vswitchd installs a flow: actions: drop"
        );
        let again = |o: &mut Ovs| {
            (o.recirc_id, o.actions, o.cut) = (Some(2), Some("3".into()), true);
            (o.ct_state, o.ct_zone, o.ct_mark) = (Some("inv|trk".into()), Some(5), Some(16));
            o.from_userspace = true;
        };
        assert_eq!(
            told(OvsActions, again),
            " back from ovs-vswitchd recirculated 0x2 actions: 3… [ct +inv+trk zone 5 mark 0x10]"
        );
        let upcall = |result: Option<&str>| {
            let result = result.map(str::to_owned);
            told(OvsUpcall, |o| o.upcall = Some(Upcall { cmd: Some("miss".into()), result }))
        };
        assert_eq!(upcall(None), " no flow matches: up to ovs-vswitchd");
        assert_eq!(upcall(Some("EAGAIN")), " no flow matches: up to ovs-vswitchd: FAILED EAGAIN");
    }

    #[test]
    fn nothing_that_a_terminal_acts_upon_gets_through() {
        let hostile = |o: &mut Ovs| {
            (o.port, o.dp) = (Some("\u{1b}[2J".into()), Some("\n".into()));
        };
        assert_eq!(told(OvsReceive, hostile), " in by port \\u{1b}[2J of \\u{a}");
        assert_eq!(facts(&hop(TcEgress, 1, 1)), "");
    }
}
