//! `cargo xtask bench`: what tracing costs, on this machine's kernel.
//!
//! A flood is measured again and again, with one tracer after the other and with none, in turn, so
//! that whatever else the machine does falls on all alike. What the programs cost by the kernel's
//! own count is measured apart from that, since the counting costs too.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a few seconds are far below 2^53"
)]

mod aims;
mod count;
mod empty;
mod explain;
mod flood;
mod guest;
mod lab;
mod lossless;
mod others;
mod programs;
mod report;
mod rows;
mod tracer;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};

use crate::toolchain::{Toolchain, say};
use crate::{Told, ebpf, packages, step};
use flood::Flood;
use report::{Account, Attach, Program, Report, Round, RowReport};
use rows::{Kind, Row};
use tracer::{Tracer, Usage};

/// How long each flood is.
const FLOOD: Duration = Duration::from_secs(3);
/// How long the flood before the first round is: neighbours are resolved, caches warm.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub struct Args {
    /// How often each row is measured; the figures are medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Only these rows, beside the untraced one.
    #[arg(long = "row", value_enum, value_name = "ROW")]
    rows: Vec<Row>,
    /// Only the rows in a guest, through Open vSwitch.
    #[arg(long, conflicts_with = "rows")]
    guest: bool,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the benchmark needs root: namespaces and BPF programs"
    );
    packages::ensure(packages::RUN_TIME)?;
    packages::ensure(packages::COMPARED)?;
    let lasthop = ebpf::build(&Toolchain::ensure()?)?;
    let _lock = lock()?;
    let mut report = Report::new(args.rounds)?;
    if args.rows.is_empty() {
        step::note("counting instructions through Open vSwitch, in a guest");
        let guest = guest::run(&lasthop, args.rounds);
        report.guest = report.or_failed("in a guest", guest).unwrap_or_default();
    }
    if !args.guest {
        here(args, &lasthop, &mut report)?;
    }
    print!("{}", report.table());
    let path = crate::root().join("target/bench.json");
    fs::write(&path, serde_json::to_string_pretty(&report.json())?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{}", path.display());
    if report.is_failed() { Err(Told.into()) } else { Ok(()) }
}

/// What is measured on this machine's own kernel.
fn here(args: &Args, lasthop: &Path, report: &mut Report) -> Result<()> {
    let rows = if args.rows.is_empty() { Row::ALL.to_vec() } else { args.rows.clone() };
    let _lab = lab::flooded()?;
    flood::run(WARM_UP)?;
    measure(report, &rows, lasthop, args.rounds)?;
    step::note("counting what the programs cost, and what they write");
    let costs = empty_costs()?;
    for &row in &rows {
        if report.find(row).is_some() {
            let account = account(row, lasthop, &costs);
            report.row(row)?.take(account, |row, account| row.account = Some(account));
        }
    }
    if let Some(all) = report.find(Row::All) {
        let most = all.account.as_ref().map_or(0.0, |account| account.packets_per_second);
        step::note("looking for the rate at which nothing is lost");
        let lossless = lossless::find(lasthop, most);
        report.lossless = report.or_failed("events without loss", lossless);
        step::note("explaining a recording");
        let explain = explain::measure(lasthop, args.rounds);
        report.explain = report.or_failed("explain", explain);
    }
    if report.find(Row::Nothing).is_some() {
        step::note("attaching to many ports");
        let attach = attach(lasthop, args.rounds);
        report.attach = report.or_failed("attaching to many ports", attach);
    }
    Ok(())
}

/// All rows in turn, as often as asked for, each after the same flood without anybody watching.
fn measure(report: &mut Report, rows: &[Row], lasthop: &Path, rounds: u8) -> Result<()> {
    report.rows = rows.iter().map(|&row| RowReport::new(row)).collect();
    for number in 1..=rounds {
        let mut said = format!("round {number}:");
        for kind in [Kind::Received, Kind::Dropped] {
            let of_kind: Vec<Row> = rows.iter().copied().filter(|row| row.kind() == kind).collect();
            if of_kind.is_empty() {
                continue;
            }
            let untraced = kind.flood(FLOOD)?;
            report.untraced(kind).push((untraced.rate(), untraced.cost()));
            let _ = write!(said, " {} {:.0}/s", kind.untraced(), untraced.rate());
            for row in of_kind {
                if report.find(row).is_none() {
                    continue;
                }
                let round = round(row, lasthop, &untraced);
                report.row(row)?.take(round, |of, round| {
                    let _ = write!(said, ", {} {:.1} %", row.label(), 100.0 * round.ratio);
                    of.rounds.push(round);
                });
            }
        }
        step::note(&said);
    }
    Ok(())
}

