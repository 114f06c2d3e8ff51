//! How a packet's way through Open vSwitch's datapath is told in a sentence.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Ovs};
use crate::verdict::words::safe;

/// How much of an action list is quoted, characters.
const QUOTED: usize = 240;

/// The port by which the packet came into the datapath.
pub fn in_port(passage: &[Rc<Sight>]) -> Option<&str> {
    let named = facts(passage).find_map(|ovs| ovs.in_port.as_deref());
    // Without the module's BTF the port has no name, but the device has.
    let receive = passage.iter().find(|s| s.hook == HookName::OvsReceive);
    named.or_else(|| receive?.site.dev.as_ref().map(|dev| dev.name.as_str()))
}

/// The bond of Open vSwitch's that this port is a member of.
pub fn bond(passage: &[Rc<Sight>]) -> Option<&str> {
    let receive = passage.iter().find(|s| s.hook == HookName::OvsReceive)?;
    receive.site.dev.as_ref()?.bond.as_deref()
}

/// ` of datapath ovs-system`, where it is known.
pub fn of_datapath(passage: &[Rc<Sight>]) -> String {
    let dp = facts(passage).find_map(|ovs| ovs.dp.as_deref());
    dp.map(|dp| format!(" of datapath {}", safe(dp))).unwrap_or_default()
}

/// The last list of actions that was run on it.
pub fn last_run(passage: &[Rc<Sight>]) -> Option<&Ovs> {
    let is_run = |s: &&Rc<Sight>| matches!(s.hook, HookName::OvsActions | HookName::OvsAnswer);
    passage.iter().rfind(is_run)?.ovs.as_deref()
}

/// What its passes through conntrack made of it: `, in the pass after ct in which it was inv|trk in
/// zone 5`. Empty where it went through none.
pub fn after_ct(passage: &[Rc<Sight>]) -> String {
    let Some(ovs) = facts(passage).last() else {
        return String::new();
    };
    match (&ovs.ct_state, ovs.recirc_id) {
        (Some(state), _) => {
            let zone = ovs.ct_zone.map(|zone| format!(" in zone {zone}")).unwrap_or_default();
            format!(", after conntrack{zone} found it {}", safe(state))
        }
        (None, Some(id)) if id != 0 => format!(", after recirculation {id:#x}"),
        _ => String::new(),
    }
}

/// Conntrack found the packet invalid in its last pass.
pub fn is_invalid(passage: &[Rc<Sight>]) -> bool {
    let state = facts(passage).last().and_then(|ovs| ovs.ct_state.as_deref());
    state.is_some_and(|state| state.split('|').any(|flag| flag == "inv"))
}

/// `` `ct(zone=5),recirc(0x2)` ``, shortened where it is long.
pub fn quoted(run: &Ovs) -> Option<String> {
    let actions = run.actions.as_deref()?;
    let mut text = String::from("`");
    for (i, c) in actions.chars().enumerate() {
        if i == QUOTED {
            text.push('…');
            break;
        }
        text.push(c);
    }
    let _ = write!(text, "`{}", if run.cut { " (the list goes on)" } else { "" });
    Some(safe(&text).into_owned())
}

fn facts(passage: &[Rc<Sight>]) -> impl DoubleEndedIterator<Item = &Ovs> {
    passage.iter().filter_map(|s| s.ovs.as_deref())
}
