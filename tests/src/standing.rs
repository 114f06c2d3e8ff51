//! A scenario's topology while it stands, and the traffic in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::lasthop;
use crate::process::{run, run_into};
use crate::scenario::Scenario;

/// Generous, for emulated machines.
const TOPOLOGY_LIMIT: Duration = Duration::from_mins(3);

/// Exit status of a `topology.sh` that finds that this machine cannot have it (as in Automake).
const CANNOT: i32 = 77;

/// Why a topology is not possible on this machine.
#[derive(Debug)]
pub struct Obstacle(String);

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Obstacle {}

/// With the fault or without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// With the fault.
    Faulty,
    /// Without it.
    Healthy,
}

impl Twin {
    /// As `topology.sh` is told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Faulty => "faulty",
            Self::Healthy => "healthy",
        }
    }
}

/// A scenario's topology; it is taken down when this is dropped.
pub struct Standing<'a> {
    scenario: &'a Scenario,
    dir: PathBuf,
}

impl<'a> Standing<'a> {
    /// Builds it; its logs go to `dir`. The error is an [`Obstacle`] where it cannot be had.
    pub fn up(scenario: &'a Scenario, dir: &Path, twin: Twin) -> Result<Self> {
        let standing = Self { scenario, dir: dir.to_owned() };
        standing.topology(&["up", twin.name()])?;
        Ok(standing)
    }

    fn topology(&self, args: &[&str]) -> Result<()> {
        let log = self.dir.join("topology.log");
        let mut command = Command::new(self.scenario.folder.join("topology.sh"));
        self.environment(command.args(args))?;
        let status = run_into(&mut command, &log, TOPOLOGY_LIMIT)?;
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        match status.code() {
            Some(0) => Ok(()),
            Some(CANNOT) => Err(Obstacle(said().lines().last().unwrap_or_default().into()).into()),
            _ => bail!("topology.sh {} failed: {}", args.join(" "), said()),
        }
    }

    /// What the scenario's scripts find in their environment.
    pub fn environment(&self, command: &mut Command) -> Result<()> {
        command
            .envs(&self.scenario.environment)
            .env("LH_DIR", &self.dir)
            // Where a scenario's own Open vSwitch has its sockets: for its scripts and lasthop.
            .env("OVS_RUNDIR", self.dir.join("ovs"))
            .env("LH_PEER", lasthop::peer()?);
        Ok(())
    }

    /// `lasthop trace FILTER MORE --exit-code … -- traffic.sh`, ready to be started.
    pub fn trace(&self, more: &[&str]) -> Result<Command> {
        let mut command = lasthop::lasthop(&["trace", &self.scenario.filter])?;
        command.args(more).arg("--exit-code").args(&self.scenario.options);
        command.arg("--").arg(self.scenario.folder.join("traffic.sh"));
        self.environment(&mut command)?;
        Ok(command)
    }

    /// What `witness.sh`, where there is one, says after the traffic: whether what should have
    /// happened did, by the counters of those whom it happened to, not by lasthop's.
    pub fn witness(&self, twin: Twin) -> Result<String> {
        let script = self.scenario.folder.join("witness.sh");
        if !script.is_file() {
            return Ok(String::new());
        }
        let mut command = Command::new(script);
        self.environment(command.arg(twin.name()))?;
        let done = run(&mut command, TOPOLOGY_LIMIT)?;
        let said = format!("{}{}", done.text(), done.stderr);
        if !done.status.success() {
            bail!("witness.sh: this is not {}: {said}", twin.name());
        }
        Ok(said)
    }

    /// The traffic without a tracer, ready to be started.
    pub fn traffic(&self) -> Result<Command> {
        let mut command = Command::new(self.scenario.folder.join("traffic.sh"));
        self.environment(&mut command)?;
        Ok(command)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.topology(&["down"]) {
            eprintln!("{}: {e:#}", self.scenario.name);
        }
    }
}
