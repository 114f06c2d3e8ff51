//! What a recording holds, counted while it is written.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result};
use serde::Deserialize;

/// Records of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Events that arrived.
    pub hops: u64,
    /// Drops that were counted.
    pub drops: u64,
    /// Events that did not arrive, or drops that were not counted, as the recording says.
    pub lost: u64,
}

/// A record of losses, or a row of drops.
#[derive(Deserialize)]
struct Counted {
    count: u64,
}

/// Reads a recording to its end. Hops are told by how their lines begin: parsing them all would
/// take the processor time that is being measured.
pub(super) fn count(from: impl Read) -> Result<Count> {
    let mut reader = BufReader::with_capacity(1 << 20, from);
    let mut count = Count::default();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(br#"{"type":"hop""#) {
            count.hops += 1;
        } else if line.starts_with(br#"{"type":"lost""#) {
            let lost: Counted = serde_json::from_slice(&line).context("a record of losses")?;
            count.lost += lost.count;
        } else if line.starts_with(br#"{"type":"drops""#) {
            let row: Counted = serde_json::from_slice(&line).context("a row of drops")?;
            count.drops += row.count;
        } else if line.starts_with(b"@drops[") {
            count.drops += of_map(&line).context("a row of a map")?;
        }
        line.clear();
    }
    Ok(count)
}

/// The number in a line of a map that bpftrace prints at its end: `@drops[2, 0xffff…]: 17`.
fn of_map(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line).ok()?.rsplit_once(": ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_and_losses_among_other_records() {
        let recording = br#"{"type":"meta","version":1}
{"type":"hop","ts":1}
{"type":"lost","cpu":0,"count":40,"ts":2}
{"type":"hop","ts":3}
{"type":"lost","cpu":1,"count":2,"ts":4}
{"type":"drops","ts":9,"reason":"NETFILTER_DROP","count":7,"bytes":420}
@drops[2, 0xffffffff820db82e]: 14
{"type":"verdict","text":"{\"type\":\"hop\"}"}
"#;
        let expected = Count { hops: 2, drops: 21, lost: 42 };
        assert_eq!(count(&recording[..]).expect("is well formed"), expected);
    }
}
