//! Builds the BPF object, and the binary that carries it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step;
use crate::toolchain::{TARGET, Toolchain, cargo};

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    let binary = build(&Toolchain::ensure()?)?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds `target/release/lasthop` with its kernel programs inside; its path.
pub fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let object = object(toolchain)?;
    let mut cargo = Command::new(cargo());
    cargo
        .args(["build", "--release", "--package", "tracer-user", "--target-dir"])
        .arg(crate::root().join("target"))
        .current_dir(crate::root())
        // Read by tracer-user/build.rs.
        .env("LASTHOP_BPF_OBJECT", &object)
        .env_remove("CARGO_BUILD_TARGET");
    step::run("building lasthop", &mut cargo)?;
    Ok(crate::root().join("target/release/lasthop"))
}

/// Builds the kernel programs; the path of the object.
fn object(toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = crate::root().join("target/ebpf");
    step::run("building the kernel programs", toolchain.build().arg("--target-dir").arg(&folder))?;
    let object = folder.join(TARGET).join("release/tracer-ebpf");
    let bytes = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    // A linker that silently leaves the types out would only be noticed when the object is loaded.
    for section in [".BTF", ".BTF.ext"] {
        // Names end with a NUL; what is before one may be `.rel`, whose tail it then shares.
        let name = format!("{section}\0");
        let found = bytes.windows(name.len()).any(|window| window == name.as_bytes());
        ensure!(found, "{} has no {section} section", object.display());
    }
    Ok(object)
}
