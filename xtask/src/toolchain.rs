//! Finds, or installs, a Rust compiler that can compile for BPF.
//!
//! There are two: rustup's nightly, when it has the standard library's sources to build `core`
//! from, and Debian's rustc, which comes with a compiled `core` for BPF.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::{linker, packages, step};

/// The target triple of the kernel programs: BPF has the byte order of its host.
pub(crate) const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// What compiles the kernel programs, and what links them.
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

struct Compiler {
    source: Source,
    /// Its release, as `rustc -vV` says it.
    release: Version,
    /// Of the LLVM inside it: what it writes, the linker must be able to read.
    llvm: Version,
}

enum Source {
    /// A toolchain of rustup's, by name, with the sources of `core`.
    Rustup(String),
    /// Debian's, with a compiled `core` for BPF.
    Debian,
}

/// Major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub major: u32,
    pub minor: u32,
}

impl FromStr for Version {
    type Err = anyhow::Error;

    /// Reads `22.1.8`, `1.97.0-nightly`, `0.13`.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.trim().split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next().unwrap_or_default().parse();
        let (major, minor) = (number(), number());
        major
            .and_then(|major| Ok(Self { major, minor: minor? }))
            .with_context(|| format!("not a version: {text:?}"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Rustup(name) => write!(f, "rustup's {name}")?,
            Source::Debian => write!(f, "Debian's rustc")?,
        }
        write!(f, " {} (LLVM {})", self.release, self.llvm)
    }
}

impl Toolchain {
    /// What this machine has, or can be given.
    pub(crate) fn ensure() -> Result<Self> {
        let compiler = match nightly().or_else(debian) {
            Some(compiler) => compiler,
            None => install()?,
        };
        let linker = linker::ensure(compiler.llvm)?;
        step::note(&format!("kernel programs: {compiler}, linked by {}", linker.display()));
        Ok(Self { compiler, linker })
    }

    /// `cargo build` for the BPF target.
    pub(crate) fn build(&self) -> Command {
        let mut cargo = match &self.compiler.source {
            Source::Rustup(name) => rustup_run(name, "cargo"),
            Source::Debian => Command::new(cargo()),
        };
        cargo.arg("build");
        self.aim(&mut cargo);
        // The linker makes one unit of it; rustc is not to do so before.
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
        // Nor several units, whoever asks for them to build faster: the verifier refuses what comes of it
        // (6.18: "cannot return stack pointer to the caller").
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
        cargo.env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false");
        cargo
    }

    /// `cargo clippy` for the BPF target, or why there is none. Clippy must be of the compiler's own
    /// release to read its `core`.
    pub(crate) fn clippy(&self) -> Result<Command> {
        let mut clippy = match &self.compiler.source {
            Source::Rustup(name) => {
                say(rustup_run(name, "cargo").args(["clippy", "--version"])).with_context(
                    || {
                        format!(
                            "{name} has no clippy: rustup component add clippy --toolchain {name}"
                        )
                    },
                )?;
                rustup_run(name, "cargo")
            }
            Source::Debian => {
                packages::ensure(packages::LINTER)?;
                let mut clippy = Command::new(DEBIAN_CLIPPY);
                clippy.env("CARGO", cargo());
                clippy
            }
        };
        clippy.arg("clippy");
        self.aim(&mut clippy);
        Ok(clippy)
    }

    /// Aims a cargo command at BPF.
    fn aim(&self, cargo: &mut Command) {
        // `--btf` keeps the types that aya needs, which the compiler only writes with full debug
        // information. Encoded flags take precedence over the user's RUSTFLAGS, which are for the host.
        let flags =
            format!("-Clinker={}\u{1f}-Clink-arg=--btf\u{1f}-Cdebuginfo=2", self.linker.display());
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        cargo.args(["--release", "--target", TARGET, "--package", "tracer-ebpf"]);
        cargo.current_dir(crate::root());
        match &self.compiler.source {
            Source::Rustup(_) => {
                cargo.args(["-Z", "build-std=core"]);
            }
            Source::Debian => {
                // aya-ebpf uses features that are unstable for this target.
                cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                // Set by rustup's proxies for their own compiler's libraries.
                cargo.env_remove("LD_LIBRARY_PATH");
            }
        }
    }
}

