//! `lasthop explain`: the verdicts of a recording. Needs no privileges and no kernel.

mod caps;
mod line;
mod pieces;
mod reader;

use std::io::{self, Read, Write};

use anyhow::{Context as _, bail};

use super::output;
use crate::cli::ExplainArgs;
use crate::report::{Form, Report, Shows};
use line::{Line, Unread};
use reader::Numbered;
use tracer_core::verdict::words::safe;

/// What to do about a recording that cannot be read.
const REMEDY: &str = "a recording is what `lasthop trace --json` writes, unchanged";

/// Runs the command; the exit status.
///
/// # Errors
/// One line: what could not be read, and what to do.
pub fn run(args: &ExplainArgs) -> anyhow::Result<u8> {
    let shows = if args.output.verbose > 0 { Shows::Everything } else { Shows::Conclusions };
    let report = Report::new(Box::new(output::stdout()), Form::for_stdout(args.output.json), shows);
    let mut err = io::stderr();
    let status = if args.file.as_os_str() == "-" {
        explain(io::stdin(), report, &mut err)?
    } else {
        let name = args.file.to_string_lossy();
        let file = std::fs::File::open(&args.file)
            .with_context(|| format!("cannot open {}", safe(&name)))?;
        explain(file, report, &mut err).map_err(|error| {
            let is_of_file = !output::is_at_fault(&error);
            if is_of_file { error.context(safe(&name).into_owned()) } else { error }
        })?
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
    input: impl Read + Send + 'static,
    report: Report<'_>,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    explain_by(report, err, |each| reader::read_lines(input, each))
}

/// As [`explain`], with the lines from `read`.
fn explain_by(
    report: Report<'_>,
    err: &mut dyn Write,
    read: impl FnOnce(&mut dyn FnMut(&mut Numbered) -> anyhow::Result<()>) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let mut explanation = Explanation { report, head: false, cut_off: false, now: 0 };
    read(&mut |Numbered { number, line, is_unended }| match line {
        Ok(line) => explanation.take(line),
        // The writer was killed in the middle of a line: all before it is whole.
        Err(Unread::NoRecord(_)) if *is_unended && explanation.head => {
            explanation.cut_off = true;
            Ok(writeln!(
                err,
                "lasthop: line {number}, the last, is cut off (was the trace killed?); \
                 explaining the {} before it",
                *number - 1
            )?)
        }
        Err(why) => bail!("line {number}{why}; {REMEDY}"),
    })?;
    if !explanation.head {
        bail!("the recording is empty: it has no line of type meta; {REMEDY}");
    }
    let Explanation { report, cut_off, now, .. } = explanation;
    Ok(report.finish(now, cut_off, &|| true)?)
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
    fn take(&mut self, line: &mut Line) -> anyhow::Result<()> {
        match line {
            // A second head: recordings put one after the other. Their clocks and numbers differ.
            Line::Meta(_) if self.head => {
                bail!("a second line of type meta: explain one recording at a time")
            }
            Line::Meta(meta) => {
                self.head = true;
                self.report.meta(meta)?;
            }
            _ if !self.head => bail!("the first line is not of type meta; {REMEDY}"),
            Line::Hop(hop) => {
                self.now = self.now.max(hop.ts);
                self.report.hop(hop);
            }
            Line::Lost(lost) => self.report.lost(lost)?,
            Line::Answer(answer) => self.report.answered((**answer).clone())?,
            Line::Verdict { ts } => self.now = self.now.max(*ts),
            Line::Other => {}
        }
        Ok(())
    }
}

pub(crate) mod fuzzing;

#[cfg(test)]
mod tests;
