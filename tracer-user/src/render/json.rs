//! NDJSON: one record a line.

use std::io::{self, Write};

use serde::Serialize;

/// Writes one record as one line. Nothing is flushed: the caller does, once for all the lines that
/// it has at the moment, so that a reader at the other end of a pipe sees them at once.
///
/// # Errors
/// Those of the writer; a reader that has gone is [`io::ErrorKind::BrokenPipe`].
pub fn write(out: &mut (impl Write + ?Sized), record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lost, Record};

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
