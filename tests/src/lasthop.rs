//! The binary under test: where it is, how it is started, what it says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Finished, Running, run};

/// Until all probes are attached; generous, for emulated machines.
pub const READY_LIMIT: Duration = Duration::from_mins(1);
/// Until a trace with a bounded traffic has ended.
pub const RUN_LIMIT: Duration = Duration::from_mins(3);

/// The user and group that own nothing, on every distribution.
const NOBODY: &str = "65534";

/// The binary under test: `$LASTHOP`, or the release build beside this program.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LASTHOP") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("LASTHOP={} is no file", path.display());
        }
        return Ok(path);
    }
    beside("release/lasthop").context("no target/release/lasthop: run `cargo xtask build` first")
}

/// The traffic program of this crate.
pub fn peer() -> Result<PathBuf> {
    beside("peer").context("no `peer` program: run `cargo build --profile harness -p tests` first")
}

/// A file in a directory that this program's file is in, nearest first.
fn beside(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    me.ancestors()
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("nothing called {name} beside {}", me.display()))
}

/// `lasthop ARG…`, ready to be started.
pub fn lasthop(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(args);
    Ok(command)
}

/// Runs `lasthop ARG…` to its end.
pub fn run_lasthop(args: &[&str]) -> Result<Finished> {
    run(&mut lasthop(args)?, RUN_LIMIT)
}

/// Starts `lasthop trace ARG…` and returns once all its probes are attached.
pub fn trace(args: &[&str]) -> Result<Running> {
    let running = Running::start(lasthop(&["trace"])?.args(args))?;
    running.wait_stderr("lasthop: ready: ", READY_LIMIT)?;
    Ok(running)
}

/// A command that runs a copy of the binary, alone in a directory, as a user without privileges.
pub fn unprivileged(dir: &Path, args: &[&str]) -> Result<Command> {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    // A directory for each: a program that runs cannot be written to, and tests run side by side.
    static COPIES: AtomicU32 = AtomicU32::new(0);
    let alone = dir.join(format!("alone-{}", COPIES.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&alone)?;
    let copy = alone.join("lasthop");
    // Anew in each run: the last one's may be of an older build.
    let _ = std::fs::remove_file(&copy);
    if std::fs::hard_link(binary()?, &copy).is_err() {
        std::fs::copy(binary()?, &copy)?; // on another file system
    }
    for path in [dir, &alone, &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"])
        .args(["--bounding-set=-all", "--no-new-privs"])
        .arg(copy)
        .args(args)
        .current_dir("/");
    Ok(command)
}

/// The numbers of `lasthop: ready: N probes on M devices`, when the line is there and right.
pub fn ready_line(stderr: &str) -> Option<(u64, u64)> {
    let rest = stderr.lines().find_map(|line| line.strip_prefix("lasthop: ready: "))?;
    let (probes, rest) = rest.split_once(" probes on ")?;
    let devices = rest.strip_suffix(" devices")?;
    Some((probes.parse().ok()?, devices.parse().ok()?))
}

/// A directory of this run that everybody may read.
pub fn scratch(name: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let root = std::env::temp_dir().join("lasthop-tests");
    let dir = root.join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for path in [&root, &dir] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_to_the_letter() {
        let good = "noise\nlasthop: ready: 12 probes on 3 devices\n";
        assert_eq!(ready_line(good), Some((12, 3)));
        for bad in ["", "lasthop: ready", "lasthop: ready: x probes on 3 devices", "ready: 1"] {
            assert_eq!(ready_line(bad), None, "{bad}");
        }
    }
}
