//! How fast a recording is explained.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::rows::{READY, Row};
use super::tracer::Tracer;
use super::{count, flood, lab};

/// The flood that is recorded: its length, and packets a second.
const RECORDED: Duration = Duration::from_secs(3);
const RATE: f64 = 30_000.0;

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Explain {
    pub hops: u64,
    pub bytes: u64,
    /// Hops a second, each time.
    pub rates: Vec<f64>,
}

/// Records a flood that matches, and has it explained `rounds` times.
pub(super) fn measure(binary: &Path, rounds: u8) -> Result<Explain> {
    let path = crate::root().join("target/bench.ndjson");
    let mut shell = Command::new("sh");
    // `exec`: the signal that stops it is for lasthop.
    shell.args(["-c", "file=$1; shift; exec \"$@\" >\"$file\"", "sh"]).arg(&path).arg(binary);
    shell.arg("trace").arg(Row::All.filter()).args([
        "--json",
        "--netns",
        lab::A,
        "--netns",
        lab::B,
    ]);
    let tracer = Tracer::start(shell, READY, false)?;
    flood::run_paced(RECORDED, Some(RATE))?;
    tracer.stop()?;
    let hops = count::count(File::open(&path)?)?.hops;
    ensure!(hops > 0, "nothing was recorded");
    let mut explain = Explain { hops, bytes: fs::metadata(&path)?.len(), rates: Vec::new() };
    for _ in 0..rounds {
        let began = Instant::now();
        let mut command = Command::new(binary);
        command.arg("explain").arg(&path).arg("--json").stdout(Stdio::null());
        let status = command.status().context("cannot run lasthop explain")?;
        ensure!(status.success(), "lasthop explain ended with {status}");
        explain.rates.push(hops as f64 / began.elapsed().as_secs_f64());
    }
    fs::remove_file(&path)?;
    Ok(explain)
}
