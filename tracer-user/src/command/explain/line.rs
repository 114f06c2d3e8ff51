//! One line of a recording.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use tracer_core::reconstruct::asked::Answer;
use tracer_core::record::{Hop, Lost, Meta};
use tracer_core::verdict::ofproto;
use tracer_core::verdict::words::safe;

use super::caps;
use super::pieces::Pieces;

/// The longest line that is read; lasthop's own are a few KiB.
pub const MAX_LINE: usize = 1 << 20;
/// The version of the format that is understood.
const VERSION: u32 = 1;

/// The lines that matter; what other lines say follows from them.
pub enum Line {
    Meta(Meta),
    Hop(Hop),
    Lost(Lost),
    Answer(Box<Answer>),
    Verdict {
        /// When the trace ended.
        ts: u64,
    },
    Other,
}

/// Why a line says nothing.
pub enum Unread {
    /// It has more than [`MAX_LINE`] bytes.
    TooLong,
    /// It is no record of this format.
    NoRecord(String),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => f.write_str(" is longer than 1 MiB: not a lasthop recording"),
            Self::NoRecord(why) => write!(f, ": {why}"),
        }
    }
}

/// The first line, which says what this is.
pub fn head(line: &[u8]) -> Result<Meta, Unread> {
    let line = text(line)?;
    match &*kind(line)? {
        "meta" => meta(line),
        other => Err(Unread::NoRecord(format!("the first line is of type {other:?}, not meta"))),
    }
}

fn meta(line: &str) -> Result<Meta, Unread> {
    let meta = record::<Meta>(line)?;
    if meta.version != VERSION {
        return Err(Unread::NoRecord(format!(
            "version {} of the format, and this lasthop reads version {VERSION}: use the lasthop \
             that made it ({})",
            meta.version,
            safe(&meta.tool)
        )));
    }
    Ok(meta)
}

/// Any line after the first. `pieces`: those of the lines before.
pub fn parse(line: &[u8], pieces: &mut Pieces) -> Result<Line, Unread> {
    let line = text(line)?;
    // Almost all lines are hops of our own writing, and need not be looked at twice.
    if line.starts_with(r#"{"type":"hop","#) {
        let hop = pieces.hop(line).map_or_else(|| record(line), Ok)?;
        return Ok(Line::Hop(caps::hop(hop, line.len())));
    }
    // Of the rest almost all are journeys, which follow from the hops. That it is whole is all that
    // matters of one: a recording that was cut off or garbled is told.
    if line.starts_with(r#"{"type":"journey","#) {
        if pieces.is_journey(line) {
            return Ok(Line::Other);
        }
        return record::<IgnoredAny>(line).map(|_| Line::Other);
    }
    Ok(match &*kind(line)? {
        "hop" => Line::Hop(caps::hop(record(line)?, line.len())),
        "lost" => Line::Lost(record(line)?),
        "ovs-trace" => answer(Answer::OpenVswitch(Box::new(record(line)?)), line),
        "conntrack" => answer(Answer::Conntrack(record(line)?), line),
        "netfilter" => answer(Answer::Netfilter(record(line)?), line),
        "routing" => answer(Answer::Routing(record(line)?), line),
        "verdict" => Line::Verdict { ts: record::<Judged>(line)?.ts },
        "meta" => Line::Meta(meta(line)?),
        _ => Line::Other,
    })
}

/// What somebody's lasthop was answered: no more of it than is told, and no command as it stands there.
fn answer(answer: Answer, line: &str) -> Line {
    let answer = match caps::answer(answer, line.len()) {
        Answer::OpenVswitch(trace) => Answer::OpenVswitch(Box::new(ofproto::made_anew(*trace))),
        other => other,
    };
    Line::Answer(Box::new(answer))
}

/// The line as text. It is looked through once here, instead of at each of its strings.
fn text(line: &[u8]) -> Result<&str, Unread> {
    if line.len() > MAX_LINE {
        return Err(Unread::TooLong);
    }
    std::str::from_utf8(line).map_err(|e| {
        let column = e.valid_up_to() + 1;
        Unread::NoRecord(format!("not a record: it is not UTF-8 (column {column})"))
    })
}

fn record<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, Unread> {
    serde_json::from_str(line).map_err(|e| Unread::NoRecord(plain(&e)))
}

/// The type of a line.
///
/// # Errors
/// It has none.
pub fn kind(line: &str) -> Result<Cow<'_, str>, Unread> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    record::<Kind>(line).map(|kind| kind.r#type)
}

/// serde's message, without the line that it counts from 1 in each of ours.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    let what = safe(what);
    format!("not a record: {what} (column {})", error.column())
}

/// What matters of a verdict: it is judged anew.
#[derive(Deserialize)]
struct Judged {
    #[serde(default)]
    ts: u64,
}
