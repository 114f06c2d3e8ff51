//! What the figures should be, beside what they are.

use serde::Serialize;

use super::guest;
use super::report::{Program, Report, RowReport, median};
use super::rows::Row;

/// One aim.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Aim {
    pub what: String,
    pub is: String,
    pub wanted: &'static str,
    pub met: bool,
}

/// The aims that were measured.
pub(super) fn of(report: &Report) -> Vec<Aim> {
    let mut aims = Vec::new();
    if let Some(nothing) = report.find(Row::Nothing) {
        let (tcpdump, empty) = (report.find(Row::Tcpdump), report.find(Row::Empty));
        not_matching(&mut aims, nothing, tcpdump, empty);
    }
    if let Some(lossless) = &report.lossless {
        aims.push(Aim {
            what: "events a second without loss, all matching".to_owned(),
            is: format!("{:.0}", lossless.events_per_second),
            wanted: ">= 1000000",
            met: lossless.events_per_second >= 1e6,
        });
    }
    if let Some(explain) = &report.explain {
        let rate = median(explain.rates.iter().copied());
        aims.push(Aim {
            what: "hops a second explained".to_owned(),
            is: format!("{rate:.0}"),
            wanted: ">= 1000000",
            met: rate >= 1e6,
        });
    }
    if let Some(drops) = report.find(Row::Drops) {
        counting_drops(&mut aims, drops, report.find(Row::BpftraceDrops));
    }
    if let Some(attach) = &report.attach {
        let ms = median(attach.ms.iter().copied());
        aims.push(Aim {
            what: format!("start to attached, {} ports", attach.ports),
            is: format!("{ms:.0} ms"),
            wanted: "<= 1000 ms",
            met: ms <= 1000.0,
        });
    }
    aims.extend(guest::aims(&report.guest));
    let resident = report
        .measured()
        .filter(|row| row.row.is_lasthop())
        .flat_map(|row| row.rounds.iter().map(|round| round.memory))
        .max();
    if let Some(resident) = resident {
        let mebibytes = resident as f64 / 1024.0;
        aims.push(Aim {
            what: "resident memory, the most of all rows".to_owned(),
            is: format!("{mebibytes:.1} MiB"),
            wanted: "<= 40 MiB",
            met: mebibytes <= 40.0,
        });
    }
    aims
}

/// What a drop costs.
fn counting_drops(aims: &mut Vec<Aim>, drops: &RowReport, other: Option<&RowReport>) {
    let programs = drops.account.iter().flat_map(|account| &account.programs);
    let dearest = programs.filter(|p| p.runs_per_packet > 0.5).max_by(|a, b| a.ns.total_cmp(&b.ns));
    if let Some(program) = dearest {
        let empty = program.empty_ns.map_or(String::new(), |ns| format!(" ({ns:.0} when empty)"));
        aims.push(Aim {
            what: format!("a drop counted{empty}"),
            is: format!("{:.0} ns", program.ns),
            wanted: "<= 60 ns",
            met: program.ns <= 60.0,
        });
    }
    if let Some(account) = &drops.account {
        aims.push(Aim {
            what: format!("drops not counted, at {:.0} a second", account.packets_per_second),
            is: account.lost.to_string(),
            wanted: "0",
            met: account.lost == 0,
        });
    }
    if let Some(other) = other {
        let (own, other) = (drops.median(|round| round.ratio), other.median(|round| round.ratio));
        aims.push(Aim {
            what: format!("rate, all dropped; bpftrace has {other:.3}"),
            is: format!("{own:.3}"),
            wanted: "more than bpftrace",
            met: own > other,
        });
    }
}

/// What a packet costs that does not concern the flow.
fn not_matching(
    aims: &mut Vec<Aim>,
    nothing: &RowReport,
    tcpdump: Option<&RowReport>,
    empty: Option<&RowReport>,
) {
    let ratio = nothing.median(|round| round.ratio);
    let least = empty.map_or(String::new(), |empty| {
        format!("; empty programs have {:.3}", empty.median(|round| round.ratio))
    });
    aims.push(Aim {
        what: format!("rate, nothing matches{least}"),
        is: format!("{ratio:.3}"),
        wanted: ">= 0.950 of untraced",
        met: ratio >= 0.95,
    });
    if let Some(tcpdump) = tcpdump {
        let other = tcpdump.median(|round| round.ratio);
        aims.push(Aim {
            what: format!("rate, nothing matches; tcpdump has {other:.3}"),
            is: format!("{ratio:.3}"),
            wanted: "more than tcpdump",
            met: ratio > other,
        });
    }
    if let Some(tcpdump) = tcpdump {
        let (own, other) =
            (nothing.median(|round| round.cost_ratio), tcpdump.median(|round| round.cost_ratio));
        aims.push(Aim {
            what: format!("processor time, nothing matches; tcpdump {other:.2}"),
            is: format!("{own:.2} times"),
            wanted: "less than tcpdump",
            met: own < other,
        });
    }
    let ready = nothing.median(|round| round.ready_ms);
    aims.push(Aim {
        what: "start to attached".to_owned(),
        is: format!("{ready:.0} ms"),
        wanted: "<= 300 ms",
        met: ready <= 300.0,
    });
    let programs = nothing.account.iter().flat_map(|account| &account.programs);
    // What runs now and then, such as on the lab's own ARP, is not what packets cost.
    let programs: Vec<&Program> = programs.filter(|p| p.runs_per_packet > 0.01).collect();
    // The counting itself costs as much as the aim, on an empty program too: that is taken off.
    let beyond = |program: &Program| program.empty_ns.map(|empty| program.ns - empty);
    let dearest = programs
        .iter()
        .filter_map(|program| beyond(program).map(|ns| (ns, &program.name)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((ns, name)) = dearest {
        aims.push(Aim {
            what: format!("a run beyond an empty program's; {name}"),
            is: format!("{ns:.0} ns"),
            wanted: "<= 60 ns",
            met: ns <= 60.0,
        });
    }
    let times = |program: &Program| program.empty_ns.map(|empty| program.ns / empty);
    let worst = programs
        .iter()
        .filter_map(|program| times(program).map(|times| (times, &program.name)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((times, name)) = worst {
        aims.push(Aim {
            what: format!("a run, times an empty program's; {name}"),
            is: format!("{times:.1} times"),
            wanted: "<= 3.0 times",
            met: times <= 3.0,
        });
    }
}
