//! `cargo xtask demo`: builds everything and shows one scenario, broken and whole.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::toolchain::Toolchain;
use crate::{ebpf, packages, test};

#[derive(clap::Args)]
pub struct Args {
    /// Which scenario, as `NAME/ipv4` or `NAME/ipv6`.
    #[arg(default_value = "nft-drop/ipv4")]
    scenario: String,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the demo makes network namespaces and attaches programs to the kernel: run it as root"
    );
    let harness = test::harness_meanwhile()?;
    packages::ensure(packages::RUN_TIME)?;
    let binary = ebpf::build(&Toolchain::ensure()?)?;
    harness.wait()?;
    let demo = test::harness_folder().join("demo");
    eprintln!();
    // In this process's place: a signal meant for it reaches the one that has to clean up.
    let error = Command::new(&demo).arg(&args.scenario).env("LASTHOP", binary).exec();
    Err(error).with_context(|| format!("cannot run {}", demo.display()))
}
