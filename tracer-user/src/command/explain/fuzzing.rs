//! A recording to its verdicts, for the fuzz target.

use std::io::Write;

use super::{explain_by, reader};
use crate::report::Report;

/// As [`super::explain`], without threads: to start them takes longer than to read a short recording.
///
/// # Errors
/// As [`super::explain`].
pub fn explain(input: &[u8], report: Report<'_>, err: &mut dyn Write) -> anyhow::Result<u8> {
    explain_by(report, err, |each| reader::read_lines_here(input, each))
}
