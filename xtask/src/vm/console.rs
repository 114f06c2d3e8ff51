//! One output of the command in the machine, read up to the mark that the machine ends it with.

use std::io::{self, Read, Write};

use anyhow::Result;

/// Finds the mark in what comes, however it is cut into pieces.
///
/// The mark is `NUL TEXT : STATUS NUL`; what is before it is the command's.
struct Splitter {
    /// NUL, TEXT and the colon.
    start: Vec<u8>,
    /// What may be the beginning of the mark.
    held: Vec<u8>,
}

impl Splitter {
    fn new(mark: &str) -> Self {
        Self { start: format!("\0{mark}:").into_bytes(), held: Vec::new() }
    }

    /// Writes to `out` what is the command's; the exit status once the mark is whole.
    fn push(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<Option<u8>> {
        self.held.extend_from_slice(bytes);
        loop {
            let nul = self.held.iter().position(|&byte| byte == 0);
            let ours = nul.unwrap_or(self.held.len());
            out.write_all(&self.held[..ours])?;
            self.held.drain(..ours);
            let Some(rest) = self.held.strip_prefix(self.start.as_slice()) else {
                if self.start.starts_with(&self.held) {
                    return Ok(None);
                }
                // A NUL of the command's own.
                out.write_all(&self.held[..1])?;
                self.held.drain(..1);
                continue;
            };
            let Some(end) = rest.iter().position(|&byte| byte == 0) else {
                return Ok(None);
            };
            let status = std::str::from_utf8(&rest[..end]).ok();
            return Ok(status.and_then(|text| text.parse().ok()));
        }
    }
}

/// Copies an output as it comes; the exit status of the command, or nothing if the machine was gone
/// before the command's end.
pub(super) fn copy(mut from: impl Read, to: &mut impl Write, mark: &str) -> Result<Option<u8>> {
    let mut splitter = Splitter::new(mark);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => {
                to.write_all(&splitter.held)?;
                return Ok(None);
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let status = splitter.push(&buffer[..count], to)?;
        to.flush()?;
        if status.is_some() {
            return Ok(status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn split(text: &[u8], size: usize) -> (Vec<u8>, Option<u8>) {
        let mut out = Vec::new();
        let status = copy(Pieces(text, size), &mut out, "mark").expect("no errors here");
        (out, status)
    }

    #[test]
    fn the_mark_is_found_in_pieces_of_any_size() {
        let text = b"one\0two\0mar\0mark\0\0\0mark:7\0later";
        for size in 1..=text.len() {
            let (out, status) = split(text, size);
            assert_eq!(out, b"one\0two\0mar\0mark\0\0", "in pieces of {size}");
            assert_eq!(status, Some(7), "in pieces of {size}");
        }
    }

    #[test]
    fn what_came_before_a_crash_is_shown() {
        assert_eq!(split(b"last words\0mark:", 4), (b"last words\0mark:".to_vec(), None));
        assert_eq!(split(b"", 4), (Vec::new(), None));
    }
}
