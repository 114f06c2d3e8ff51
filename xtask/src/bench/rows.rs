//! Who watches the flood: the rows of the benchmark.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::flood::{self, ADDRESSES, Flood, address};
use super::tracer::Tracer;
use super::{empty, lab, others};

/// A tracer with a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Row {
    /// Programs that do nothing, on the hooks that lasthop uses: what no tracer there can do without.
    Empty,
    /// lasthop with a filter that matches no packet.
    Nothing,
    /// lasthop with a filter that matches one packet in 1000.
    OneIn1000,
    /// lasthop with a filter that matches every packet.
    All,
    /// One tcpdump on each port, with the filter that matches no packet.
    Tcpdump,
    /// The same with the filter that matches every packet.
    TcpdumpAll,
    /// bpftrace on the tracepoints that packets pass, with the filter that matches no packet.
    Bpftrace,
    /// The same with the filter that matches every packet: a line for each event.
    BpftraceAll,
    /// lasthop drops, while every packet is dropped.
    Drops,
    /// The same, telling the addresses apart.
    DropsByAddress,
    /// bpftrace counting drops by reason and place, while every packet is dropped.
    BpftraceDrops,
}

/// Which flood a row is measured under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All packets are received.
    Received,
    /// All packets are dropped.
    Dropped,
}

impl Kind {
    /// Floods for so long.
    pub(super) fn flood(self, duration: Duration) -> Result<Flood> {
        match self {
            Self::Received => flood::run(duration),
            Self::Dropped => flood::run_dropped(duration),
        }
    }

    pub(super) fn untraced(self) -> &'static str {
        match self {
            Self::Received => "untraced",
            Self::Dropped => "untraced, all dropped",
        }
    }
}

impl Row {
    pub(super) const ALL: [Self; 11] = [
        Self::Empty,
        Self::Nothing,
        Self::OneIn1000,
        Self::All,
        Self::Tcpdump,
        Self::TcpdumpAll,
        Self::Bpftrace,
        Self::BpftraceAll,
        Self::Drops,
        Self::DropsByAddress,
        Self::BpftraceDrops,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty programs",
            Self::Nothing => "lasthop, nothing matches",
            Self::OneIn1000 => "lasthop, 1 in 1000 matches",
            Self::All => "lasthop, all match",
            Self::Tcpdump => "tcpdump, nothing matches",
            Self::TcpdumpAll => "tcpdump, all match",
            Self::Bpftrace => "bpftrace, nothing matches",
            Self::BpftraceAll => "bpftrace, all match",
            Self::Drops => "lasthop drops",
            Self::DropsByAddress => "lasthop drops, by address",
            Self::BpftraceDrops => "bpftrace, drops",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Drops | Self::DropsByAddress | Self::BpftraceDrops => Kind::Dropped,
            _ => Kind::Received,
        }
    }

    pub(super) fn is_lasthop(self) -> bool {
        matches!(
            self,
            Self::Nothing | Self::OneIn1000 | Self::All | Self::Drops | Self::DropsByAddress
        )
    }

    /// Whether a process has programs of which the kernel counts the runs: not a socket's filter.
    pub(super) fn has_programs(self) -> bool {
        !matches!(self, Self::Empty | Self::Tcpdump | Self::TcpdumpAll)
    }

    /// The filter; all look at the same fields of a packet. Empty: none.
    pub(super) fn filter(self) -> String {
        match self {
            // An address that no packet has.
            Self::Nothing | Self::Tcpdump | Self::Bpftrace => {
                "udp and dst host 10.79.0.1".to_owned()
            }
            Self::OneIn1000 => format!("udp and dst host {}", address(ADDRESSES / 2)),
            Self::All | Self::TcpdumpAll | Self::BpftraceAll => {
                "udp and dst net 10.78.0.0/16".to_owned()
            }
            Self::Empty | Self::Drops | Self::DropsByAddress | Self::BpftraceDrops => String::new(),
        }
    }

    /// Attaches its programs, where no process does.
    pub(super) fn attach(self) -> Result<Option<empty::Attached>> {
        (self == Self::Empty).then(empty::attach).transpose()
    }

    /// Starts all processes that belong to it, and waits until they are ready.
    pub(super) fn start(self, binary: &Path, counted: bool) -> Result<Vec<Tracer>> {
        let ports = [(lab::A, lab::PORT_A), (lab::B, lab::PORT_B)];
        match self {
            Self::Empty => Ok(Vec::new()),
            Self::Nothing | Self::OneIn1000 | Self::All => {
                Ok(vec![lasthop(binary, self, &[lab::A, lab::B], counted)?])
            }
            Self::Tcpdump | Self::TcpdumpAll => ports
                .into_iter()
                .map(|(namespace, port)| others::tcpdump(namespace, port, &self.filter()))
                .collect(),
            Self::Bpftrace => {
                Ok(vec![others::bpftrace(&others::follow(others::NOTHING), counted)?])
            }
            Self::BpftraceAll => Ok(vec![others::bpftrace(&others::follow(others::ALL), counted)?]),
            Self::BpftraceDrops => Ok(vec![others::bpftrace(others::DROPS, counted)?]),
            Self::Drops => Ok(vec![drops(binary, &[], counted)?]),
            Self::DropsByAddress => Ok(vec![drops(binary, &["--by", "address"], counted)?]),
        }
    }
}

/// lasthop with a row's filter, on the ports of these namespaces.
pub(super) fn lasthop(
    binary: &Path,
    row: Row,
    namespaces: &[&str],
    counted: bool,
) -> Result<Tracer> {
    let mut command = Command::new(binary);
    command.arg("trace").arg(row.filter()).arg("--json");
    for namespace in namespaces {
        command.args(["--netns", namespace]);
    }
    Tracer::start(command, READY, counted)
}

/// The line that lasthop says it is ready with.
pub(super) const READY: &str = "lasthop: ready: ";

fn drops(binary: &Path, by: &[&str], counted: bool) -> Result<Tracer> {
    let mut command = Command::new(binary);
    command.args(["drops", "--all", "--json"]).args(by);
    Tracer::start(command, READY, counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_are_measured_and_told_apart() {
        use clap::ValueEnum as _;
        assert_eq!(Row::ALL, Row::value_variants());
        let labels: std::collections::BTreeSet<_> = Row::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), Row::ALL.len());
    }
}
