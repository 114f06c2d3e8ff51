//! Shows one scenario to a person: the fault, what lasthop says about it, and the same without it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use tests::scenario::{self, Scenario};
use tests::standing::{Standing, Twin};
use tests::{lasthop, machine, trial};

#[derive(Parser)]
#[command(about = "Shows one scenario: broken, traced, explained; then whole")]
struct Cli {
    /// NAME/ipv4 or NAME/ipv6, or NAME for the first of them.
    #[arg(default_value = "nft-drop/ipv4")]
    name: String,
    /// Leave the broken topology standing, with a shell in it, until that ends.
    #[arg(long)]
    keep: bool,
    /// Folder of the scenarios.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let all = scenario::all(&cli.folder)?;
    let scenario = all
        .iter()
        .find(|scenario| {
            scenario.name == cli.name || scenario.name.split('/').next() == Some(&cli.name)
        })
        .with_context(|| format!("no scenario is called {:?}", cli.name))?;
    if let Some(reason) = trial::obstacle(scenario) {
        bail!("{}: {reason}", scenario.name);
    }
    let interrupted = interruption()?;
    let _turn = machine::take_turn()?;
    println!("{}", scenario.title);
    println!("{}\n", scenario.why.trim_end());
    if cli.keep {
        return keep(scenario);
    }
    if let Some(faulty) = &scenario.faulty {
        let status = show_faulty(scenario)?;
        check(&interrupted)?;
        println!("\nexit status {}", told(status));
        let (wanted, got) = (faulty.exit, status.code());
        ensure!(got == Some(wanted), "the exit status should have been {wanted}");
    }
    println!("\nThe same without the fault:");
    let (status, verdicts) = healthy(scenario)?;
    check(&interrupted)?;
    for verdict in &verdicts {
        println!("{verdict}");
    }
    println!("exit status {}", told(status));
    let wanted = scenario.healthy.exit;
    ensure!(status.code() == Some(wanted), "the exit status should have been {wanted}");
    Ok(())
}

/// Set by a signal that wants this to end. The processes it runs are in the same foreground group,
/// so Ctrl-C ends them too, and each is bounded in time; what remains is to take the topology down.
fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

fn check(interrupted: &AtomicBool) -> Result<()> {
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted; everything was taken down");
    Ok(())
}

fn told(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| code.to_string())
}

fn show_faulty(scenario: &Scenario) -> Result<ExitStatus> {
    traced(scenario, &Standing::up(scenario, &lasthop::scratch("demo")?, Twin::Faulty)?)
}

/// The broken topology, traced once and then left to a person.
fn keep(scenario: &Scenario) -> Result<()> {
    let twin = if scenario.faulty.is_some() { Twin::Faulty } else { Twin::Healthy };
    let standing = Standing::up(scenario, &lasthop::scratch("demo")?, twin)?;
    println!("\nexit status {}", told(traced(scenario, &standing)?));
    println!(
        "\nThis is the {} topology: `ip netns` names its namespaces, ovs-vsctl and the like find its\n\
         Open vSwitch, $LASTHOP is lasthop, {} is the traffic. Everything goes when this shell ends.",
        twin.name(),
        short(&scenario.folder.join("traffic.sh")),
    );
    std::io::stdout().flush()?;
    let mut shell = Command::new(machine::command("bash").unwrap_or_else(|| "sh".into()));
    standing.environment(shell.env("LASTHOP", lasthop::binary()?))?;
    // How it ends is the person's affair.
    shell.status().context("no shell")?;
    Ok(())
}

fn traced(scenario: &Scenario, standing: &Standing) -> Result<ExitStatus> {
    let mut options = String::new();
    for option in &scenario.options {
        options.push(' ');
        options.push_str(option);
    }
    let traffic = short(&scenario.folder.join("traffic.sh"));
    println!("$ lasthop trace '{}' --exit-code{options} -- {traffic}", scenario.filter);
    std::io::stdout().flush()?;
    Ok(standing.trace(&[])?.stdin(Stdio::null()).status()?)
}

/// The verdicts' sentences of the healthy twin.
fn healthy(scenario: &Scenario) -> Result<(ExitStatus, Vec<String>)> {
    let standing = Standing::up(scenario, &lasthop::scratch("demo")?, Twin::Healthy)?;
    let output = standing.trace(&["--json"])?.stdin(Stdio::null()).output()?;
    if output.stdout.is_empty() {
        std::io::stderr().write_all(&output.stderr)?;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let verdicts = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record["type"] == "verdict")
        .filter_map(|verdict| verdict["text"].as_str().map(str::to_owned))
        .collect();
    Ok((output.status, verdicts))
}

/// The path as somebody in the checkout would type it.
fn short(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let short = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
    short.display().to_string()
}
