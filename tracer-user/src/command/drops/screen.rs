//! Where the rows go: a table for a person, NDJSON for a script.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::counter::{Counter, Counts};
use crate::cli::DropsArgs;
use crate::drops;
use crate::model::{Drops, Lost, Record};
use crate::render::{drops::Table, json};

/// Rows of a table where nobody said how many.
const ROWS: usize = 20;

/// Where the rows go.
pub struct Screen {
    json: bool,
    live: bool,
    top: Option<usize>,
    all: bool,
    table: Table,
    previous: Previous,
    told_not_held: u64,
}

/// The counts at the last printing, for the rates.
struct Previous {
    at: Instant,
    counts: HashMap<String, u64>,
}

impl Screen {
    /// For standard output, as `args` want it.
    pub fn new(args: &DropsArgs, began: Instant) -> Self {
        let live = !args.output.json && std::io::stdout().is_terminal();
        let top = args.top.map(|n| usize::try_from(n.get()).unwrap_or(usize::MAX));
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        Self {
            json: args.output.json,
            live,
            top: top.or_else(|| (!args.output.json).then_some(ROWS)),
            all: args.all,
            table: Table::new(choice != anstream::ColorChoice::Never),
            previous: Previous { at: began, counts: HashMap::new() },
            told_not_held: 0,
        }
    }

    /// Whether a person watches it.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// What is known before anything is counted.
    ///
    /// # Errors
    /// Standard output cannot be written to; so of the others.
    pub fn head(&self, counter: &Counter, args: &DropsArgs) -> anyhow::Result<()> {
        if self.json {
            let mut out = std::io::stdout().lock();
            json::write(&mut out, &Record::Meta(counter.meta(&args.live.filter_text)))?;
            out.flush()?;
        } else {
            for line in counter.blind() {
                log::warn!("not seen: {line}");
            }
        }
        Ok(())
    }

    /// The rows so far, with their rates.
    pub fn interim(&mut self, mut counts: Counts) -> anyhow::Result<()> {
        let seconds = self.previous.at.elapsed().as_secs_f64();
        let mut latest = HashMap::with_capacity(counts.rows.len());
        for row in &mut counts.rows {
            let name = identity(row);
            let before = self.previous.counts.get(&name).copied().unwrap_or(0);
            row.rate = Some(rate(row.count.saturating_sub(before), seconds));
            latest.insert(name, row.count);
        }
        self.previous = Previous { at: Instant::now(), counts: latest };
        self.print(counts, false)
    }

    /// The rows at the end.
    pub fn last(&mut self, counts: Counts) -> anyhow::Result<()> {
        self.print(counts, true)
    }

    fn print(&mut self, counts: Counts, end: bool) -> anyhow::Result<()> {
        let Counts { mut rows, not_held, ts } = counts;
        if !self.all {
            rows = drops::fold(rows);
        }
        let hidden = self.top.map_or(0, |top| rows.len().saturating_sub(top));
        rows.truncate(rows.len() - hidden);
        let mut out = std::io::stdout().lock();
        if self.json {
            for mut row in rows {
                row.ts = ts;
                json::write(&mut out, &Record::Drops(Box::new(row)))?;
            }
            let count = not_held - std::mem::replace(&mut self.told_not_held, not_held);
            if count != 0 {
                let what = Some("drops-not-held".to_owned());
                json::write(&mut out, &Record::Lost(Lost { cpu: 0, count, ts, what }))?;
            }
        } else {
            let seconds = Duration::from_nanos(ts).as_secs_f64();
            let page = self.table.page(&rows, hidden, not_held, seconds);
            // A terminal shows the latest page only; a file keeps all.
            let clear = if self.live { "\x1b[H\x1b[2J" } else { "" };
            write!(out, "{clear}{page}")?;
            if !self.live && !end {
                writeln!(out)?;
            }
        }
        out.flush().context("standard output")?;
        Ok(())
    }
}

/// How many a second, to one decimal place.
#[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
fn rate(count: u64, seconds: f64) -> f64 {
    (count as f64 / seconds.max(1e-3) * 10.0).round() / 10.0
}

/// What tells a row from the others.
fn identity(row: &Drops) -> String {
    let bare = Drops { ts: 0, count: 0, bytes: 0, rate: None, ..row.clone() };
    serde_json::to_string(&bare).unwrap_or_default()
}
