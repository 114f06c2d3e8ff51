//! Who watches the flood: the rows of the benchmark.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::flood::{ADDRESSES, address};
use super::lab;
use super::tracer::Tracer;
use crate::packages;

/// A tracer with a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Row {
    /// lasthop with a filter that matches no packet.
    Nothing,
    /// lasthop with a filter that matches one packet in 1000.
    OneIn1000,
    /// lasthop with a filter that matches every packet.
    All,
    /// One tcpdump on each port, with the filter that matches no packet.
    Tcpdump,
}

impl Row {
    pub(super) const ALL: [Self; 4] = [Self::Nothing, Self::OneIn1000, Self::All, Self::Tcpdump];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Nothing => "lasthop, nothing matches",
            Self::OneIn1000 => "lasthop, 1 in 1000 matches",
            Self::All => "lasthop, all match",
            Self::Tcpdump => "tcpdump, nothing matches",
        }
    }

    pub(super) fn is_lasthop(self) -> bool {
        self != Self::Tcpdump
    }

    /// The filter; all three look at the same fields of a packet.
    pub(super) fn filter(self) -> String {
        match self {
            // An address that no packet has.
            Self::Nothing | Self::Tcpdump => "udp and dst host 10.79.0.1".to_owned(),
            Self::OneIn1000 => format!("udp and dst host {}", address(ADDRESSES / 2)),
            Self::All => "udp and dst net 10.78.0.0/16".to_owned(),
        }
    }

    /// Starts all that belong to it, and waits until they are ready.
    pub(super) fn start(self, binary: &Path, counted: bool) -> Result<Vec<Tracer>> {
        if self.is_lasthop() {
            return Ok(vec![lasthop(binary, self, &[lab::A, lab::B], counted)?]);
        }
        [(lab::A, lab::PORT_A), (lab::B, lab::PORT_B)]
            .into_iter()
            .map(|(namespace, port)| tcpdump(namespace, port, &self.filter()))
            .collect()
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
    Tracer::start(command, "lasthop: ready: ", counted)
}

fn tcpdump(namespace: &str, port: &str, filter: &str) -> Result<Tracer> {
    let tcpdump = packages::command("tcpdump").context("no tcpdump, though it is installed")?;
    let mut command = Command::new("ip");
    // `ip netns exec` becomes the command: no process stands between.
    command.args(["netns", "exec", namespace]).arg(tcpdump);
    command.args(["-n", "-i", port, "-w", "/dev/null", filter]);
    Tracer::start(command, "listening on", false)
}
