//! NDJSON: one record a line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// As compact as can be, and harmless on a terminal: what RFC 8259 lets stand in a string as it is
/// and terminals act upon (DEL, and the control characters of C1, of which U+009B begins what
/// ESC [ begins) is escaped too.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // 0xc2 begins U+0080 to U+00BF.
        if !fragment.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) {
            return out.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(char::is_control) {
            let (before, from) = rest.split_at(at);
            let mut characters = from.chars();
            let control = characters.next().map_or(0, u32::from);
            write!(out, "{before}\\u{control:04x}")?;
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Writes one record as one line. Nothing is flushed: the caller does, once for all the lines that
/// it has at the moment, so that a reader at the other end of a pipe sees them at once.
///
/// # Errors
/// Those of the writer; a reader that has gone is [`io::ErrorKind::BrokenPipe`].
pub fn write(out: &mut (impl Write + ?Sized), record: &impl Serialize) -> io::Result<()> {
    record.serialize(&mut Serializer::with_formatter(&mut *out, Harmless))?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HookName, Lost, Record};
    use crate::reconstruct::testing::{HopExt, hop};

    #[test]
    fn what_a_terminal_acts_upon_is_escaped_and_comes_back() {
        let hostile = "é\u{9b}31m\u{7f}\u{1b}[2J\u{85}\u{a3}\"\\";
        let mut out = Vec::new();
        write(&mut out, &hostile).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line, "\"é\\u009b31m\\u007f\\u001b[2J\\u0085\u{a3}\\\"\\\\\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), hostile);
    }

    #[test]
    fn nor_does_a_device_reach_the_terminal() {
        let mut hop = hop(HookName::TcEgress, 1, 1).on("a\u{9b}2J", "b\u{7f}", Some("veth"));
        hop.stack = ["c\u{85}+0x1".to_owned()].into();
        let mut out = Vec::new();
        write(&mut out, &Record::Hop(Box::new(hop))).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        assert!(["a\\u009b2J", "b\\u007f", "c\\u0085+0x1"].iter().all(|s| line.contains(s)));
    }

    #[test]
    fn a_record_is_one_line() {
        let record = Record::Lost(Lost { cpu: 1, count: 2, ts: 3, what: Some("a\nb".into()) });
        let mut out = Vec::new();
        write(&mut out, &record).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line, "{\"type\":\"lost\",\"cpu\":1,\"count\":2,\"ts\":3,\"what\":\"a\\nb\"}\n");
        let read: Lost = serde_json::from_str(&line).unwrap();
        assert_eq!(Record::Lost(read), record);
    }
}
