//! `lasthop explain`: the verdicts of a recording. Needs no privileges and no kernel.

use std::io::{self, BufRead, Write};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::cli::ExplainArgs;
use crate::model::{End, Hop, Journey, Lost, Meta, Record, Verdict};
use crate::reconstruct::Story;
use crate::render::{json, text::Text};
use crate::verdict::Tally;
use crate::verdict::words::safe;

/// The longest line that is read; lasthop's own are a few KiB.
const MAX_LINE: usize = 1 << 20;
/// The version of the format that is understood.
const VERSION: u32 = 1;
/// What to do about a recording that cannot be read.
const REMEDY: &str = "a recording is what `lasthop trace --json` writes, unchanged";

/// How to explain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Verdicts and journeys as NDJSON instead of text.
    pub json: bool,
    /// Text with colours.
    pub colour: bool,
    /// Text with every hop, as `trace` shows them.
    pub hops: bool,
}

/// What a recording came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// All verdicts, counted.
    pub tally: Tally,
    /// Any packet was in it.
    pub matched: bool,
    /// Events were lost when it was made, or its end is cut off.
    pub incomplete: bool,
    /// Hops read.
    pub hops: u64,
}

impl Summary {
    /// The exit status that tells the outcome.
    pub fn exit_code(&self) -> u8 {
        self.tally.exit_code(self.matched, self.incomplete)
    }
}

/// Runs the command; the exit status.
///
/// # Errors
/// One line: what could not be read, and what to do.
pub fn run(args: &ExplainArgs) -> anyhow::Result<u8> {
    let stdout = io::stdout();
    let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
    let options = Options { json: args.json, colour, hops: args.verbose > 0 };
    let mut out = io::BufWriter::new(stdout.lock());
    let mut err = io::stderr();
    let summary = if args.file.as_os_str() == "-" {
        explain(io::stdin().lock(), options, &mut out, &mut err)?
    } else {
        let name = args.file.to_string_lossy();
        let file = std::fs::File::open(&args.file)
            .with_context(|| format!("cannot open {}", safe(&name)))?;
        explain(
            io::BufReader::with_capacity(1 << 18, file),
            options,
            &mut out,
            &mut err,
        )
        .with_context(|| safe(&name).into_owned())?
    };
    Ok(if args.exit_code {
        summary.exit_code()
    } else {
        0
    })
}

/// Reads a recording and writes its verdicts to `out`; what is worth knowing besides goes to `err`.
///
/// # Errors
/// A line that is not a record of this format, with its number and what to do; or those of the
/// streams, [`io::ErrorKind::BrokenPipe`] included.
pub fn explain(
    mut input: impl BufRead,
    options: Options,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Summary> {
    let mut explanation = Explanation::new(options, out);
    let mut line = Vec::with_capacity(4096);
    let mut number = 0_u64;
    loop {
        line.clear();
        let read = read_line(&mut input, &mut line)
            .with_context(|| format!("cannot read line {}", number + 1))?;
        if read == Read::End {
            break;
        }
        number += 1;
        if line.len() > MAX_LINE {
            bail!("line {number} is longer than 1 MiB: not a lasthop recording; {REMEDY}");
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let parsed = if explanation.head {
            parse(&line)
        } else {
            head(&line).map(Line::Meta)
        };
        match parsed {
            Ok(record) => explanation.take(record)?,
            // The writer was killed in the middle of a line: all before it is whole.
            Err(_) if read == Read::Unended && explanation.head => {
                explanation.summary.incomplete = true;
                writeln!(
                    err,
                    "lasthop: line {number}, the last, is cut off (was the trace killed?); \
                     explaining the {} before it",
                    number - 1
                )?;
            }
            Err(why) => bail!("line {number}: {why}; {REMEDY}"),
        }
    }
    if !explanation.head {
        bail!("the recording is empty: it has no line of type meta; {REMEDY}");
    }
    explanation.finish()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Line,
    Unended,
    End,
}

/// Reads up to a newline, which is not kept, or up to one byte over [`MAX_LINE`].
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    let mut limited = io::Read::take(&mut *input, MAX_LINE as u64 + 2);
    if limited.read_until(b'\n', line)? == 0 {
        return Ok(Read::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Read::Line);
    }
    Ok(Read::Unended)
}

/// The lines that matter; what other lines say follows from them.
enum Line {
    Meta(Meta),
    Hop(Box<Hop>),
    Lost(Lost),
    End(End),
    Other,
}

/// The first line, which says what this is.
fn head(line: &[u8]) -> Result<Meta, String> {
    let meta = match kind(line)?.as_str() {
        "meta" => serde_json::from_slice::<Meta>(line).map_err(|e| plain(&e))?,
        other => return Err(format!("the first line is of type {other:?}, not meta")),
    };
    if meta.version != VERSION {
        return Err(format!(
            "version {} of the format, and this lasthop reads version {VERSION}: use the lasthop \
             that made it ({})",
            meta.version,
            safe(&meta.tool)
        ));
    }
    Ok(meta)
}

fn parse(line: &[u8]) -> Result<Line, String> {
    // Almost all lines are hops of our own writing, and need not be looked at twice.
    if line.starts_with(br#"{"type":"hop","#) {
        return Ok(Line::Hop(Box::new(record(line)?)));
    }
    Ok(match kind(line)?.as_str() {
        "hop" => Line::Hop(Box::new(record(line)?)),
        "lost" => Line::Lost(record(line)?),
        "end" => Line::End(record(line)?),
        "meta" => Line::Meta(head(line)?),
        _ => Line::Other,
    })
}

fn record<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|e| plain(&e))
}

