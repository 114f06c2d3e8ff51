//! Reads a recording: blocks of lines, parsed by threads of their own, handed over in order.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use anyhow::Context as _;
use memchr::{memchr, memrchr};

use super::line::{Line, MAX_LINE, Unread, head, parse};
use super::pieces::Pieces;

/// How much is read and parsed at once, bytes: some hundred lines, which fit a processor's cache.
const BLOCK: usize = 1 << 18;
/// How many blocks each parser has before it.
const AHEAD: usize = 8;
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

/// Some lines as text.
#[derive(Default)]
struct Text {
    /// Room for them, and perhaps for more.
    room: Vec<u8>,
    /// How many bytes of it are theirs.
    filled: usize,
    /// The recording begins with it.
    is_first: bool,
    /// The stream could not be read on behind it.
    failed: Option<io::Error>,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    /// Reads some more, behind what there is.
    fn fill(&mut self, input: &mut impl Read) -> io::Result<usize> {
        let end = self.filled + BLOCK;
        // What was there before is not made zero again: that would be a tenth of the reading.
        self.room.resize(self.room.len().max(end), 0);
        let read = input.read(&mut self.room[self.filled..end])?;
        self.filled += read;
        Ok(read)
    }

    /// Parses it, up to a line that says nothing: there the reading ends. The lines are numbered from 1.
    /// Returns how many there are, blank ones included.
    fn parse(&self, lines: &mut Vec<Numbered>, pieces: &mut Pieces) -> u64 {
        let mut count = 0;
        let mut rest = self.bytes();
        while !rest.is_empty() {
            count += 1;
            let newline = memchr(b'\n', rest);
            let (line, after) = rest.split_at(newline.unwrap_or(rest.len()));
            rest = after.get(1..).unwrap_or_default();
            if line.len() <= MAX_LINE && line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let is_head = self.is_first && lines.is_empty();
            let line = if is_head { head(line).map(Line::Meta) } else { parse(line, pieces) };
            if matches!(line, Ok(Line::Other)) {
                continue;
            }
            let is_last = line.is_err();
            lines.push(Numbered { number: count, line, is_unended: newline.is_none() });
            if is_last {
                break;
            }
        }
        count
    }
}

/// What some lines say.
struct Parsed {
    lines: Vec<Numbered>,
    /// How many there are, those that say nothing included.
    count: u64,
    /// See [`Text::failed`].
    failed: Option<io::Error>,
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
    fn next(&mut self, text: &mut Text) -> io::Result<()> {
        text.filled = self.begun.len();
        text.room.resize(text.room.len().max(text.filled), 0);
        text.room[..text.filled].copy_from_slice(&self.begun);
        self.begun.clear();
        while text.filled <= MAX_LINE {
            let begin = text.filled;
            match text.fill(&mut self.input) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if let Some(last) = memrchr(b'\n', &text.bytes()[begin..]) {
                let end = begin + last + 1;
                self.begun.extend_from_slice(&text.bytes()[end..]);
                text.filled = end;
                break;
            }
        }
        Ok(())
    }
}

/// The lines of a thread that parses blocks, in the order in which it gets them.
struct Parser {
    done: Receiver<Parsed>,
    /// Where the lines go that were taken in: what they share with others of this thread is counted, and
    /// counting it in another thread meanwhile would have both wait for one another.
    used: Sender<Vec<Numbered>>,
}

impl Parser {
    /// Starts it, to parse what is sent to it. The texts that it has parsed go to `spare`.
    fn start(spare: Sender<Text>) -> (SyncSender<Text>, Self) {
        let (to_do, texts) = sync_channel::<Text>(AHEAD);
        let (parsed, done) = sync_channel(AHEAD);
        let (used, back) = channel::<Vec<Numbered>>();
        thread::spawn(move || {
            let mut pieces = Pieces::default();
            for mut text in texts {
                let mut lines = back.try_recv().unwrap_or_default();
                lines.clear();
                let count = text.parse(&mut lines, &mut pieces);
                let failed = text.failed.take();
                // Where it is not wanted any more, nothing more is read.
                let _ = spare.send(text);
                if parsed.send(Parsed { lines, count, failed }).is_err() {
                    return;
                }
            }
        });
        (to_do, Self { done, used })
    }
}

/// Reads blocks and gives each parser its turn, until there are no more or nobody wants them.
fn read_blocks(input: impl Read, parsers: &[SyncSender<Text>], spare: &Receiver<Text>) {
    let mut blocks = Blocks { input, begun: Vec::new() };
    let mut is_first = true;
    for parser in parsers.iter().cycle() {
        let mut text = spare.try_recv().unwrap_or_default();
        text.failed = blocks.next(&mut text).err();
        text.is_first = std::mem::take(&mut is_first);
        let is_last = text.filled == 0 || text.failed.is_some();
        if parser.send(text).is_err() || is_last {
            return;
        }
    }
}

/// As [`read_lines`], on the calling thread alone.
pub(super) fn read_lines_here(
    input: impl Read,
    mut each: impl FnMut(&mut Numbered) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut blocks = Blocks { input, begun: Vec::new() };
    let (mut text, mut pieces) = (Text { is_first: true, ..Text::default() }, Pieces::default());
    let (mut lines, mut taken) = (Vec::new(), 0);
    loop {
        let read = blocks.next(&mut text);
        lines.clear();
        let count = text.parse(&mut lines, &mut pieces);
        for line in &mut lines {
            line.number += taken;
            each(line)?;
        }
        taken += count;
        read.with_context(|| format!("cannot read line {}", taken + 1))?;
        if text.filled == 0 {
            return Ok(());
        }
        text.is_first = false;
    }
}

/// Hands over the lines of a recording, in order, as soon as they can be read. The first one is its
/// head.
///
/// # Errors
/// That of the stream, with the number of the line; or the first that `each` has.
pub fn read_lines(
    input: impl Read + Send + 'static,
    mut each: impl FnMut(&mut Numbered) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let most = thread::available_parallelism().map_or(1, usize::from).min(MAX_PARSERS);
    let (used, spare) = channel();
    let (to_do, parsers): (Vec<_>, Vec<_>) = (0..most).map(|_| Parser::start(used.clone())).unzip();
    // Not waited for: it may be waiting for a stream that goes on when nobody wants more of it.
    thread::spawn(move || read_blocks(input, &to_do, &spare));
    let mut lines_taken = 0;
    for Parser { done, used } in parsers.iter().cycle() {
        // Every parser got its turn, and so the order is kept.
        let Ok(mut parsed) = done.recv() else { break };
        for line in &mut parsed.lines {
            line.number += lines_taken;
            each(line)?;
        }
        lines_taken += parsed.count;
        if let Some(e) = parsed.failed {
            return Err(e).with_context(|| format!("cannot read line {}", lines_taken + 1));
        }
        let _ = used.send(parsed.lines);
    }
    Ok(())
}
