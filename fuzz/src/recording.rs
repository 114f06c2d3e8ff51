//! A recording to its verdicts.

use lasthop::command::explain::explain;
use lasthop::render::text::Text;
use lasthop::report::{Form, Report, Shows};

/// Panics where `explain` breaks a promise.
pub fn check(data: &[u8]) {
    let (as_text, out) = run(data, Form::Text(Text::new(false)));
    // Names in a recording may be made to move the cursor or to forge lines.
    assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
    let (as_json, out) = run(data, Form::Json);
    assert_eq!(as_text, as_json, "the outcome depends on how it is shown");
    for line in out.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is one JSON object");
    }
    // Of a recording whose last line is cut off, only its reader knows that something is missing.
    if as_json.is_some() && data.ends_with(b"\n") {
        let (again, same) = run(out.as_bytes(), Form::Json);
        assert_eq!((again, same), (as_json, out), "what is shown of it is not the recording");
    }
}

/// The exit status (`None`: refused, in one line) and all that was printed.
fn run(data: &[u8], form: Form) -> (Option<u8>, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let report = Report::new(Box::new(&mut out), form, Shows::Everything);
    let status = explain(std::io::Cursor::new(data.to_vec()), report, &mut err);
    let out = String::from_utf8(out).expect("what is printed is text");
    if let Err(why) = &status {
        let why = format!("{why:#}");
        assert!(!why.chars().any(char::is_control), "{why:?}");
    }
    (status.ok(), out)
}