fn kind(line: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
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

/// A recording half-way through.
struct Explanation<'a> {
    options: Options,
    out: &'a mut dyn Write,
    text: Text,
    story: Story,
    summary: Summary,
    head: bool,
    now: u64,
    end: Option<u64>,
}

impl<'a> Explanation<'a> {
    fn new(options: Options, out: &'a mut dyn Write) -> Self {
        Self {
            options,
            out,
            text: Text::new(options.colour),
            story: Story::new(),
            summary: Summary::default(),
            head: false,
            now: 0,
            end: None,
        }
    }

    fn take(&mut self, line: Line) -> anyhow::Result<()> {
        match line {
            // A second head: recordings put one after the other. Their clocks and numbers differ.
            Line::Meta(_) if self.head => {
                bail!("a second line of type meta: explain one recording at a time")
            }
            Line::Meta(meta) => {
                self.head = true;
                if !self.options.json {
                    self.text.meta(self.out, &meta)?;
                }
            }
            Line::Hop(mut hop) => self.hop(&mut hop)?,
            Line::Lost(lost) => self.story.lost(&lost),
            Line::End(end) => self.end = Some(end.ts),
            Line::Other => {}
        }
        Ok(())
    }

    fn hop(&mut self, hop: &mut Hop) -> anyhow::Result<()> {
        self.summary.hops += 1;
        self.now = self.now.max(hop.ts);
        self.story.observe(hop);
        if self.options.hops && !self.options.json {
            self.text.hop(self.out, hop, self.story.previous())?;
        }
        let journeys = self.story.settle(self.now);
        self.journeys(journeys)?;
        let retired = self.story.retired();
        self.verdicts(retired)
    }

    fn journeys(&mut self, journeys: Vec<Journey>) -> io::Result<()> {
        if !self.options.json {
            return Ok(());
        }
        journeys
            .into_iter()
            .try_for_each(|j| json::write(self.out, &Record::Journey(j)))
    }

    fn verdicts(&mut self, verdicts: Vec<Verdict>) -> anyhow::Result<()> {
        for verdict in verdicts {
            self.summary.tally.add(&verdict);
            if self.options.json {
                json::write(self.out, &Record::Verdict(Box::new(verdict)))?;
            } else {
                self.text.verdict(self.out, &verdict)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Summary> {
        let end = self.end.unwrap_or(self.now).max(self.now);
        let (journeys, verdicts) = self.story.finish(end);
        self.journeys(journeys)?;
        self.verdicts(verdicts)?;
        self.summary.matched = self.summary.hops > 0;
        self.summary.incomplete |= self.story.is_incomplete();
        if !self.options.json {
            self.text
                .summary(self.out, &self.summary.tally, self.summary.incomplete)?;
        }
        self.out.flush()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests;
