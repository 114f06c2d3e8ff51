//! What Open vSwitch's tables do with a packet, told in a sentence.

use std::fmt::Write as _;

use crate::record::{Acl, LogicalFlow, OvsTrace, OvsVlan, OvsVlanPort, TraceKind};
use crate::verdict::words::{safe, shell};

/// That of a rule which was given none; Open vSwitch does not print it.
const DEFAULT_PRIORITY: u16 = 32768;
/// How much of a match or an action list is quoted, characters.
const QUOTED: usize = 200;

/// ` on bridge br-int, table 61, nonexistent output port 775 in the rule …`; `None` where the tables
/// do not end the packet.
pub fn end(trace: &OvsTrace) -> Option<String> {
    let (bridge, table) = (safe(trace.bridge.as_deref()?), trace.table?);
    let rule = rule(trace);
    let why = match trace.kind {
        TraceKind::NoMatch => "no matching flow".to_owned(),
        TraceKind::Rule => {
            let words = trace.words.as_deref().map(|words| format!(" ({})", safe(words)));
            let vlan = trace.vlan.as_ref().map(vlan);
            let nobody = || if words.is_some() { ", but no port takes it" } else { "" }.to_owned();
            let vlan = vlan.unwrap_or_else(nobody);
            format!("by {rule}{}{vlan}", words.unwrap_or_default())
        }
        TraceKind::MissingPort => {
            let port = trace.port.as_deref().map(|port| format!(" {}", safe(port)));
            format!("nonexistent output port{} in {rule}", port.unwrap_or_default())
        }
        // None of its actions was run.
        TraceKind::Refused if trace.rule_actions.as_deref() == Some("") => {
            trace.words.as_deref().map(|words| safe(words).into_owned()).unwrap_or_default()
        }
        TraceKind::Refused => {
            let words = trace.words.as_deref().unwrap_or("it could not be done");
            format!("by {rule}: {}", safe(words))
        }
        TraceKind::Fragment => "which drops all fragments (ovs-ofctl get-frags)".to_owned(),
        TraceKind::Passes | TraceKind::Mirrored | TraceKind::Unknown => return None,
    };
    Some(format!(" on bridge {bridge}, table {table}, {why}"))
}

/// ` The rule `…` of bridge br0, table 0, sends it on (forwarding to learned port).`: which rule the
/// tables leave with, where they do not end the packet.
pub fn sender(trace: &OvsTrace) -> String {
    let (Some(bridge), Some(table)) = (&trace.bridge, trace.table) else {
        return String::new();
    };
    if trace.kind == TraceKind::Mirrored {
        let by = match trace.priority {
            Some(_) => format!("{} in table {table}", rule(trace)),
            None => format!("no matching flow in table {table}"),
        };
        let bridge = safe(bridge);
        return format!(
            " On bridge {bridge} {by} ends it: what went out is a copy that a mirror makes, and the packet \
             itself goes nowhere."
        );
    }
    if trace.priority.is_none() {
        return String::new();
    }
    if trace.kind == TraceKind::Unknown {
        return format!(
            " In the tables {} on bridge {}, table {table}, chooses by a hash of the packet where it goes.",
            rule(trace),
            safe(bridge)
        );
    }
    if trace.kind != TraceKind::Passes {
        return String::new();
    }
    let how = trace.words.as_deref().map(|words| format!(" ({})", safe(words)));
    format!(
        " In the tables {} on bridge {}, table {table}, sends it on{}.",
        rule(trace),
        safe(bridge),
        how.unwrap_or_default()
    )
}

/// ``the rule `priority=12,reg6=0x3 actions=output:775`, cookie 0x9b52dfee970c9aa7``.
fn rule(trace: &OvsTrace) -> String {
    let Some(priority) = trace.priority else {
        return "its rule".to_owned();
    };
    let matching = trace.r#match.as_deref().filter(|m| !m.is_empty()).map(short);
    let priority = (priority != DEFAULT_PRIORITY).then(|| format!("priority={priority}"));
    let selects = [priority, matching].into_iter().flatten().collect::<Vec<_>>().join(",");
    let selects = if selects.is_empty() { selects } else { format!("{selects} ") };
    let actions = short(trace.rule_actions.as_deref().unwrap_or("drop"));
    let cookie = trace.cookie.as_deref().filter(|cookie| *cookie != "0x0");
    let cookie = cookie.map(|cookie| format!(", cookie {}", safe(cookie))).unwrap_or_default();
    format!("the rule `{selects}actions={actions}`{cookie}")
}

/// `: the frame is in VLAN 10, which port p-c puts it in, and no other port of …`.
fn vlan(vlan: &OvsVlan) -> String {
    let port = safe(&vlan.port);
    let is_in = match (vlan.id, vlan.tag) {
        (0, _) => format!("the frame is in no VLAN, as port {port} has no tag"),
        (id, Some(tag)) if id == tag => {
            format!("the frame is in VLAN {id}, the tag of port {port}")
        }
        (id, _) => format!("the frame that came by port {port} is in VLAN {id}"),
    };
    let others = match vlan.inside.as_slice() {
        [] => "no other port is".to_owned(),
        own => format!("of the other ports only {} is", safe(&own.join(", "))),
    };
    let outside: Vec<_> = vlan.outside.iter().map(vlan_port).collect();
    let outside =
        if outside.is_empty() { String::new() } else { format!(" ({})", outside.join(", ")) };
    format!(": {is_in}, in which {others}{outside}")
}

