//! Runs fuzz targets, and reads what libFuzzer says in the end.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::Told;

/// How long one input may take, seconds: with more targets than processors each has to wait.
const SLOW: u32 = 20;
/// How much memory one target may have, MiB.
const MEMORY: u32 = 2048;
/// How long inputs get, bytes: enough for a ruleset.
const LONGEST: u32 = 16384;
/// Of targets that do much with each byte: a recording is read, judged and rendered, and one of some lines has
/// all that its reader and the rules tell apart.
const SHORTER: &[(&str, u32)] = &[("recording", 2048)];

/// Real inputs that are kept for other tests and are seeds as well, from the root.
const MORE_SEEDS: &[(&str, &str)] = &[
    ("flow_key", "fuzz/seeds/packet"),
    ("ofproto_trace", "tracer-core/src/ovs/fixtures"),
    ("recording", "tracer-user/tests/recordings"),
];

/// How targets are run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Each.
    pub time: Duration,
    /// So many at a time.
    pub at_once: usize,
    /// What is found goes into `fuzz/corpus`, for the next run to begin with. Otherwise every run
    /// begins with the seeds alone.
    pub keeps: bool,
}

/// How a target's run ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    target: String,
    /// Why it failed, and on what.
    failed: Option<String>,
    figures: Figures,
}

/// What libFuzzer counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    runs: u64,
    runs_a_second: u64,
    /// Edges of the program that were reached.
    covered: u64,
    /// Inputs that are kept, each for something that no other reaches.
    corpus: u64,
    /// MiB.
    memory: u64,
}

impl End {
    pub(super) fn is_failed(&self) -> bool {
        self.failed.is_some()
    }
}

/// Runs targets; each says how it ended as soon as it has.
pub(super) fn all(built: &Path, targets: &[String], limits: Limits) -> Result<Vec<End>> {
    let left: Mutex<VecDeque<&String>> = Mutex::new(targets.iter().collect());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Vec<End>> {
        let mut ends = Vec::new();
        while let Some(target) = next() {
            ends.push(one(built, target, limits)?);
        }
        Ok(ends)
    };
    let ends: Result<Vec<Vec<End>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..limits.at_once).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|end| end.unwrap_or_else(|_| bail!("a target's thread ended"))).collect()
    });
    let mut ends = ends?.concat();
    ends.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(ends)
}

/// Where a target's seeds are.
pub(super) fn seeds(target: &str) -> Vec<PathBuf> {
    let more = MORE_SEEDS.iter().filter(|(of, _)| *of == target).map(|(_, folder)| *folder);
    let own = format!("fuzz/seeds/{target}");
    let all = std::iter::once(own.as_str()).chain(more).map(|folder| crate::root().join(folder));
    all.filter(|folder| folder.is_dir()).collect()
}

fn one(built: &Path, target: &str, limits: Limits) -> Result<End> {
    let corpus = if limits.keeps {
        crate::root().join("fuzz/corpus").join(target)
    } else {
        let scratch = crate::root().join("target/fuzz/corpus").join(target);
        let _ = fs::remove_dir_all(&scratch);
        scratch
    };
    let artifacts = crate::root().join("fuzz/artifacts").join(target);
    let log = crate::root().join("target/xtask").join(format!("fuzz-{target}.log"));
    for folder in [&corpus, &artifacts, &log.with_file_name("")] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let shorter = SHORTER.iter().find(|(name, _)| *name == target);
    let longest = shorter.map_or(LONGEST, |(_, longest)| *longest);
    let mut command = fuzzer(built, target);
    command
        .arg(format!("-max_total_time={}", limits.time.as_secs().max(1)))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([format!("-max_len={longest}"), "-print_final_stats=1".to_owned()])
        .arg(corpus)
        .args(seeds(target));
    let words = crate::root().join("fuzz/dictionaries").join(target);
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().with_context(|| format!("cannot run {target}"))?;
    // It quotes inputs, which need not be UTF-8.
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let end = End {
        target: target.to_owned(),
        failed: failure(status, &said),
        figures: Figures::read(&said),
    };
    end.tell(&log);
    Ok(end)
}

/// A target with the limits that hold for a single input, too.
fn fuzzer(built: &Path, target: &str) -> Command {
    let mut command = Command::new(built.join(target));
    command.args([format!("-timeout={SLOW}"), format!("-rss_limit_mb={MEMORY}")]);
    command.current_dir(crate::root());
    command
}

/// Runs a target on one input and shows what it says.
pub(super) fn once(built: &Path, target: &str, input: &Path) -> Result<()> {
    ensure!(input.is_file(), "{} is no file", input.display());
    let input = input.canonicalize()?;
    let status = fuzzer(built, target).arg(input).env("RUST_BACKTRACE", "1").status()?;
    if status.success() { Ok(()) } else { Err(Told.into()) }
}

