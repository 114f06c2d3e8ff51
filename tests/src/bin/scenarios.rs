//! Runs the scenarios of `tests/scenarios/` against the finished binary on this machine's kernel.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use tests::report::{self, Report};
use tests::scenario::{self, Scenario};
use tests::standing::Twin;
use tests::{machine, trial};

#[derive(Parser)]
#[command(about = "Reproduces packet deaths and checks what lasthop says about them")]
struct Cli {
    /// Only these: NAME or NAME/ipv4 or NAME/ipv6. All when none is given.
    names: Vec<String>,
    /// Print what there is and run nothing.
    #[arg(long)]
    list: bool,
    /// Run without lasthop and print what the kernel itself says that it dropped.
    #[arg(long)]
    observe: bool,
    /// Only those that are for a guest with this kernel (`6.1`); without names and this, those for
    /// this machine's own kernel are run.
    #[arg(long)]
    kernel: Option<String>,
    /// Copy each recording and each log to this folder.
    #[arg(long)]
    records: Option<PathBuf>,
    /// Folder of the scenarios.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
    folder: PathBuf,
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|e| {
        eprintln!("scenarios: {e:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let chosen = choose(scenario::all(&cli.folder)?, cli)?;
    if cli.list {
        let mut out = std::io::stdout().lock();
        for scenario in &chosen {
            writeln!(out, "{:28} {}\n{:28} {}", scenario.name, scenario.title, "", scenario.why)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !machine::is_root() {
        bail!("network namespaces and probes need root: run it as root");
    }
    let _turn = machine::take_turn()?;
    if cli.observe {
        for scenario in &chosen {
            observe(scenario);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    for scenario in &chosen {
        if let Some(reason) = trial::obstacle(scenario) {
            let skipped = report::Result::Skipped(reason);
            report.add(&scenario.name, &skipped, std::time::Duration::ZERO);
            continue;
        }
        for (name, result, took) in trial::try_scenario(scenario) {
            report.add(&name, &result, took);
            if let Some(folder) = &cli.records {
                trial::keep_record(&name, folder)?;
            }
        }
    }
    Ok(if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn choose(all: Vec<Scenario>, cli: &Cli) -> Result<Vec<Scenario>> {
    let names = &cli.names;
    let is_named = |scenario: &Scenario, name: &str| {
        scenario.name == name || scenario.name.split('/').next() == Some(name)
    };
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|s| is_named(s, name))) {
        bail!("no scenario is called {unknown:?}; --list names them");
    }
    let wanted = |s: &Scenario| match &cli.kernel {
        Some(kernel) => {
            s.kernels.contains(kernel)
                && (names.is_empty() || names.iter().any(|name| is_named(s, name)))
        }
        None if names.is_empty() => cli.list || s.kernels.is_empty(),
        None => names.iter().any(|name| is_named(s, name)),
    };
    Ok(all.into_iter().filter(wanted).collect())
}

fn observe(scenario: &Scenario) {
    for twin in [Twin::Faulty, Twin::Healthy] {
        match trial::observe(scenario, twin) {
            Ok(text) => println!("{} {}\n{text}\n", scenario.name, twin.name()),
            Err(e) => println!("{} {}\n{e:#}\n", scenario.name, twin.name()),
        }
    }
}
