//! `cargo xtask test`: everything that must hold before a change is taken, in order of cost.

mod count;
pub(crate) mod guests;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub(crate) use self::count::Count;
use self::count::{cargo_counts, scenario_failures};
use crate::step::{self, Done};
use crate::toolchain::{Toolchain, cargo, say};
use crate::{Told, deny, ebpf, fuzz, packages};

/// How much of the failures of unit tests is shown; the rest is in the log.
const SHOWN: usize = 200;

#[derive(clap::Args)]
pub struct Args {
    /// Only one part (format, lint, unit, lint-kernel, deny, fuzz, system, scenarios, guests), or
    /// one scenario by its name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// The harness's own profile, and the folder of `target` that it is built into.
const HARNESS: &str = "harness";

/// What the parts have in common.
#[derive(Default)]
struct Common {
    /// The scenario that was asked for, if one was.
    scenario: Option<String>,
    toolchain: Option<Toolchain>,
    binary: Option<PathBuf>,
}

impl Common {
    /// Found once, for the parts that need it.
    fn toolchain(&mut self) -> Result<&Toolchain> {
        if self.toolchain.is_none() {
            self.toolchain = Some(Toolchain::ensure()?);
        }
        self.toolchain.as_ref().context("no toolchain")
    }

    /// The binary under test, built once, with all that its tests run; `None` without the rights to
    /// make network namespaces and attach programs.
    fn binary(&mut self) -> Result<Option<PathBuf>> {
        if self.binary.is_none() && nix::unistd::geteuid().is_root() {
            packages::ensure(packages::RUN_TIME)?;
            self.binary = Some(ebpf::build(self.toolchain()?)?);
        }
        Ok(self.binary.clone())
    }
}

type Part = fn(&mut Common) -> Result<Count>;

const PARTS: [(&str, Part); 9] = [
    ("format", |_| format()),
    ("lint", |_| lint()),
    ("unit", |_| unit()),
    ("lint-kernel", lint_kernel),
    ("deny", |_| deny::part()),
    ("fuzz", |_| fuzz::part()),
    ("system", system),
    ("scenarios", scenarios),
    ("guests", guests),
];

pub fn run(args: &Args) -> Result<()> {
    let only = args.only.as_deref();
    let part = only.filter(|name| PARTS.iter().any(|(part, _)| part == name));
    let scenario = if part.is_some() { None } else { only };
    let wanted = part.or(scenario.map(part_of));
    let mut common = Common { scenario: scenario.map(str::to_owned), ..Common::default() };
    let mut sum = Count::default();
    for (name, part) in PARTS {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        eprintln!("{name}");
        sum += part(&mut common).unwrap_or_else(|error| {
            println!("FAILED  {name}: {error:#}");
            Count::failure(name)
        });
    }
    for failure in &sum.failures {
        println!("failed: {failure}");
    }
    println!("{sum}");
    if sum.failed > 0 { Err(Told.into()) } else { Ok(()) }
}

/// Which part runs a scenario: it says itself whether it needs a guest.
fn part_of(scenario: &str) -> &'static str {
    let name = scenario.split('/').next().unwrap_or(scenario);
    let file = crate::root().join("tests/scenarios").join(name).join("scenario.toml");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if text.lines().any(|line| line.starts_with("kernels")) { "guests" } else { "scenarios" }
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
        &mut in_root(&["fmt", "--all", "--check", "--", "--color", "never"]),
    )
}

fn lint() -> Result<Count> {
    if !has_component("clippy", "clippy") {
        return Ok(Count::skipped("lint", "this Rust has no clippy"));
    }
    let all = ["clippy", "--workspace", "--exclude", "tracer-ebpf", "--all-targets"];
    check("linting", in_root(&all).args(["--", "-D", "warnings"]))
}

/// One tool's success is one test.
fn check(title: &str, command: &mut Command) -> Result<Count> {
    let done = step::attempt(title, command)?;
    if done.status.success() {
        return Ok(Count::PASSED);
    }
    step::show_tail(&done);
    Ok(Count::failure(title))
}

