//! What a process holds: memory, descriptors, threads, and whether that grows.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, KiB.
    pub resident: u64,
    /// The most that it ever was, KiB.
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// What the process `pid` holds now.
pub fn usage(pid: Pid) -> Result<Usage> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let status = std::fs::read_to_string(folder.join("status"))
        .with_context(|| format!("process {pid} has gone"))?;
    let of = |key: &str| number(&status, key).with_context(|| format!("no {key} of {pid}"));
    let descriptors = std::fs::read_dir(folder.join("fd"))?.count() as u64;
    Ok(Usage {
        resident: of("VmRSS:")?,
        peak: of("VmHWM:")?,
        descriptors,
        threads: of("Threads:")?,
    })
}

/// Measures how long a process takes for something, less the time that it waited for a processor: a busy
/// machine is not its fault.
pub struct Stopwatch {
    began: Instant,
    stop: Sender<()>,
    starved: JoinHandle<Duration>,
}

impl Stopwatch {
    /// Begins with what the process `pid` does now.
    pub fn start(pid: Pid) -> Self {
        let (stop, stopped) = channel();
        let before = starved(pid);
        let starved = std::thread::spawn(move || {
            let mut most = before;
            // Nothing is known of a process that has ended: the last look at it counts.
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                most = most.max(starved(pid));
            }
            most.saturating_sub(before)
        });
        Self { began: Instant::now(), stop, starved }
    }

    /// Ends the measurement.
    ///
    /// # Errors
    /// It took longer than `limit`.
    pub fn stop(self, limit: Duration) -> Result<()> {
        let took = self.began.elapsed();
        drop(self.stop);
        let starved = self.starved.join().unwrap_or_default();
        ensure!(
            took.saturating_sub(starved) <= limit,
            "it took {took:?}, {starved:?} of it for want of a processor"
        );
        Ok(())
    }
}

/// How long the threads of the process `pid` have waited for a processor while they could have run, added up
/// (`/proc/PID/task/TID/schedstat`, its second number); those that have ended do not count.
fn starved(pid: Pid) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waited = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}

fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What a process held at several moments, in seconds since the first.
#[derive(Debug)]
pub struct Samples {
    taken: Vec<(f64, Usage)>,
}

impl Samples {
    /// Looks every `gap` for as long as `length`.
    pub fn take(pid: Pid, length: Duration, gap: Duration) -> Result<Self> {
        let (began, mut taken) = (Instant::now(), Vec::new());
        while began.elapsed() < length {
            taken.push((began.elapsed().as_secs_f64(), usage(pid)?));
            std::thread::sleep(gap);
        }
        Ok(Self { taken })
    }

    /// All of them.
    pub fn all(&self) -> &[(f64, Usage)] {
        &self.taken
    }
}

/// How much a figure grows a second: the slope of the line that fits best (least squares).
#[expect(clippy::cast_precision_loss, reason = "KiB and counts are far below 2^53")]
pub fn growth(samples: &[(f64, Usage)], figure: impl Fn(&Usage) -> u64) -> f64 {
    let points: Vec<(f64, f64)> = samples.iter().map(|(at, u)| (*at, figure(u) as f64)).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| {
        points.iter().map(of).sum::<f64>() / points.len().max(1) as f64
    };
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let common: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if spread > 0.0 { common / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process_something_is_known() {
        let here = usage(Pid::this()).expect("it runs");
        assert!(here.resident > 0 && here.peak >= here.resident, "{here:?}");
        assert!(here.descriptors >= 3 && here.threads >= 1, "{here:?}");
    }

    #[test]
    fn growth_is_the_slope() {
        let at = |second: f64, resident| {
            (second, Usage { resident, peak: 0, descriptors: 3, threads: 1 })
        };
        let samples = [at(0.0, 100), at(1.0, 110), at(2.0, 120), at(3.0, 130)];
        assert!((growth(&samples, |u| u.resident) - 10.0).abs() < 1e-9);
        assert!(growth(&samples, |u| u.descriptors).abs() < 1e-9);
        assert!(growth(&[], |u| u.resident).abs() < 1e-9);
    }
}
