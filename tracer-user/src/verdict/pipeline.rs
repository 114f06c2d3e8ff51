//! What Open vSwitch's tables do with a packet, told in a sentence.

use std::fmt::Write as _;

use crate::model::{Acl, LogicalFlow, OvsTrace, TraceKind};
use crate::verdict::words::safe;

/// How much of a match or an action list is quoted, characters.
const QUOTED: usize = 200;

/// ` on bridge br-int, table 61, nonexistent output port 775 in the rule …`; `None` where the tables
/// do not end the packet.
pub fn end(trace: &OvsTrace) -> Option<String> {
    let (bridge, table) = (safe(trace.bridge.as_deref()?), trace.table?);
    let rule = rule(trace);
    let why = match trace.kind {
        TraceKind::NoMatch => "no matching flow".to_owned(),
        TraceKind::Rule => format!("by {rule}"),
        TraceKind::MissingPort => {
            let port = trace.port.as_deref().map(|port| format!(" {}", safe(port)));
            format!("nonexistent output port{} in {rule}", port.unwrap_or_default())
        }
        TraceKind::Refused => {
            let words = trace.words.as_deref().unwrap_or("it could not be done");
            format!("by {rule}: {}", safe(words))
        }
        TraceKind::Fragment => "which drops all fragments (ovs-ofctl get-frags)".to_owned(),
        TraceKind::Passes | TraceKind::Unknown => return None,
    };
    Some(format!(" on bridge {bridge}, table {table}, {why}"))
}

/// ``the rule `priority=12,reg6=0x3 actions=output:775`, cookie 0x9b52dfee970c9aa7``.
fn rule(trace: &OvsTrace) -> String {
    let Some(priority) = trace.priority else {
        return "its rule".to_owned();
    };
    let matching = trace.r#match.as_deref().filter(|m| !m.is_empty());
    let matching = matching.map(|m| format!(",{}", short(m))).unwrap_or_default();
    let actions = short(trace.rule_actions.as_deref().unwrap_or("drop"));
    let cookie = trace.cookie.as_deref().filter(|cookie| *cookie != "0x0");
    let cookie = cookie.map(|cookie| format!(", cookie {}", safe(cookie))).unwrap_or_default();
    format!("the rule `priority={priority}{matching} actions={actions}`{cookie}")
}

/// Sentences besides: where the trace and what was seen differ, what OVN made the rule of, and what
/// could not be found out.
pub fn besides(trace: &OvsTrace) -> String {
    let mut text = String::new();
    if let Some(disagrees) = &trace.disagrees {
        let _ = write!(text, " {}.", capital(&safe(disagrees)));
    }
    if let Some(flow) = &trace.logical_flow {
        text.push_str(&logical_flow(flow));
    }
    if let Some(acl) = &trace.acl {
        text.push_str(&access_list(acl));
    }
    if let Some(lacks) = &trace.lacks {
        let _ = write!(text, " Not found out: {}.", safe(lacks));
    }
    text
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
    trace.show.iter().chain(&trace.fix).chain(&trace.asked).cloned().collect()
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
