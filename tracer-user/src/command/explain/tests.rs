use super::explain as run;
use super::line::{MAX_LINE, kind};
use crate::report::{Form, Report, Shows};
use tracer_core::reconstruct::testing::{HopExt, hop};
use tracer_core::record::{Meta, Record};

fn meta() -> String {
    let meta = Meta { version: 1, tool: "lasthop 0.1.0".into(), ..Meta::default() };
    serde_json::to_string(&Record::Meta(meta)).unwrap() + "\n"
}

fn a_drop() -> String {
    drop_of(1, 1)
}

fn drop_of(packet: u64, ms: u64) -> String {
    let mut h = hop(tracer_core::record::HookName::Drop, ms, packet)
        .on("server", "eth0", None)
        .because(Some("NO_SOCKET"), "__udp4_lib_rcv");
    (h.packet, h.hop) = (packet, 1);
    serde_json::to_string(&Record::Hop(&h)).unwrap() + "\n"
}

struct Said {
    /// The exit status.
    result: anyhow::Result<u8>,
    out: String,
    err: String,
}

fn explain(input: &[u8]) -> Said {
    shown(input, Shows::Conclusions)
}

fn shown(input: &[u8], shows: Shows) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let report = Report::new(Box::new(&mut out), Form::Json, shows);
    let result = run(std::io::Cursor::new(input.to_vec()), report, &mut err);
    Said { result, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// The one clear line that a bad recording gets.
fn refusal(input: &[u8]) -> String {
    let message = format!("{:#}", explain(input).result.unwrap_err());
    assert!(!message.contains('\n'), "{message}");
    assert!(message.contains("lasthop trace --json") || message.contains("one recording"));
    message
}

#[test]
fn verdicts_and_journeys_come_out_as_records() {
    let said = explain((meta() + &a_drop()).as_bytes());
    assert_eq!(said.result.unwrap(), 10);
    let kinds: Vec<_> = said.out.lines().map(|l| kind(l).ok().unwrap()).collect();
    assert_eq!(kinds, ["meta", "journey", "verdict"]);
}

#[test]
fn what_is_due_by_the_time_of_a_hop_is_settled_without_it() {
    let said = shown((meta() + &drop_of(1, 1) + &drop_of(2, 9_000)).as_bytes(), Shows::Everything);
    let kinds: Vec<_> = said.out.lines().map(|l| kind(l).ok().unwrap()).collect();
    assert_eq!(kinds, ["meta", "hop", "journey", "hop", "journey", "verdict"]);
}

#[test]
fn a_trace_without_a_match_is_whole() {
    assert_eq!(explain(meta().as_bytes()).result.unwrap(), 12);
}

#[test]
fn unknown_types_and_keys_are_passed_over() {
    let with_key = a_drop().replace("\"cpu\":0", "\"cpu\":0,\"of_tomorrow\":{\"a\":[1]}");
    let input = meta() + "{\"type\":\"of-tomorrow\",\"x\":{}}\n\n" + &with_key;
    assert_eq!(explain(input.as_bytes()).result.unwrap(), 10);
}

#[test]
fn a_garbled_journey_is_refused() {
    let journey = "{\"type\":\"journey\",\"packet\":1,\"first\":{\"hook\":\"drop\"}}\n";
    assert_eq!(explain((meta() + journey).as_bytes()).result.unwrap(), 12);
    let garbled = meta() + &journey.replace("drop\"", "drop") + journey;
    assert!(refusal(garbled.as_bytes()).starts_with("line 2: not a record"));
}

#[test]
fn type_may_stand_anywhere() {
    let body = a_drop().replacen("{\"type\":\"hop\",", "{", 1);
    let moved = body.trim_end().strip_suffix('}').unwrap().to_owned() + ",\"type\":\"hop\"}\n";
    assert_eq!(explain((meta() + &moved).as_bytes()).result.unwrap(), 10);
}

#[test]
fn a_cut_off_last_line_is_reported_and_the_rest_explained() {
    let input = meta() + &a_drop() + &a_drop()[..40];
    let said = explain(input.as_bytes());
    assert_eq!(said.result.unwrap(), 10);
    assert_eq!(said.err.lines().count(), 1);
    assert!(said.err.contains("line 3") && said.err.contains("cut off"), "{}", said.err);
    assert!(said.out.contains("\"dropped\""));
}

#[test]
fn a_cut_off_recording_without_a_loss_is_incomplete() {
    let input = meta() + &a_drop()[..40];
    assert_eq!(explain(input.as_bytes()).result.unwrap(), 13);
}

#[test]
fn a_last_line_without_a_newline_is_whole() {
    let input = meta() + a_drop().trim_end();
    let said = explain(input.as_bytes());
    assert_eq!((said.result.unwrap(), said.err.as_str()), (10, ""));
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    assert!(refusal(b"").contains("no line of type meta"));
    assert!(refusal(b"\n\n").contains("no line of type meta"));
    assert!(refusal(b"hello\n").starts_with("line 1: not a record"));
    assert!(refusal(b"{\"type\":\"meta\"").starts_with("line 1: not a record"));
    assert!(refusal(a_drop().as_bytes()).contains("is of type \"hop\", not meta"));
    assert!(refusal(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]).starts_with("line 1: not a record"));
    assert!(refusal((meta() + "{\"type\":\"hop\"}\n").as_bytes()).starts_with("line 2: "));
    assert!(refusal((meta() + "\u{1b}[2J\n").as_bytes()).starts_with("line 2: "));
    let broken = meta() + &a_drop()[..40] + "\n" + &a_drop();
    assert!(refusal(broken.as_bytes()).starts_with("line 2: not a record"));
    let tomorrow = meta().replace("\"version\":1", "\"version\":2");
    assert!(refusal(tomorrow.as_bytes()).contains("version 2 of the format"));
    assert!(refusal((meta() + &meta()).as_bytes()).contains("second line of type meta"));
}

