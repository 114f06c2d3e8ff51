//! `lasthop explain`: the verdicts of a recording. Needs no privileges and no kernel.

use std::io::{self, BufRead, Write};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::cli::ExplainArgs;
use crate::model::{Hop, Lost, Meta};
use crate::reconstruct::asked::Answer;
use crate::report::{Form, Report, Shows};
use crate::verdict::words::safe;

/// The longest line that is read; lasthop's own are a few KiB.
const MAX_LINE: usize = 1 << 20;
/// The version of the format that is understood.
const VERSION: u32 = 1;
/// What to do about a recording that cannot be read.
const REMEDY: &str = "a recording is what `lasthop trace --json` writes, unchanged";

/// Runs the command; the exit status.
///
/// # Errors
/// One line: what could not be read, and what to do.
pub fn run(args: &ExplainArgs) -> anyhow::Result<u8> {
    let shows = if args.output.verbose > 0 { Shows::Everything } else { Shows::Conclusions };
    let report =
        Report::new(Box::new(io::stdout().lock()), Form::for_stdout(args.output.json), shows);
    let mut err = io::stderr();
    let status = if args.file.as_os_str() == "-" {
        explain(io::stdin().lock(), report, &mut err)?
    } else {
        let name = args.file.to_string_lossy();
        let file = std::fs::File::open(&args.file)
            .with_context(|| format!("cannot open {}", safe(&name)))?;
        explain(io::BufReader::with_capacity(1 << 18, file), report, &mut err)
            .with_context(|| safe(&name).into_owned())?
    };
    Ok(if args.exit_code { status } else { 0 })
}

/// Reads a recording into `report`; what is worth knowing besides goes to `err`. Returns the exit
/// status that tells the outcome.
///
/// # Errors
/// A line that is not a record of this format, with its number and what to do; or those of the
/// streams, [`io::ErrorKind::BrokenPipe`] included.
pub fn explain(
    mut input: impl BufRead,
    report: Report<'_>,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut explanation = Explanation { report, head: false, cut_off: false, now: 0 };
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
        let parsed = if explanation.head { parse(&line) } else { head(&line).map(Line::Meta) };
        match parsed {
            Ok(record) => explanation.take(record)?,
            // The writer was killed in the middle of a line: all before it is whole.
            Err(_) if read == Read::Unended && explanation.head => {
                explanation.cut_off = true;
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
    let Explanation { report, cut_off, now, .. } = explanation;
    Ok(report.finish(now, cut_off)?)
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
    Answer(Box<Answer>),
    /// When the trace ended.
    Verdict {
        ts: u64,
    },
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
        "ovs-trace" => Line::Answer(Box::new(Answer::OpenVswitch(Box::new(record(line)?)))),
        "conntrack" => Line::Answer(Box::new(Answer::Conntrack(record(line)?))),
        "netfilter" => Line::Answer(Box::new(Answer::Netfilter(record(line)?))),
        "verdict" => Line::Verdict { ts: record::<Judged>(line)?.ts },
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

/// What matters of a verdict: it is judged anew.
#[derive(Deserialize)]
struct Judged {
    #[serde(default)]
    ts: u64,
}

/// A recording half-way through.
struct Explanation<'a> {
    report: Report<'a>,
    head: bool,
    cut_off: bool,
    /// The latest time that any line tells of.
    now: u64,
}

impl Explanation<'_> {
    fn take(&mut self, line: Line) -> anyhow::Result<()> {
        match line {
            // A second head: recordings put one after the other. Their clocks and numbers differ.
            Line::Meta(_) if self.head => {
                bail!("a second line of type meta: explain one recording at a time")
            }
            Line::Meta(meta) => {
                self.head = true;
                self.report.meta(&meta)?;
            }
            Line::Hop(hop) => {
                self.now = self.now.max(hop.ts);
                self.report.hop(*hop);
                self.report.settle(self.now)?;
            }
            Line::Lost(lost) => self.report.lost(&lost)?,
            Line::Answer(answer) => self.report.answered(*answer)?,
            Line::Verdict { ts } => self.now = self.now.max(ts),
            Line::Other => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
