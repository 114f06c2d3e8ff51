//! `cargo xtask test`: everything that must hold before a change is taken, in order of cost.

use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::{self, Done};
use crate::toolchain::{Toolchain, cargo, say};
use crate::{Told, ebpf, packages};

/// How much of the failures of unit tests is shown; the rest is in the log.
const SHOWN: usize = 200;

#[derive(clap::Args)]
pub struct Args {
    /// Only one part (format, lint, unit, lint-kernel, system, scenarios), or one scenario by its
    /// name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// What came of a part, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// Something that this machine cannot run; said, never silent.
    fn skipped(what: &str, why: &str) -> Self {
        println!("skipped {what}: {why}");
        Self {
            passed: 0,
            failed: 0,
            skipped: 1,
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// A part of the tests; what it gets is the scenario that was asked for, if one was.
type Part = fn(Option<&str>) -> Result<Count>;

const PARTS: [(&str, Part); 6] = [
    ("format", |_| format()),
    ("lint", |_| lint()),
    ("unit", |_| unit()),
    ("lint-kernel", |_| lint_kernel()),
    ("system", |_| system()),
    ("scenarios", scenarios),
];

pub fn run(args: &Args) -> Result<()> {
    let only = args.only.as_deref();
    let part = only.filter(|name| PARTS.iter().any(|(part, _)| part == name));
    let scenario = if part.is_some() { None } else { only };
    let wanted = part.or(scenario.map(|_| "scenarios"));
    let mut sum = Count::default();
    for (name, part) in PARTS {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        eprintln!("{name}");
        sum += part(scenario).unwrap_or_else(|error| {
            println!("FAILED  {name}: {error:#}");
            Count::FAILED
        });
    }
    println!("{sum}");
    if sum.failed > 0 {
        Err(Told.into())
    } else {
        Ok(())
    }
}

fn in_root(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command.args(arguments).current_dir(crate::root());
    command
}

/// Whether a component of rustup's is there, or could be added.
fn has_component(name: &str, subcommand: &str) -> bool {
    let there = || say(&mut in_root(&[subcommand, "--version"])).is_ok();
    let add = || {
        let mut rustup = Command::new("rustup");
        let title = format!("adding rustup's {name}");
        step::attempt(&title, rustup.args(["component", "add", name])).is_ok()
    };
    there() || (add() && there())
}

fn format() -> Result<Count> {
    if !has_component("rustfmt", "fmt") {
        return Ok(Count::skipped("format", "this Rust has no rustfmt"));
    }
    check(
        "checking the format",
        &mut in_root(&["fmt", "--all", "--check"]),
    )
}

fn lint() -> Result<Count> {
    if !has_component("clippy", "clippy") {
        return Ok(Count::skipped("lint", "this Rust has no clippy"));
    }
    let all = [
        "clippy",
        "--workspace",
        "--exclude",
        "tracer-ebpf",
        "--all-targets",
    ];
    check("linting", in_root(&all).args(["--", "-D", "warnings"]))
}

/// One tool's success is one test.
fn check(title: &str, command: &mut Command) -> Result<Count> {
    let done = step::attempt(title, command)?;
    if done.status.success() {
        return Ok(Count::PASSED);
    }
    step::show_tail(&done);
    Ok(Count::FAILED)
}

fn lint_kernel() -> Result<Count> {
    let toolchain = Toolchain::ensure()?;
    let mut clippy = match toolchain.clippy() {
        Ok(clippy) => clippy,
        Err(error) => return Ok(Count::skipped("lint-kernel", &format!("{error:#}"))),
    };
    clippy
        .arg("--target-dir")
        .arg(crate::root().join("target/ebpf"));
    check(
        "linting the kernel programs",
        clippy.args(["--", "-D", "warnings"]),
    )
}

fn unit() -> Result<Count> {
    cargo_test(
        "running the unit tests",
        &mut in_root(&["test", "--no-fail-fast"]),
    )
}

/// Runs tests that cargo counts.
fn cargo_test(title: &str, command: &mut Command) -> Result<Count> {
    let done = step::attempt(title, command)?;
    let mut count = cargo_counts(&done.text);
    let ran = count.passed + count.failed > 0;
    if !done.status.success() {
        // It may have failed without a test's doing: then nothing was compiled, or a test aborted.
        count.failed = count.failed.max(1);
        show_failures(&done);
    } else if !ran {
        bail!("{title}: there were none; see {}", done.log.display());
    }
    Ok(count)
}

/// Sums the `test result:` lines, one per test executable.
fn cargo_counts(text: &str) -> Count {
    let mut sum = Count::default();
    for line in text
        .lines()
        .filter(|line| line.starts_with("test result: "))
    {
        let number = |kind: &str| -> usize {
            let counted = line
                .split([';', '.'])
                .find_map(|part| part.trim().strip_suffix(kind));
            counted
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or(0)
        };
        sum += Count {
            passed: number("passed"),
            failed: number("failed"),
            skipped: number("ignored"),
        };
    }
    sum
}

/// Shows what failing tests said, or the end of the log where no test got to say anything.
fn show_failures(done: &Done) {
    let mut inside = false;
    let mut shown = 0;
    for line in done.text.lines() {
        inside |= line == "failures:";
        if inside && shown < SHOWN {
            eprintln!("    {line}");
            shown += 1;
        }
        inside &= !line.starts_with("test result:");
    }
    if shown == 0 {
        step::show_tail(done);
    } else {
        eprintln!("    (all of it: {})", done.log.display());
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether tests on this kernel can run at all; what they need is made ready.
fn prepare() -> Result<Option<PathBuf>> {
    if !is_root() {
        return Ok(None);
    }
    packages::ensure(packages::RUN_TIME)?;
    ebpf::build(&Toolchain::ensure()?).map(Some)
}

/// The tests of the harness, which drive the finished binary.
fn system() -> Result<Count> {
    let Some(binary) = prepare()? else {
        return Ok(Count::skipped("system", "needs root"));
    };
    let mut tests = in_root(&["test", "--release", "--no-fail-fast", "--package", "tests"]);
    cargo_test("running the system tests", on(&mut tests, &binary))
}

fn scenarios(only: Option<&str>) -> Result<Count> {
    let Some(binary) = prepare()? else {
        return Ok(Count::skipped(
            "scenarios",
            "network namespaces and probes need root",
        ));
    };
    let mut scenarios = Command::new(harness("scenarios")?);
    let done = step::watch("running the scenarios", on(scenarios.args(only), &binary))?;
    let last = done
        .text
        .lines()
        .rev()
        .find_map(|line| line.parse::<Count>().ok());
    let mut count = last.with_context(|| {
        step::show_tail(&done);
        format!("the scenarios ended with {} and without a sum", done.status)
    })?;
    if !done.status.success() {
        count.failed = count.failed.max(1);
    } else if count.passed == 0 {
        bail!("no scenario ran");
    }
    Ok(count)
}

/// Builds the harness; the path of one of its programs.
pub(crate) fn harness(program: &str) -> Result<PathBuf> {
    let build = [
        "build",
        "--release",
        "--package",
        "tests",
        "--bins",
        "--target-dir",
    ];
    step::run(
        "building the scenarios",
        in_root(&build).arg(crate::root().join("target")),
    )?;
    Ok(crate::root().join("target/release").join(program))
}

/// Points a command of the harness at the binary under test.
fn on<'a>(command: &'a mut Command, binary: &Path) -> &'a mut Command {
    command.env("LASTHOP", binary)
}

impl std::str::FromStr for Count {
    type Err = ();

    /// Reads what `Display` writes.
    fn from_str(line: &str) -> Result<Self, ()> {
        let mut count = Self::default();
        let mut kinds = 0;
        for part in line.trim().split(", ") {
            let (number, kind) = part.split_once(' ').ok_or(())?;
            let place = match kind {
                "passed" => &mut count.passed,
                "failed" => &mut count.failed,
                "skipped" => &mut count.skipped,
                _ => return Err(()),
            };
            *place = number.parse().map_err(drop)?;
            kinds += 1;
        }
        if kinds < 2 { Err(()) } else { Ok(count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_executables_are_summed() {
        let text = "\
running 3 tests
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s
";
        assert_eq!(
            cargo_counts(text),
            Count {
                passed: 13,
                failed: 2,
                skipped: 1
            }
        );
        assert_eq!(cargo_counts("error: could not compile"), Count::default());
    }

    #[test]
    fn a_sum_is_read_as_it_is_written() {
        for (text, count) in [
            (
                "4 passed, 1 failed",
                Count {
                    passed: 4,
                    failed: 1,
                    skipped: 0,
                },
            ),
            (
                "0 passed, 0 failed, 7 skipped",
                Count {
                    passed: 0,
                    failed: 0,
                    skipped: 7,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(count));
            assert_eq!(count.to_string(), text);
        }
        for text in [
            "",
            "4 passed",
            "ok  4 passed, 1 failed",
            "4 passed, x failed",
        ] {
            assert_eq!(text.parse::<Count>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn compile_errors_count_as_a_failure() {
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo 'error: could not compile'; exit 101"]);
        assert_eq!(
            cargo_test("own test: no tests", &mut failing).ok(),
            Some(Count::FAILED)
        );
    }

    #[test]
    fn tests_that_are_not_there_do_not_pass() {
        assert!(cargo_test("own test: empty", &mut Command::new("true")).is_err());
    }
}
