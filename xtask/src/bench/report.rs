//! The figures: a table for people, JSON for scripts, and the aims beside them.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::aims;
use super::explain::Explain;
use super::guest;
use super::lossless::Lossless;
use super::rows::{Kind, Row};
use crate::step;

/// When and on what it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub date: String,
    pub kernel: String,
    pub processor: String,
    pub processors: usize,
}

/// One flood with a tracer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    /// Packets a second.
    pub rate: f64,
    /// Of the untraced rate of the same round.
    pub ratio: f64,
    /// Nanoseconds of processor time a packet: its way and the programs on it.
    pub cost: f64,
    /// Times the untraced cost of the same round.
    pub cost_ratio: f64,
    /// Share of the packets sent that arrived.
    pub delivered: f64,
    /// Processors that the tracer's process kept busy.
    pub cpu: f64,
    /// Most memory that it had resident, KiB.
    pub memory: u64,
    /// From its start to its being attached, milliseconds.
    pub ready_ms: f64,
    /// From the signal to its end, milliseconds.
    pub stop_ms: f64,
}

/// One program's cost by the kernel's own count.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Program {
    pub name: String,
    pub kind: String,
    pub runs_per_packet: f64,
    /// Nanoseconds a run.
    pub ns: f64,
    /// Nanoseconds a run of an empty program on the same kind of hook.
    pub empty_ns: Option<f64>,
}

/// What was counted in the flood apart.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Account {
    pub packets_per_second: f64,
    pub events: u64,
    pub events_per_second: f64,
    pub lost: u64,
    pub memory: u64,
    pub programs: Vec<Program>,
}

impl Account {
    /// Nanoseconds a run of its programs, the mean of those that run on every packet; none where
    /// it has no programs.
    pub(super) fn hook_ns(&self) -> Option<f64> {
        let often = || self.programs.iter().filter(|program| program.runs_per_packet > 0.01);
        let runs: f64 = often().map(|program| program.runs_per_packet).sum();
        let ns: f64 = often().map(|program| program.ns * program.runs_per_packet).sum();
        (runs > 0.0).then_some(ns / runs)
    }
}

/// All of one row.
#[derive(Clone, Debug)]
pub(super) struct RowReport {
    pub row: Row,
    pub rounds: Vec<Round>,
    pub account: Option<Account>,
    /// Why it was not measured, or no further.
    pub failed: Option<String>,
}

/// Attaching to many ports.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Attach {
    pub ports: usize,
    /// From the start to being attached, each time.
    pub ms: Vec<f64>,
    /// KiB.
    pub memory: u64,
}

/// All of it.
pub(super) struct Report {
    pub machine: Machine,
    pub count: u8,
    /// Packets a second and nanoseconds a packet with no tracer, each round, by what becomes of them.
    untraced: [Vec<(f64, f64)>; 2],
    pub rows: Vec<RowReport>,
    pub lossless: Option<Lossless>,
    pub explain: Option<Explain>,
    pub attach: Option<Attach>,
    /// Measured in a guest; empty where it was not.
    pub guest: Vec<guest::Row>,
    /// What could not be measured beside the rows, and why.
    pub failed: Vec<String>,
}

impl RowReport {
    pub(super) fn new(row: Row) -> Self {
        Self { row, rounds: Vec::new(), account: None, failed: None }
    }

    /// What was measured of it, taken in by `keep`. Where that failed the others are measured all the
    /// same, and this one no further.
    pub(super) fn take<T>(&mut self, measured: Result<T>, keep: impl FnOnce(&mut Self, T)) {
        match measured {
            Ok(measured) => keep(self, measured),
            Err(error) => {
                let why = format!("{error:#}");
                step::note(&format!("{} cannot be measured: {why}", self.row.label()));
                self.failed = Some(why);
            }
        }
    }

    /// The median of one figure of the rounds.
    pub(super) fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }

    fn json(&self) -> Value {
        json!({
            "row": self.row.label(),
            "filter": self.row.filter(),
            "packets_per_second": self.median(|round| round.rate),
            "ratio": self.median(|round| round.ratio),
            "ns_per_packet": self.median(|round| round.cost),
            "ns_per_packet_ratio": self.median(|round| round.cost_ratio),
            "cpu": self.median(|round| round.cpu),
            "memory_kib": self.median(|round| round.memory as f64),
            "ready_ms": self.median(|round| round.ready_ms),
            "stop_ms": self.median(|round| round.stop_ms),
            "rounds": self.rounds,
            "account": self.account,
            "failed": self.failed,
        })
    }
}

