//! A recording to its verdicts.

use lasthop::fuzzing::explain;
use lasthop::render::text::Text;
use lasthop::report::{Form, Report, Shows};

/// Panics where `explain` breaks a promise.
///
/// What costs more than one reading is held against every fourth input: by its length, so that an
/// input that fails does so again.
pub fn check(data: &[u8]) {
    let (as_json, json) = run(data, Form::Json);
    for line in json.lines() {
        serde_json::from_str::<serde::de::IgnoredAny>(line).expect("each line is JSON");
        assert!(line.starts_with('{'), "each line is one object");
    }
    match data.len() % 4 {
        0 => {
            let (as_text, text) = run(data, Form::Text(Text::new(false)));
            // Names in a recording may be made to move the cursor or to forge lines.
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            assert_eq!(as_text, as_json, "the outcome depends on how it is shown");
        }
        // Of a recording whose last line is cut off, only its reader knows that something is missing.
        1 if as_json.is_some() && data.ends_with(b"\n") => {
            let (again, same) = run(json.as_bytes(), Form::Json);
            assert_eq!((again, same), (as_json, json), "what is shown of it is not the recording");
        }
        _ => {}
    }
}

/// The exit status (`None`: refused, in one line) and all that was printed.
fn run(data: &[u8], form: Form) -> (Option<u8>, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let report = Report::new(Box::new(&mut out), form, Shows::Everything);
    let status = explain(data, report, &mut err);
    let out = String::from_utf8(out).expect("what is printed is text");
    if let Err(why) = &status {
        let why = format!("{why:#}");
        assert!(!why.chars().any(char::is_control), "{why:?}");
    }
    (status.ok(), out)
}
