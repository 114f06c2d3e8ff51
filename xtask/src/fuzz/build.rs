//! Builds the fuzz targets, with a nightly compiler and without cargo-fuzz.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages;
use crate::step;
use crate::toolchain::{rustup_run, say};

/// The flags that cargo-fuzz 0.13 gives: libFuzzer's instrumentation, `AddressSanitizer`, and the
/// checks that a release build leaves out. cargo-fuzz's `-Z build-std` is not among them, so that the
/// compiler's sources need not be there; the standard library is then not instrumented.
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
    "-Zsanitizer=address",
];

/// What came of the building.
pub(super) enum Built {
    /// The folder with one executable for each target.
    At(PathBuf),
    /// This machine cannot build them.
    Not(String),
}

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

/// Builds all of them: they differ by one function, and so it takes no longer than one.
pub(super) fn build() -> Result<Built> {
    let Some((toolchain, host)) = nightly() else {
        let why = "the fuzz targets need a nightly compiler (sanitizers): rustup toolchain install nightly";
        return Ok(Built::Not(why.to_owned()));
    };
    packages::ensure(packages::FUZZER)?;
    let folder = crate::root().join("target/fuzz");
    let mut cargo = rustup_run(&toolchain, "cargo");
    cargo
        .args(["build", "--release", "--bins", "--manifest-path"])
        .arg(crate::root().join("fuzz/Cargo.toml"))
        // With a target that is named, build scripts and macros are not instrumented.
        .args(["--target", &host, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(crate::root());
    step::run(&format!("building the fuzz targets with {toolchain}"), &mut cargo)?;
    Ok(Built::At(folder.join(host).join("release")))
}

/// The first of rustup's nightlies that has the sanitizer for its own host; its name and that host.
fn nightly() -> Option<(String, String)> {
    let listed = say(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).find_map(|name| {
        let about = say(rustup_run(name, "rustc").arg("-vV")).ok()?;
        let host = about.lines().find_map(|line| line.strip_prefix("host: "))?;
        let libraries = say(rustup_run(name, "rustc").args(["--print", "target-libdir"])).ok()?;
        has_sanitizer(Path::new(libraries.trim())).then(|| (name.to_owned(), host.to_owned()))
    })
}

fn has_sanitizer(libraries: &Path) -> bool {
    std::fs::read_dir(libraries).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
        })
    })
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
