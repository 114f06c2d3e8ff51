//! Reads a recording: blocks of lines, parsed by threads of their own, handed over in order.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use anyhow::Context as _;
use memchr::{memchr, memrchr};

use super::line::{Line, MAX_LINE, Unread, head, parse};

/// How much is read and parsed at once, bytes: some hundred lines, which fit a processor's cache.
const BLOCK: usize = 1 << 18;
/// How many blocks each parser has before it.
const AHEAD: usize = 2;
/// How many parsers there are at most: what they find is put together by one thread.
const MAX_PARSERS: usize = 4;

/// A line that matters, or that says nothing.
pub struct Numbered {
    /// Its number, from 1.
    pub number: u64,
    /// What it says, or why it says nothing.
    pub line: Result<Line, Unread>,
    /// No newline ends it: it is the last, and may be cut off.
    pub is_unended: bool,
}

/// Some lines, as text and as what they say.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    lines: Vec<Numbered>,
    /// How many lines there are, blank ones included.
    count: u64,
    /// The recording begins with it.
    is_first: bool,
    /// The stream could not be read on behind it.
    failed: Option<io::Error>,
}

impl Block {
    /// Parses the text, up to a line that says nothing: there the reading ends. The lines are
    /// numbered from 1.
    fn parse(&mut self) {
        self.count = 0;
        let mut rest = &*self.text;
        while !rest.is_empty() {
            self.count += 1;
            let newline = memchr(b'\n', rest);
            let (line, after) = rest.split_at(newline.unwrap_or(rest.len()));
            rest = after.get(1..).unwrap_or_default();
            if line.len() <= MAX_LINE && line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let is_head = self.is_first && self.lines.is_empty();
            let line = if is_head { head(line).map(Line::Meta) } else { parse(line) };
            if matches!(line, Ok(Line::Other)) {
                continue;
            }
            let is_last = line.is_err();
            self.lines.push(Numbered { number: self.count, line, is_unended: newline.is_none() });
            if is_last {
                return;
            }
        }
    }
}

/// Cuts a stream into blocks of whole lines.
struct Blocks<R> {
    input: R,
    /// The beginning of a line of which the rest is still to be read.
    begun: Vec<u8>,
}

impl<R: Read> Blocks<R> {
    /// The next block, or an empty one when there are no more. What can be read without waiting is
    /// not kept waiting. Only the last one ends within a line, or one with a line that is too long.
    fn next(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        text.clear();
        text.append(&mut self.begun);
        while text.len() <= MAX_LINE {
            let begin = text.len();
            text.resize(begin + BLOCK, 0);
            let read = self.input.read(&mut text[begin..]);
            text.truncate(begin + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if let Some(last) = memrchr(b'\n', &text[begin..]) {
                self.begun = text.split_off(begin + last + 1);
                break;
            }
        }
        Ok(())
    }
}

/// Starts a thread that parses blocks, in the order in which it gets them.
fn parser() -> (SyncSender<Block>, Receiver<Block>) {
    let (to_do, blocks) = sync_channel::<Block>(AHEAD);
    let (parsed, done) = sync_channel(AHEAD);
    thread::spawn(move || {
        for mut block in blocks {
            block.parse();
            if parsed.send(block).is_err() {
                return;
            }
        }
    });
    (to_do, done)
}

/// Reads blocks and gives each parser its turn, until there are no more or nobody wants them.
fn read_blocks(input: impl Read, parsers: &[SyncSender<Block>], spare: &Receiver<Block>) {
    let mut blocks = Blocks { input, begun: Vec::new() };
    let mut is_first = true;
    for parser in parsers.iter().cycle() {
        let mut block = spare.try_recv().unwrap_or_default();
        block.failed = blocks.next(&mut block.text).err();
        block.is_first = std::mem::take(&mut is_first);
        let is_last = block.text.is_empty() || block.failed.is_some();
        if parser.send(block).is_err() || is_last {
            return;
        }
    }
}

/// Hands over the lines of a recording, in order, as soon as they can be read. The first one is its
/// head.
///
/// # Errors
/// That of the stream, with the number of the line; or the first that `each` has.
pub fn read_lines(
    input: impl Read + Send + 'static,
    mut each: impl FnMut(Numbered) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let most = thread::available_parallelism().map_or(1, usize::from).min(MAX_PARSERS);
    let (parsers, done): (Vec<_>, Vec<_>) = (0..most).map(|_| parser()).unzip();
    let (used, spare) = channel();
    // Not waited for: it may be waiting for a stream that goes on when nobody wants more of it.
    thread::spawn(move || read_blocks(input, &parsers, &spare));
    let mut lines_taken = 0;
    for parsed in done.iter().cycle() {
        // Every parser got its turn, and so the order is kept.
        let Ok(mut block) = parsed.recv() else { break };
        for line in block.lines.drain(..) {
            each(Numbered { number: lines_taken + line.number, ..line })?;
        }
        lines_taken += block.count;
        if let Some(e) = block.failed.take() {
            return Err(e).with_context(|| format!("cannot read line {}", lines_taken + 1));
        }
        // Where it is not wanted any more, nothing more is read.
        let _ = used.send(block);
    }
    Ok(())
}