impl End {
    /// What it is called among tests.
    pub(super) fn name(&self) -> String {
        format!("fuzz {}", self.target)
    }

    fn tell(&self, log: &Path) {
        match &self.failed {
            None => println!(
                "    ok      {} ({} runs, {}/s)",
                self.target, self.figures.runs, self.figures.runs_a_second
            ),
            Some(why) => {
                println!("    FAILED  {}: {why} (all of it: {})", self.target, log.display());
            }
        }
    }
}

/// Why a target failed and how to see it again; `None` where it did not.
fn failure(status: ExitStatus, said: &str) -> Option<String> {
    if status.success() {
        return None;
    }
    let mut lines = said.lines();
    // A panic's message is on the line behind that which says where.
    let panic = lines.by_ref().find(|line| line.contains("panicked at "));
    let why = if let Some(place) = panic {
        let message = lines.next().unwrap_or_default();
        format!("{} {message}", place.split("panicked at ").last().unwrap_or(place))
    } else {
        let error = said.lines().find_map(|line| line.split_once("ERROR: "));
        error.map_or_else(|| format!("it ended with {status}"), |(_, what)| what.to_owned())
    };
    let input = said.lines().find_map(|line| line.split_once("Test unit written to "));
    Some(match input {
        Some((_, input)) => {
            let target = Path::new(input).parent().and_then(Path::file_name);
            let target = target.unwrap_or_default().to_string_lossy();
            format!("{why}; again: cargo xtask fuzz {target} {input}")
        }
        None => why,
    })
}

impl Figures {
    /// From `-print_final_stats=1`, and the last line that tells of coverage:
    /// `#4096 DONE cov: 812 ft: 2044 corp: 96/12Kb …`.
    fn read(said: &str) -> Self {
        let stat = |name: &str| {
            let value = said.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        let last = said.lines().rfind(|line| line.starts_with('#') && line.contains(" corp: "));
        let after = |name: &str| -> u64 {
            let rest = last.and_then(|line| line.split_once(name)).map_or("", |(_, rest)| rest);
            let number = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next();
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        Self {
            runs: stat("stat::number_of_executed_units:"),
            runs_a_second: stat("stat::average_exec_per_sec:"),
            covered: after(" cov: "),
            corpus: after(" corp: "),
            memory: stat("stat::peak_rss_mb:"),
        }
    }
}

/// The figures of all targets.
pub(super) fn table(ends: &[End]) -> String {
    let mut text = format!(
        "{:<16} {:>12} {:>8} {:>8} {:>8} {:>5}  \n",
        "target", "runs", "runs/s", "covered", "corpus", "MiB"
    );
    for End { target, failed, figures: f } in ends {
        let outcome = if failed.is_some() { "FAILED" } else { "ok" };
        let _ = writeln!(
            text,
            "{target:<16} {:>12} {:>8} {:>8} {:>8} {:>5}  {outcome}",
            f.runs, f.runs_a_second, f.covered, f.corpus, f.memory
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn what_libfuzzer_counted() {
        let said = "#2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #4096\tDONE   cov: 812 ft: 2044 corp: 96/12Kb lim: 4096 exec/s: 2048 rss: 90Mb\n\
            Done 4096 runs in 2 second(s)\n\
            stat::number_of_executed_units: 4096\nstat::average_exec_per_sec:     2048\n\
            stat::peak_rss_mb:              90\n";
        let figures =
            Figures { runs: 4096, runs_a_second: 2048, covered: 812, corpus: 96, memory: 90 };
        assert_eq!(Figures::read(said), figures);
        assert_eq!(Figures::read(""), Figures::default());
    }

    #[test]
    fn a_failure_says_why_on_what_and_how_to_see_it_again() {
        let said = "thread '<unnamed>' (7) panicked at src/a.rs:3:5:\nattempt to negate\n\
            ==7== ERROR: libFuzzer: deadly signal\n\
            artifact_prefix='/x/fuzz/artifacts/nft/'; Test unit written to /x/fuzz/artifacts/nft/crash-1\n";
        let ended = ExitStatus::from_raw(77 << 8);
        let why = failure(ended, said).expect("it failed");
        assert_eq!(
            why,
            "src/a.rs:3:5: attempt to negate; again: cargo xtask fuzz nft /x/fuzz/artifacts/nft/crash-1"
        );
        let slow = "==7== ERROR: libFuzzer: timeout after 20 seconds\n";
        assert_eq!(failure(ended, slow).as_deref(), Some("libFuzzer: timeout after 20 seconds"));
        assert_eq!(failure(ExitStatus::from_raw(0), said), None);
        assert!(failure(ended, "").is_some());
    }
}
