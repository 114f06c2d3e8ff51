//! Builds, installs and runs lasthop: `cargo xtask COMMAND`.
mod bench;
mod demo;
mod deny;
mod ebpf;
mod fuzz;
mod linker;
mod packages;
mod scenario;
mod step;
mod test;
mod toolchain;
mod tools;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests and shows lasthop")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build target/release/lasthop with its kernel programs inside.
    Build(ebpf::Args),
    /// Break a small topology and let lasthop say where the packet died.
    Demo(demo::Args),
    /// Install what is missing and pass all tests.
    Test(test::Args),
    /// Fuzz what reads text and bytes of others.
    Fuzz(fuzz::Args),
    /// Measure what tracing costs.
    Bench(bench::Args),
    /// Run one scenario, broken and whole, here or under another kernel.
    Scenario(scenario::Args),
    /// Run a command under another kernel, in a virtual machine.
    Vm(vm::Args),
}

/// The checkout that this xtask was built from.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A failure of which everything has been said already.
#[derive(Debug)]
pub(crate) struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Told {}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Build(args) => ebpf::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Vm(args) => vm::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Told>() => ExitCode::FAILURE,
        Err(error) => {
            // Without the backtrace that anyhow adds to `{:?}`: it shows xtask, not the cause.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
