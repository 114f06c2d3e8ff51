//! NDJSON: one record a line.

use std::fmt::Write as _;
use std::io::{self, Write};

use memchr::memchr2;
use serde::Serialize;

/// Writes records as lines, as compact as can be and harmless on a terminal: what RFC 8259 lets stand
/// in a string as it is and terminals act upon (DEL, and the control characters of C1, of which
/// U+009B begins what ESC [ begins) is escaped too.
///
/// Kept from record to record: each line is put together in the same piece of memory.
#[derive(Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Writes one record as one line. Nothing is flushed: the caller does, once for all the lines
    /// that it has at the moment, so that a reader at the other end of a pipe sees them at once.
    ///
    /// # Errors
    /// Those of the writer; a reader that has gone is [`io::ErrorKind::BrokenPipe`].
    pub fn write(
        &mut self,
        out: &mut (impl Write + ?Sized),
        record: &impl Serialize,
    ) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        // The whole line is looked through at once, which is quicker than each of its strings: what
        // is looked for stands in strings only. 0xc2 begins U+0080 to U+00BF.
        if memchr2(0x7f, 0xc2, &self.line).is_some() {
            self.line = escaped(&self.line);
        }
        self.line.push(b'\n');
        out.write_all(&self.line)
    }
}

/// The line with its control characters as escapes.
fn escaped(line: &[u8]) -> Vec<u8> {
    let mut escaped = String::with_capacity(2 * line.len());
    for character in String::from_utf8_lossy(line).chars() {
        if character.is_control() {
            // To a string it never fails.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped.into_bytes()
}

/// Writes one record; see [`Lines::write`].
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut (impl Write + ?Sized), record: &impl Serialize) -> io::Result<()> {
    Lines::default().write(out, record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::reconstruct::testing::{HopExt, hop};
    use tracer_core::record::{HookName, Lost, Record};

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
        hop.stack = Some(["c\u{85}+0x1".to_owned()].into());
        let mut out = Vec::new();
        write(&mut out, &Record::Hop(&hop)).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        assert!(["a\\u009b2J", "b\\u007f", "c\\u0085+0x1"].iter().all(|s| line.contains(s)));
    }

    #[test]
    fn a_record_is_one_line() {
        let record =
            Record::Lost(Lost { cpu: 1, count: 2, what: Some("a\nb".into()), ..Lost::at(3) });
        let mut out = Vec::new();
        write(&mut out, &record).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line, "{\"type\":\"lost\",\"cpu\":1,\"count\":2,\"ts\":3,\"what\":\"a\\nb\"}\n");
        let read: Lost = serde_json::from_str(&line).unwrap();
        assert_eq!(Record::Lost(read), record);
    }
}