impl Report {
    pub(super) fn new(count: u8) -> Result<Self> {
        Ok(Self {
            machine: super::machine()?,
            count,
            untraced: [Vec::new(), Vec::new()],
            rows: Vec::new(),
            lossless: None,
            explain: None,
            attach: None,
            guest: Vec::new(),
            failed: Vec::new(),
        })
    }

    /// What was measured, or `None` with a note of why it was not.
    pub(super) fn or_failed<T>(&mut self, what: &str, measured: Result<T>) -> Option<T> {
        let take = |error: anyhow::Error| {
            let why = format!("{what}: {error:#}");
            step::note(&format!("cannot be measured: {why}"));
            self.failed.push(why);
        };
        measured.map_err(take).ok()
    }

    /// The untraced rates of a flood.
    pub(super) fn untraced(&mut self, kind: Kind) -> &mut Vec<(f64, f64)> {
        let [received, dropped] = &mut self.untraced;
        match kind {
            Kind::Received => received,
            Kind::Dropped => dropped,
        }
    }

    pub(super) fn row(&mut self, row: Row) -> Result<&mut RowReport> {
        self.rows.iter_mut().find(|report| report.row == row).context("a row that is not measured")
    }

    /// A row that was measured.
    pub(super) fn find(&self, row: Row) -> Option<&RowReport> {
        self.measured().find(|report| report.row == row)
    }

    /// The rows that were measured; those that failed are told of by themselves.
    pub(super) fn measured(&self) -> impl Iterator<Item = &RowReport> {
        self.rows.iter().filter(|report| report.failed.is_none())
    }