/// One flood with somebody watching.
fn round(row: Row, lasthop: &Path, untraced: &Flood) -> Result<Round> {
    let _programs = row.attach()?;
    let tracers = row.start(lasthop, false)?;
    let before = used(&tracers)?;
    let flood = row.kind().flood(FLOOD)?;
    let after = used(&tracers)?;
    let ready = tracers.iter().map(|tracer| tracer.ready).max();
    let mut stopping = Duration::ZERO;
    for tracer in tracers {
        stopping = stopping.max(tracer.stop()?.took);
    }
    Ok(Round {
        rate: flood.rate(),
        ratio: flood.rate() / untraced.rate(),
        cost: flood.cost(),
        cost_ratio: flood.cost() / untraced.cost(),
        delivered: flood.received as f64 / flood.sent as f64,
        cpu: (after.cpu - before.cpu) / flood.seconds,
        memory: after.memory,
        ready_ms: ready.unwrap_or_default().as_secs_f64() * 1e3,
        stop_ms: stopping.as_secs_f64() * 1e3,
    })
}

/// What all of them have used together.
fn used(tracers: &[Tracer]) -> Result<Usage> {
    let mut sum = Usage::default();
    for tracer in tracers {
        let usage = tracer.usage()?;
        sum.cpu += usage.cpu;
        sum.memory += usage.memory;
    }
    Ok(sum)
}

/// What empty programs cost in a flood, by the kernel's count.
fn empty_costs() -> Result<Vec<empty::Cost>> {
    let _counting = enable_stats(Stats::RunTime).context("the kernel cannot count BPF runs")?;
    let attached = empty::attach()?;
    flood::run(FLOOD)?;
    attached.costs()
}

/// One more flood, with the kernel counting and the output read: what each program costs, what
/// arrives and what is lost.
fn account(row: Row, lasthop: &Path, costs: &[empty::Cost]) -> Result<Account> {
    let _counting = enable_stats(Stats::RunTime).context("the kernel cannot count BPF runs")?;
    let _programs = row.attach()?;
    let tracers = row.start(lasthop, row.has_programs())?;
    let programs_of =
        || tracers.first().map_or(Ok(programs::Held::new()), |t| programs::of(t.pid()));
    let before = programs_of()?;
    let flood = row.kind().flood(FLOOD)?;
    let after = programs_of()?;
    let memory = used(&tracers)?.memory;
    let (mut events, mut lost) = (0, 0);
    for tracer in tracers {
        let stopped = tracer.stop()?;
        let count = stopped.count.unwrap_or_default();
        events += count.hops + count.drops + stopped.seen;
        lost += count.lost + stopped.lost;
    }
    if row.kind() == Kind::Dropped {
        // Whether or not it says so: every packet was a drop.
        lost = lost.max(flood.sent.saturating_sub(events));
    }
    let programs = programs::between(&before, &after).into_iter().map(|runs| {
        let empty = costs.iter().find(|cost| cost.kind == runs.kind);
        Program {
            ns: runs.ns as f64 / runs.count as f64,
            runs_per_packet: runs.count as f64 / flood.sent as f64,
            empty_ns: empty.map(|cost| cost.ns),
            kind: runs.kind,
            name: runs.name,
        }
    });
    Ok(Account {
        packets_per_second: flood.rate(),
        events,
        events_per_second: events as f64 / flood.seconds,
        lost,
        memory,
        programs: programs.collect(),
    })
}

/// How long it takes from the start to being attached to many ports.
fn attach(lasthop: &Path, rounds: u8) -> Result<Attach> {
    let _many = lab::many()?;
    let mut attach = Attach::default();
    for _ in 0..rounds {
        let tracer = rows::lasthop(lasthop, Row::Nothing, &[lab::MANY], false)?;
        attach.ports = ports(&tracer.announced)?;
        ensure!(
            attach.ports >= 2 * lab::PAIRS,
            "attached to {} ports of {}",
            attach.ports,
            2 * lab::PAIRS
        );
        attach.ms.push(tracer.ready.as_secs_f64() * 1e3);
        attach.memory = attach.memory.max(tracer.usage()?.memory);
        tracer.stop()?;
    }
    Ok(attach)
}

/// The number of devices in `lasthop: ready: N probes on M devices`.
fn ports(announced: &str) -> Result<usize> {
    let (_, devices) =
        announced.rsplit_once(" on ").with_context(|| format!("no devices in {announced:?}"))?;
    let number = devices.split_whitespace().next().unwrap_or_default();
    number.parse().with_context(|| format!("no number of devices in {announced:?}"))
}

/// One benchmark at a time: two would measure each other.
fn lock() -> Result<File> {
    let path = std::env::temp_dir().join("lasthop-bench.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.try_lock().context("another benchmark is running on this machine")?;
    Ok(file)
}

/// When and on what this was measured.
fn machine() -> Result<report::Machine> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(report::Machine {
        date: say(std::process::Command::new("date").args(["-u", "+%FT%TZ"]))?.trim().to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        processor: model.map_or("unknown", |(_, model)| model).to_owned(),
        processors: std::thread::available_parallelism()?.get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_devices_that_lasthop_announces() {
        let line = "lasthop: ready: 107 probes on 51 devices";
        assert_eq!(ports(line).expect("is there"), 51);
        assert!(ports("lasthop: ready").is_err());
        assert!(ports("on no devices").is_err());
    }
}
