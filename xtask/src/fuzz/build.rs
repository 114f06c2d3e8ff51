//! Builds the fuzz targets with the compiler that builds lasthop, without cargo-fuzz.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages;
use crate::step;
use crate::toolchain::{cargo, say};

/// The flags that `cargo fuzz build --sanitizer none` of cargo-fuzz 0.13 gives: libFuzzer's instrumentation, and
/// the checks that a release build leaves out. The parsers have no unsafe code, in which `AddressSanitizer`
/// would find anything; without it a nightly compiler is not needed, and the same time sees thrice the inputs.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// The names of all targets, in order.
pub(super) fn targets() -> Result<Vec<String>> {
    let folder = crate::root().join("fuzz/fuzz_targets");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_stem()?.to_str()?.to_owned();
        path.extension().is_some_and(|e| e == "rs").then_some(name)
    });
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    Ok(names)
}

/// Builds all of them: they differ by one function, and so it takes no longer than one. The folder with one
/// executable for each.
pub(super) fn build() -> Result<PathBuf> {
    packages::ensure(packages::FUZZER)?;
    let folder = crate::root().join("target/fuzz");
    let about = say(Command::new("rustc").arg("-vV"))?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?;
    let mut build = Command::new(cargo());
    build
        .args(["build", "--release", "--bins", "--manifest-path"])
        .arg(crate::root().join("fuzz/Cargo.toml"))
        // With a target that is named, build scripts and macros are not instrumented.
        .args(["--target", host, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(crate::root());
    step::run("building the fuzz targets", &mut build)?;
    Ok(folder.join(host).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let manifest = std::fs::read_to_string(crate::root().join("fuzz/Cargo.toml"));
        let manifest = manifest.expect("the manifest");
        let targets = targets().expect("targets");
        assert!(!targets.is_empty());
        for target in targets {
            assert!(manifest.contains(&format!("name = \"{target}\"\n")), "{target}");
            let seeds = super::super::run::seeds(&target);
            assert!(seeds.iter().any(|folder| folder.is_dir()), "{target}: {seeds:?}");
        }
    }
}