    /// What is lasthop's own, and could not be measured.
    pub(super) fn is_failed(&self) -> bool {
        let own = self.rows.iter().any(|row| row.failed.is_some() && row.row.is_lasthop());
        own || !self.failed.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let attach = self.attach.as_ref().map(|attach| {
            json!({
                "ports": attach.ports,
                "median_ms": median(attach.ms.iter().copied()),
                "ms": attach.ms,
                "memory_kib": attach.memory,
            })
        });
        json!({
            "machine": self.machine,
            "rounds": self.count,
            "untraced": self.untraced.each_ref().map(|rounds| json!({
                "packets_per_second": median(rounds.iter().map(|round| round.0)),
                "ns_per_packet": median(rounds.iter().map(|round| round.1)),
                "rounds": rounds,
            })),
            "lossless": self.lossless,
            "explain": self.explain.as_ref().map(|explain| json!({
                "hops": explain.hops,
                "bytes": explain.bytes,
                "hops_per_second": median(explain.rates.iter().copied()),
                "rounds": explain.rates,
            })),
            "rows": self.rows.iter().map(RowReport::json).collect::<Vec<_>>(),
            "attach": attach,
            "guest": self.guest,
            "failed": self.failed,
            "aims": aims::of(self),
        })
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "\n{}, Linux {}, {} processors ({}), medians of {} rounds\n\n",
            self.machine.date,
            self.machine.kernel,
            self.machine.processors,
            self.machine.processor,
            self.count,
        );
        if !self.rows.is_empty() {
            self.rates(&mut text);
            self.accounts(&mut text);
        }
        if !self.guest.is_empty() {
            text += &guest::table(&self.guest);
        }
        self.others(&mut text);
        self.failures(&mut text);
        text += "\naims\n";
        for aim in aims::of(self) {
            let _ = writeln!(
                text,
                "  {:<4} {:<46} {:>10}  aim {}",
                if aim.met { "met" } else { "MISS" },
                aim.what,
                aim.is,
                aim.wanted
            );
        }
        text
    }

    fn rates(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "{:<28} {:>10} {:>7} {:>10} {:>7} {:>8} {:>10} {:>10} {:>6} {:>7} {:>9} {:>8}",
            "",
            "packets/s",
            "ratio",
            "ns/packet",
            "times",
            "ns/hook",
            "events/s",
            "lost",
            "cpu",
            "MiB",
            "ready ms",
            "stop ms"
        );
        for (kind, untraced) in [Kind::Received, Kind::Dropped].into_iter().zip(&self.untraced) {
            if untraced.is_empty() {
                continue;
            }
            let rate = median(untraced.iter().map(|round| round.0));
            let cost = median(untraced.iter().map(|round| round.1));
            let name = kind.untraced();
            let _ =
                writeln!(text, "{name:<28} {rate:>10.0} {:>7} {cost:>10.0} {:>7}", "1.000", "1.00");
            for row in self.measured().filter(|row| row.row.kind() == kind) {
                let account = row.account.as_ref();
                let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let _ = writeln!(
                    text,
                    "{:<28} {:>10.0} {:>7.3} {:>10.0} {:>7.2} {:>8} {:>10} {:>10} {:>5.0}% {:>7.1} \
                     {:>9.0} {:>8.0}",
                    row.row.label(),
                    row.median(|round| round.rate),
                    row.median(|round| round.ratio),
                    row.median(|round| round.cost),
                    row.median(|round| round.cost_ratio),
                    or_dash(account.and_then(Account::hook_ns).map(|ns| format!("{ns:.0}"))),
                    or_dash(account.map(|account| format!("{:.0}", account.events_per_second))),
                    or_dash(account.map(|account| account.lost.to_string())),
                    100.0 * row.median(|round| round.cpu),
                    row.median(|round| round.memory as f64) / 1024.0,
                    row.median(|round| round.ready_ms),
                    row.median(|round| round.stop_ms),
                );
            }
        }
        *text += "ns/packet: processor time of sending and receiving, on whatever the machine does besides\n\
                  ns/hook, events/s and lost: from one more flood, with the kernel counting\n";
    }

    fn failures(&self, text: &mut String) {
        let rows = self.rows.iter().filter_map(|row| Some((row.row.label(), row.failed.as_ref()?)));
        for (label, why) in rows {
            let _ = writeln!(text, "\nnot measured: {label}: {why}");
        }
        for why in &self.failed {
            let _ = writeln!(text, "\nnot measured: {why}");
        }
    }

    fn others(&self, text: &mut String) {
        if let Some(lossless) = &self.lossless {
            let lost_at = lossless.lost_at.map_or_else(String::new, |rate| {
                format!("; the first loss was seen at {rate:.0} packets/s")
            });
            let _ = writeln!(
                text,
                "\nwithout loss: {:.0} events/s, of {:.0} packets/s{lost_at}",
                lossless.events_per_second, lossless.packets_per_second
            );
        }
        if let Some(explain) = &self.explain {
            let _ = writeln!(
                text,
                "\nexplained {} hops ({:.0} MiB) at {:.0} hops/s",
                explain.hops,
                explain.bytes as f64 / f64::from(1 << 20),
                median(explain.rates.iter().copied())
            );
        }
        if let Some(attach) = &self.attach {
            let _ = writeln!(
                text,
                "\nattached to {} ports in {:.0} ms, {:.1} MiB resident",
                attach.ports,
                median(attach.ms.iter().copied()),
                attach.memory as f64 / 1024.0
            );
        }
    }

    fn accounts(&self, text: &mut String) {
        for row in self.measured() {
            let Some(account) = row.account.as_ref().filter(|_| row.row.has_programs()) else {
                continue;
            };
            let _ = writeln!(
                text,
                "\n{}: {:.0} events/s at {:.0} packets/s, {} arrived, {} lost, {:.1} MiB; \
                 by the kernel's count:",
                row.row.label(),
                account.events_per_second,
                account.packets_per_second,
                account.events,
                account.lost,
                account.memory as f64 / 1024.0,
            );
            for program in &account.programs {
                let empty =
                    program.empty_ns.map_or(String::new(), |ns| format!("(empty: {ns:.0} ns)"));
                let _ = writeln!(
                    text,
                    "  {:<16} {:<16} {:>6.3} runs/packet {:>7.0} ns/run {empty}",
                    program.name, program.kind, program.runs_per_packet, program.ns,
                );
            }
        }
    }
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_fails_is_said_and_is_no_figure() {
        let mut report = Report::new(1).expect("a machine");
        report.rows = vec![RowReport::new(Row::Tcpdump), RowReport::new(Row::BpftraceDrops)];
        report.rows[1].take(Err::<(), _>(anyhow::anyhow!("no tracepoints")), |_, ()| ());
        assert!(report.find(Row::Tcpdump).is_some() && report.find(Row::BpftraceDrops).is_none());
        assert!(report.table().contains("not measured: bpftrace, drops: no tracepoints"));
        assert!(!report.is_failed(), "others' rows are not lasthop's fault");
        assert_eq!(report.or_failed("explain", Err::<u8, _>(anyhow::anyhow!("x"))), None);
        assert!(report.is_failed());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "small whole numbers and halves are exact")]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }
}
