//! `cargo xtask scenario NAME`: one scenario, broken and whole, here or under another kernel.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::toolchain::Toolchain;
use crate::vm::{self, End, Machine};
use crate::{ebpf, packages, test};

/// For both twins, the start of an emulated machine included.
const LIMIT: Duration = Duration::from_mins(10);
/// For a person who looks around.
const KEEP: Duration = Duration::from_hours(8);

#[derive(clap::Args)]
pub struct Args {
    /// Which, as NAME, `NAME/ipv4` or `NAME/ipv6`; `tests/scenarios` has them.
    name: String,
    /// Run it under one of Debian's kernels, in a virtual machine.
    #[arg(long, value_enum)]
    kernel: Option<vm::Name>,
    /// Leave the broken topology standing after the trace, with a shell to look around.
    #[arg(long)]
    keep: bool,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "scenarios make network namespaces and attach programs to the kernel: run it as root"
    );
    packages::ensure(packages::RUN_TIME)?;
    packages::ensure_idle(packages::OPEN_VSWITCH)?;
    let harness = test::harness_meanwhile()?;
    let binary = ebpf::build(&Toolchain::ensure()?)?;
    harness.wait()?;
    let demo = test::harness_folder().join("demo");
    eprintln!();
    if let Some(kernel) = args.kernel {
        return in_guest(args, kernel, &binary);
    }
    // In this process's place: a signal meant for it reaches the one that has to clean up.
    let mut command = Command::new(&demo);
    let error = command.arg(&args.name).args(keep(args)).env("LASTHOP", binary).exec();
    Err(error).with_context(|| format!("cannot run {}", demo.display()))
}

fn keep(args: &Args) -> Option<&'static str> {
    args.keep.then_some("--keep")
}

fn in_guest(args: &Args, kernel: vm::Name, binary: &Path) -> Result<()> {
    let machine = Machine {
        kernel,
        timeout: if args.keep { KEEP } else { LIMIT },
        cpus: 2,
        memory: "2G".to_owned(),
        icount: false,
    };
    let mut command = test::guests::program("demo", binary);
    command.extend([OsString::from(&args.name)]);
    command.extend(keep(args).map(OsString::from));
    let end = if args.keep {
        machine.run_on_terminal(&command)?
    } else {
        machine.run(&command, &mut std::io::stdout(), &mut std::io::stderr())?
    };
    match end {
        End::Exited(0) => Ok(()),
        End::Exited(status) => std::process::exit(i32::from(status)),
        End::TimedOut => anyhow::bail!("the time limit of {} s is over", machine.timeout.as_secs()),
    }
}
