//! Another kernel for a command: Debian's, in an emulated machine that sees this one's files.
//!
//! Everything it needs is fetched or made under `target/vm` on the first run and used again after.

mod archive;
mod console;
mod emulator;
mod guest;
mod kernels;
mod terminal;
mod tools;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) use guest::{End, Machine};
pub(crate) use kernels::Name;

/// What `timeout(1)` exits with when it had to end its command; so does this.
const TIMED_OUT: i32 = 124;

#[derive(clap::Args)]
pub struct Args {
    /// Which of Debian's kernels. The first use fetches it; remove target/vm/kernels/NAME to have
    /// a newer release of it.
    #[arg(long, value_enum)]
    kernel: Name,
    /// How long the machine may run, its start included: 90s, 10m, 1h.
    #[arg(long, default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Processors of the machine.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    cpus: u8,
    /// Memory of the machine, with a unit: 2G.
    #[arg(long, default_value = "2G")]
    memory: String,
    /// Count instructions instead of time: 1 ns of the guest is one instruction, so that what is
    /// measured there repeats. Needs one processor.
    #[arg(long, conflicts_with = "cpus")]
    icount: bool,
    /// What to run there, as root, in this directory.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command and ends this process with its exit status.
pub fn run(args: &Args) -> Result<()> {
    let machine = Machine {
        kernel: args.kernel,
        timeout: args.timeout,
        cpus: if args.icount { 1 } else { args.cpus },
        memory: args.memory.clone(),
        icount: args.icount,
    };
    let status = match machine.run(&args.command, &mut std::io::stdout(), &mut std::io::stderr())? {
        End::Exited(status) => i32::from(status),
        End::TimedOut => {
            eprintln!(
                "xtask: the time limit of {} s is over; a longer one: --timeout",
                args.timeout.as_secs()
            );
            TIMED_OUT
        }
    };
    if status == 0 { Ok(()) } else { std::process::exit(status) }
}

/// Where all of this is kept.
fn folder() -> PathBuf {
    crate::root().join("target/vm")
}

/// Keeps others from fetching and unpacking the same things, until it is dropped.
fn lock() -> Result<File> {
    fs::create_dir_all(folder())?;
    let path = folder().join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Reads `90s`, `10m`, `1h`, or seconds without a unit.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => bail!("unknown unit {other:?}: s, m or h"),
    };
    let number: u64 = digits.parse().context("not a whole number")?;
    match number.checked_mul(unit) {
        None | Some(0) => bail!("out of range"),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600)] {
            assert_eq!(duration(text).expect(text), Duration::from_secs(seconds));
        }
        for text in ["", "s", "0", "0m", "1d", "1.5m", "-1s", "1m30", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
