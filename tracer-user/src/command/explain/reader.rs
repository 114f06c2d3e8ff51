//! Reads a recording: blocks of lines, parsed by threads of their own, handed over in order.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use anyhow::Context as _;
use memchr::{memchr, memrchr};

use super::line::{Line, MAX_LINE, Unread, head, parse};

/// How much is read and parsed at once, bytes: some hundred lines, which fit a processor's cache.
const BLOCK: u64 = 1 << 18;
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
    /// The next block, or an empty one when there are no more. Only the last one ends within a line,
    /// or one with a line that is too long.
    fn next(&mut self, mut text: Vec<u8>) -> io::Result<Vec<u8>> {
        text.clear();
        text.append(&mut self.begun);
        while text.len() <= MAX_LINE {
            let begin = text.len();
            if self.input.by_ref().take(BLOCK).read_to_end(&mut text)? == 0 {
                break;
            }
            if let Some(last) = memrchr(b'\n', &text[begin..]) {
                self.begun = text.split_off(begin + last + 1);
                break;
            }
        }
        Ok(text)
    }
}

/// A thread that parses blocks, in the order in which it gets them.
struct Parser {
    to_do: SyncSender<Block>,
    done: Receiver<Block>,
}

impl Parser {
    fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (to_do, blocks) = sync_channel::<Block>(AHEAD);
        let (parsed, done) = sync_channel(AHEAD);
        scope.spawn(move || {
            for mut block in blocks {
                block.parse();
                if parsed.send(block).is_err() {
                    return;
                }
            }
        });
        Self { to_do, done }
    }
}

/// Hands over the lines of a recording, in order. The first one is its head.
///
/// # Errors
/// That of the stream, with the number of the line; or the first that `each` has.
pub fn read_lines(
    input: impl Read,
    mut each: impl FnMut(Numbered) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut blocks = Blocks { input, begun: Vec::new() };
    let most = thread::available_parallelism().map_or(1, usize::from).min(MAX_PARSERS);
    let (mut sent, mut taken, mut lines_taken) = (0, 0, 0);
    let mut spare = Vec::new();
    let mut end = None;
    thread::scope(|scope| {
        let mut parsers: Vec<Parser> = Vec::new();
        loop {
            // Every parser gets its turn, and so the order is kept.
            while end.is_none() && sent - taken < most * AHEAD {
                let mut block: Block = spare.pop().unwrap_or_default();
                match blocks.next(std::mem::take(&mut block.text)) {
                    Ok(text) if text.is_empty() => end = Some(Ok(())),
                    Ok(text) => {
                        (block.text, block.is_first) = (text, sent == 0);
                        if parsers.len() < most {
                            parsers.push(Parser::start(scope));
                        }
                        parsers[sent % most].to_do.send(block)?;
                        sent += 1;
                    }
                    Err(e) => end = Some(Err(e)),
                }
            }
            if taken == sent {
                return anyhow::Ok(());
            }
            let mut block = parsers[taken % most].done.recv()?;
            taken += 1;
            for line in block.lines.drain(..) {
                each(Numbered { number: lines_taken + line.number, ..line })?;
            }
            lines_taken += block.count;
            spare.push(block);
        }
    })?;
    end.unwrap_or(Ok(())).with_context(|| format!("cannot read line {}", lines_taken + 1))
}