#[test]
fn a_refusal_carries_no_control_character() {
    let line = "{\"type\":\"hop\",\"hook\":\"\\u001b[2J\"}\n";
    let message = refusal((meta() + line).as_bytes());
    assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
    let message = refusal(b"{\"type\":\"\\u001b[2J\\u009b\"}\n");
    assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let mut input = meta().into_bytes();
    input.resize(input.len() + MAX_LINE + 10, b' ');
    assert!(refusal(&input).contains("line 2 is longer than 1 MiB"));
    let deep = meta() + &"[".repeat(100_000) + "\n";
    assert!(refusal(deep.as_bytes()).starts_with("line 2: "));
}

#[test]
fn hostile_numbers_do_no_harm() {
    let biggest = a_drop()
        .replace("\"packet\":1", "\"packet\":18446744073709551615")
        .replace("\"hop\":1,", "\"hop\":4294967295,")
        .replace("\"ts\":1000000", "\"ts\":18446744073709551615");
    let unnumbered = a_drop().replace("\"packet\":1", "\"packet\":0").replace("f1", "f2");
    let input = meta()
        + &biggest
        + &unnumbered
        + &biggest
        + "{\"type\":\"lost\",\"cpu\":4294967295,\"count\":18446744073709551615,\"ts\":0}\n{\"type\":\"verdict\",\"ts\":0}\n";
    assert_eq!(explain(input.as_bytes()).result.unwrap(), 10);
}

#[test]
fn the_end_tells_vanished_from_in_flight() {
    let seen = a_drop().replace("\"hook\":\"drop\"", "\"hook\":\"tc-ingress\"");
    let outcome = |end: &str| explain((meta() + &seen + end).as_bytes()).out;
    assert!(outcome("").contains("in-flight"));
    assert!(outcome("{\"type\":\"verdict\",\"ts\":9000000000}\n").contains("vanished"));
}