/// The cargo that runs this xtask.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A tool of one of rustup's toolchains, with nothing of the toolchain that runs this xtask.
fn rustup_run(toolchain: &str, tool: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, tool]);
    for inherited in ["CARGO", "RUSTC", "RUSTDOC", "LD_LIBRARY_PATH"] {
        command.env_remove(inherited);
    }
    command
}

/// Standard output of a command that succeeds.
pub(crate) fn say(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first of rustup's nightlies that can build `core` and whose output a linker can read.
fn nightly() -> Option<Compiler> {
    let listed = say(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).find_map(|name| {
        let sysroot = say(rustup_run(name, "rustc").args(["--print", "sysroot"])).ok()?;
        if !has_sources(Path::new(sysroot.trim())) {
            step::note(&format!("rustup's {name} has no rust-src: passed over"));
            return None;
        }
        let compiler = ask(Source::Rustup(name.to_owned()), &mut rustup_run(name, "rustc"))?;
        if !linker::reads(compiler.llvm) {
            step::note(&format!("{compiler} is too new for bpf-linker here: passed over"));
            return None;
        }
        Some(compiler)
    })
}

/// A toolchain may be installed without the component; only the files tell.
fn has_sources(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib/src/rust/library");
    library.join("core/src/lib.rs").is_file() && library.join("Cargo.lock").is_file()
}

/// Debian's compiler, when it is there with its `core` for BPF.
fn debian() -> Option<Compiler> {
    let libraries = say(Command::new(DEBIAN_RUSTC)
        .args(["--print", "target-libdir", "--target", TARGET])
        .env_remove("LD_LIBRARY_PATH"))
    .ok()?;
    let has_core = fs::read_dir(libraries.trim()).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libcore-")))
    });
    if !has_core {
        return None;
    }
    let compiler = ask(Source::Debian, Command::new(DEBIAN_RUSTC).env_remove("LD_LIBRARY_PATH"))?;
    linker::reads(compiler.llvm).then_some(compiler)
}

/// What `rustc -vV` says, when it is new enough for this workspace.
fn ask(source: Source, rustc: &mut Command) -> Option<Compiler> {
    let answer = say(rustc.arg("-vV")).ok()?;
    let field = |name: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|v| v.parse::<Version>().ok())
    };
    let compiler =
        Compiler { source, release: field("release: ")?, llvm: field("LLVM version: ")? };
    let wanted = env!("CARGO_PKG_RUST_VERSION").parse::<Version>().ok()?;
    if compiler.release < wanted {
        step::note(&format!("{compiler} is older than {wanted}: passed over"));
        return None;
    }
    Some(compiler)
}

fn install() -> Result<Compiler> {
    let hint = "nothing here can compile for BPF. Either of these will do:\n  \
        apt-get update && apt-get install --no-install-recommends rustc-web libstd-rust-web-dev-bpf   (root, Debian 12)\n  \
        rustup toolchain install nightly --component rust-src";
    packages::upgrade(packages::COMPILER).context(hint)?;
    debian().context(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32) -> Version {
        Version { major, minor }
    }

    #[test]
    fn versions_as_the_tools_write_them() {
        for (text, wanted) in [
            ("22.1.8", version(22, 1)),
            ("1.97.0-nightly\n", version(1, 97)),
            ("0.13", version(0, 13)),
        ] {
            assert_eq!(text.parse::<Version>().expect(text), wanted);
        }
        for text in ["", "22", "one.two", ".1"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_nightly_without_sources_is_not_taken_for_one_with_them() {
        let sysroot = env::temp_dir().join(format!("xtask-sysroot-{}", std::process::id()));
        let library = sysroot.join("lib/rustlib/src/rust/library");
        fs::create_dir_all(library.join("core/src")).expect("makes a folder");
        assert!(!has_sources(&sysroot));
        fs::write(library.join("core/src/lib.rs"), "").expect("writes");
        assert!(!has_sources(&sysroot));
        fs::write(library.join("Cargo.lock"), "").expect("writes");
        assert!(has_sources(&sysroot));
        fs::remove_dir_all(&sysroot).expect("removes");
    }

    #[test]
    fn an_older_compiler_is_passed_over() {
        let mut old = Command::new("sh");
        old.args(["-c", "echo 'release: 1.63.0'; echo 'LLVM version: 14.0.6'"]);
        assert!(ask(Source::Debian, &mut old).is_none());
    }
}