fn vlan_port(port: &OvsVlanPort) -> String {
    let name = safe(&port.port);
    let trunks: Vec<_> = port.trunks.iter().map(ToString::to_string).collect();
    match (port.tag, trunks.is_empty()) {
        (Some(tag), _) => format!("{name} has tag {tag}"),
        (None, false) => format!("{name} carries only {}", trunks.join(", ")),
        (None, true) => name.into_owned(),
    }
}

/// Sentences besides: where the trace and what was seen differ, what OVN made the rule of, and what
/// could not be found out.
pub fn besides(trace: &OvsTrace) -> String {
    let mut text = String::new();
    if let Some(disagrees) = &trace.disagrees {
        let _ = if is_own(disagrees) {
            write!(text, " {}.", capital(&safe(disagrees)))
        } else {
            write!(text, " {THE_RECORD_SAYS}: \"{}\".", short(disagrees))
        };
    }
    if let Some(flow) = &trace.logical_flow {
        text.push_str(&logical_flow(flow));
    }
    if let Some(acl) = &trace.acl {
        text.push_str(&access_list(acl));
    }
    if let Some(lacks) = trace.lacks.as_ref().filter(|_| !knows_no_port(trace)) {
        let _ = write!(text, " Not found out: \"{}\".", short(lacks));
    }
    text
}

/// How words are introduced that are another's than lasthop's, or may be.
const THE_RECORD_SAYS: &str = "Besides, the record says";

/// Whether a sentence is one of those in which [`conclude`](crate::ovs::owner::conclude) says how a trace
/// and what was seen differ. A recording may have any.
fn is_own(text: &str) -> bool {
    const ASSUMED: &str = "a simulated trace would have passed it: without --ct-next, ofproto/trace takes \
                           every packet that comes out of conntrack for new|trk, and this one came out ";
    const PASSES: &str = "a trace that is not told the live connection tracking states sends it on";
    const NOW: &str = "the tables would send it on now, with the datapath actions `";
    const LIVE: &str = "`, and the datapath flow that it met says `";
    const STALE: &str = "`: that flow is stale, or the tables were changed since";
    let is_state =
        |state: &str| state.bytes().all(|b| b.is_ascii_alphanumeric() || b"|_+-".contains(&b));
    let quotes = |text: &str| {
        let lists = text.strip_prefix(NOW).and_then(|rest| rest.strip_suffix(STALE));
        lists
            .and_then(|lists| lists.split_once(LIVE))
            .is_some_and(|(now, live)| !now.contains('`') && !live.contains('`'))
    };
    text == PASSES || text.strip_prefix(ASSUMED).is_some_and(is_state) || quotes(text)
}

/// No bridge has a port for what came in (`xlate_lookup` of `ofproto/ofproto-dpif-xlate.c`): so it is with
/// what comes out of a tunnel with another key, or from another address, than any tunnel port has.
pub fn knows_no_port(trace: &OvsTrace) -> bool {
    trace.lacks.as_deref().is_some_and(|lacks| lacks.contains("no OpenFlow port for datapath port"))
}

fn logical_flow(flow: &LogicalFlow) -> String {
    let of = flow.datapath.as_deref().map(|d| format!(" of {}", safe(d))).unwrap_or_default();
    let stage = flow.stage.as_deref().map(|s| format!(" ({})", safe(s))).unwrap_or_default();
    format!(
        " OVN made that rule of the logical flow in {} table {}{stage}{of}: priority {}, match `{}`, \
         actions `{}`.",
        safe(&flow.pipeline),
        flow.table,
        flow.priority,
        short(&flow.r#match),
        short(&flow.actions)
    )
}

fn access_list(acl: &Acl) -> String {
    let name = acl.name.as_deref().map(|n| format!(" {}", safe(n))).unwrap_or_default();
    format!(
        " It stands for the ACL{name} ({}, priority {}, match `{}`, action {}).",
        safe(&acl.direction),
        acl.priority,
        short(&acl.r#match),
        safe(&acl.action)
    )
}

/// The commands that show the rule and mend it.
pub fn commands(trace: &OvsTrace) -> Vec<String> {
    let vlan = trace.vlan.as_ref().map(|vlan| {
        let others = vlan.outside.iter().map(|other| &other.port);
        let ports: Vec<_> = std::iter::once(&vlan.port).chain(others).map(|p| shell(p)).collect();
        format!("ovs-vsctl --columns=name,tag,trunks,vlan_mode list port {}", ports.join(" "))
    });
    let known = trace.show.iter().chain(&vlan).chain(&trace.fix);
    known.cloned().chain(ports(trace)).chain(trace.asked.clone()).collect()
}

/// What shows the state of the ports, bonds and groups that a rule sends packets to.
fn ports(trace: &OvsTrace) -> Vec<String> {
    let (Some(bridge), Some(actions)) = (trace.bridge.as_deref(), trace.rule_actions.as_deref())
    else {
        return Vec::new();
    };
    let bridge = shell(bridge);
    let mut commands = Vec::new();
    if actions.contains("group:") {
        commands.push(format!("ovs-ofctl -O OpenFlow13 dump-groups {bridge}"));
    }
    if trace.kind == TraceKind::Rule && trace.words.is_some() && trace.vlan.is_none() {
        commands.push(format!("ovs-ofctl show {bridge}"));
        commands.push("ovs-appctl bond/show".to_owned());
    }
    if matches!(trace.kind, TraceKind::Refused | TraceKind::Passes) {
        commands.push(format!("ovs-ofctl show {bridge}"));
    }
    commands
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(QUOTED).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", safe(&cut))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}