fn lint_kernel(common: &mut Common) -> Result<Count> {
    let mut clippy = match common.toolchain()?.clippy() {
        Ok(clippy) => clippy,
        Err(error) => return Ok(Count::skipped("lint-kernel", &format!("{error:#}"))),
    };
    clippy.arg("--target-dir").arg(crate::root().join("target/ebpf"));
    check("linting the kernel programs", clippy.args(["--", "-D", "warnings"]))
}

fn unit() -> Result<Count> {
    cargo_test("running the unit tests", &mut in_root(&["test", "--no-fail-fast"]))
}

/// Runs tests that cargo counts.
fn cargo_test(title: &str, command: &mut Command) -> Result<Count> {
    let done = step::attempt(title, command)?;
    let mut count = cargo_counts(&done.text);
    let ran = count.passed + count.failed > 0;
    if !done.status.success() {
        if count.failed == 0 {
            // It failed without a test's doing: nothing was compiled, or a test aborted.
            count += Count::failure(title);
        }
        show_failures(&done);
    } else if !ran {
        bail!("{title}: there were none; see {}", done.log.display());
    }
    Ok(count)
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

/// The tests of the harness, which drive the finished binary.
fn system(common: &mut Common) -> Result<Count> {
    let Some(binary) = common.binary()? else {
        return Ok(Count::skipped("system", "needs root"));
    };
    let mut tests = in_root(&["test", "--no-fail-fast", "--package", "tests"]);
    tests.args(["--profile", HARNESS, "--target-dir"]).arg(crate::root().join("target"));
    cargo_test("running the system tests", on(&mut tests, &binary))
}

fn scenarios(common: &mut Common) -> Result<Count> {
    let Some(binary) = common.binary()? else {
        return Ok(Count::skipped("scenarios", "network namespaces and probes need root"));
    };
    let mut scenarios = Command::new(harness("scenarios")?);
    let done = step::watch("running the scenarios", on(scenarios.args(&common.scenario), &binary))?;
    let last = done.text.lines().rev().find_map(|line| line.parse::<Count>().ok());
    let mut count = last.with_context(|| {
        step::show_tail(&done);
        format!("the scenarios ended with {} and without a sum", done.status)
    })?;
    count.failures = scenario_failures(&done.text);
    if !done.status.success() && count.failed == 0 {
        count += Count::failure("scenarios");
    } else if count.passed == 0 {
        bail!("no scenario ran");
    }
    Ok(count)
}

fn guests(common: &mut Common) -> Result<Count> {
    let Some(binary) = common.binary()? else {
        return Ok(Count::skipped("guests", "their files belong to root"));
    };
    packages::ensure_idle(packages::OPEN_VSWITCH)?;
    guests::run(&binary, common.scenario.as_deref())
}

/// Builds the harness; the path of one of its programs.
pub(crate) fn harness(program: &str) -> Result<PathBuf> {
    step::run("building the scenarios", &mut build_harness(HARNESS))?;
    Ok(harness_folder().join(program))
}

/// Builds the harness while other things are done, such as linking lasthop, which takes one processor;
/// to be waited for.
pub(crate) fn harness_meanwhile() -> Result<step::Behind> {
    step::behind("building the scenarios", build_harness(HARNESS))
}

/// Where the harness's programs are.
pub(crate) fn harness_folder() -> PathBuf {
    crate::root().join("target").join(HARNESS)
}

/// The harness with the product's profile: where its traffic is part of what is measured.
pub(crate) fn fast_harness(program: &str) -> Result<PathBuf> {
    step::run("building the traffic program", &mut build_harness("release"))?;
    Ok(crate::root().join("target/release").join(program))
}

fn build_harness(profile: &str) -> Command {
    let mut cargo = in_root(&["build", "--profile", profile, "--package", "tests", "--bins"]);
    cargo.arg("--target-dir").arg(crate::root().join("target"));
    cargo
}

/// Points a command of the harness at the binary under test.
fn on<'a>(command: &'a mut Command, binary: &Path) -> &'a mut Command {
    command.env("LASTHOP", binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compile_errors_count_as_a_failure() {
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo 'error: could not compile'; exit 101"]);
        let title = "own test: no tests";
        assert_eq!(cargo_test(title, &mut failing).ok(), Some(Count::failure(title)));
    }

    #[test]
    fn tests_that_are_not_there_do_not_pass() {
        assert!(cargo_test("own test: empty", &mut Command::new("true")).is_err());
    }
}
