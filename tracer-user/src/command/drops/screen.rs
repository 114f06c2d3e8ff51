//! Where the rows go: a table for a person, NDJSON for a script.

use std::collections::HashMap;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::super::{hurry, output};
use super::counter::{Counter, Counts};
use crate::cli::DropsArgs;
use crate::render::drops::{Hidden, Page, Size, Table};
use crate::render::json::{self, Lines};
use tracer_core::drops::{Counted, Folded, Ledger, Line};
use tracer_core::record::{Drops, Lost, Record};

/// What is left of the time after a signal when no more rows are told one by one.
const RESERVE: Duration = Duration::from_millis(250);
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
    counts: HashMap<Line, u64>,
    everyday: u64,
}

/// What makes rates of counts.
struct Rates {
    seconds: f64,
    before: Previous,
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
            previous: Previous { at: began, counts: HashMap::new(), everyday: 0 },
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
            let mut out = output::stdout();
            json::write(&mut out, &Record::Meta(counter.meta(&args.live.filter_text)))
                .and_then(|()| out.flush())?;
        } else {
            for line in counter.blind() {
                log::warn!("not seen: {line}");
            }
        }
        Ok(())
    }

    /// The rows so far, with their rates.
    pub fn interim(&mut self, mut counts: Counts, ledger: &Ledger) -> anyhow::Result<()> {
        let folded = self.fold(&mut counts.lines, ledger);
        let latest = Previous {
            at: Instant::now(),
            counts: counts.lines.iter().map(|(line, count)| (*line, count.packets)).collect(),
            everyday: folded.drops(),
        };
        let before = std::mem::replace(&mut self.previous, latest);
        let rates = Rates { seconds: before.at.elapsed().as_secs_f64(), before };
        self.print(counts, folded, ledger, Some(&rates))
    }

    /// The rows at the end.
    pub fn last(&mut self, mut counts: Counts, ledger: &Ledger) -> anyhow::Result<()> {
        let folded = self.fold(&mut counts.lines, ledger);
        self.print(counts, folded, ledger, None)
    }

    fn fold(&self, lines: &mut Vec<Counted>, ledger: &Ledger) -> Folded {
        if self.all { Folded::default() } else { Folded::take(lines, ledger) }
    }

    /// `rates`: not at the end.
    fn print(
        &mut self,
        counts: Counts,
        folded: Folded,
        ledger: &Ledger,
        rates: Option<&Rates>,
    ) -> anyhow::Result<()> {
        let Counts { lines, not_held, ts } = counts;
        let (shown, hidden) = lines.split_at(self.top.unwrap_or(usize::MAX).min(lines.len()));
        let row = |line: &Counted| Drops {
            rate: rates.map(|rates| rates.of(line)),
            ts,
            ..ledger.row(line)
        };
        let folded = folded.row().map(|row| Drops {
            rate: rates.map(|rates| rates.since(rates.before.everyday, row.count)),
            ts,
            ..row
        });
        let mut out = BufWriter::new(output::stdout());
        if self.json {
            let mut lines = Lines::default();
            let mut left = shown.iter();
            while !hurry::leaves_less_than(RESERVE)
                && let Some(line) = left.next()
            {
                lines.write(&mut out, &Record::Drops(Box::new(row(line))))?;
            }
            let rest = ledger.rest(left.as_slice()).into_iter().map(|rest| Drops { ts, ..rest });
            for row in rest.chain(folded) {
                lines.write(&mut out, &Record::Drops(Box::new(row)))?;
            }
            let count = not_held - std::mem::replace(&mut self.told_not_held, not_held);
            if count != 0 {
                let what = Some("drops-not-held".to_owned());
                let lost = Record::Lost(Lost { count, what, ..Lost::at(ts) });
                lines.write(&mut out, &lost)?;
            }
        } else {
            let rows: Vec<Drops> = shown.iter().map(row).collect();
            let drops = hidden.iter().map(|(_, count)| count.packets).sum();
            let page = Page {
                rows: &rows,
                everyday: folded.map_or(0, |row| row.count),
                hidden: Hidden { rows: hidden.len(), drops },
                not_held,
                seconds: Duration::from_nanos(ts).as_secs_f64(),
                // A terminal shows the latest page only, and the last one whole; a file keeps all.
                fit: rates.filter(|_| self.live).and_then(|_| terminal()),
            };
            let clear = if self.live { "\x1b[H\x1b[2J" } else { "" };
            let gap = if self.live || rates.is_none() { "" } else { "\n" };
            write!(out, "{clear}{}{gap}", self.table.page(&page))?;
        }
        Ok(out.flush()?)
    }
}

impl Rates {
    fn of(&self, (line, count): &Counted) -> f64 {
        self.since(self.before.counts.get(line).copied().unwrap_or(0), count.packets)
    }

    /// How many a second, to one decimal place.
    #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
    fn since(&self, before: u64, now: u64) -> f64 {
        (now.saturating_sub(before) as f64 / self.seconds.max(1e-3) * 10.0).round() / 10.0
    }
}

/// How much fits on the terminal.
fn terminal() -> Option<Size> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(Size { columns: usize::from(width.0), lines: usize::from(height.0) })
}
