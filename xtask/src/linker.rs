//! Finds, or builds, bpf-linker: it turns the compiler's LLVM bitcode into a BPF object.
//!
//! Bitcode is read by an LLVM of the same major version or a newer one, so a linker is only as
//! good as the LLVM that it was built with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::toolchain::{Version, say};
use crate::tools::Tool;
use crate::{packages, step};

/// What is built here; an older one on the path is passed over.
const TOOL: Tool = Tool {
    name: "bpf-linker",
    version: "0.13.0",
    options: &["--no-default-features", "--features", "llvm-22"],
};
/// The LLVM that Debian 12 has for it.
const LLVM: u32 = 22;
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Whether a linker for a compiler with this LLVM is at hand or can be built.
pub(crate) fn reads(llvm: Version) -> bool {
    llvm.major <= LLVM || on_path(llvm).is_some()
}

/// A linker that reads what a compiler with this LLVM writes.
pub(crate) fn ensure(llvm: Version) -> Result<PathBuf> {
    let own = TOOL.path();
    if llvm.major <= LLVM && version(&own).is_some_and(|found| found == wanted()) {
        return Ok(own);
    }
    if let Some(linker) = on_path(llvm) {
        return Ok(linker);
    }
    packages::ensure(packages::LINKER)?;
    TOOL.build(|install| {
        install.env("LLVM_PREFIX", LLVM_PREFIX);
    })?;
    Ok(own)
}

/// The linker on the path, when its LLVM is known to be new enough.
fn on_path(llvm: Version) -> Option<PathBuf> {
    let linker = packages::command("bpf-linker")?;
    let own = version(&linker)?;
    let has = shared_llvm(&fs::read(&linker).ok()?);
    let fits = own >= wanted() && has.is_some_and(|has| has.major >= llvm.major);
    if !fits {
        let has =
            has.map_or_else(|| "an LLVM that it does not tell".to_owned(), |v| format!("LLVM {v}"));
        let place = linker.display();
        step::note(&format!("{place} {own} with {has} is passed over for LLVM {llvm}"));
    }
    fits.then_some(linker)
}

fn wanted() -> Version {
    // The constant is a version; were it none, no linker would be found equal to it and one is built.
    TOOL.version.parse().unwrap_or(Version { major: u32::MAX, minor: 0 })
}

/// What it says of itself; `None` when it does not run.
fn version(linker: &Path) -> Option<Version> {
    let answer = say(Command::new(linker).arg("--version")).ok()?;
    answer.strip_prefix("bpf-linker ")?.parse().ok()
}

/// The version of the LLVM library that an executable names, such as `libLLVM.so.22.1` or
/// `libLLVM-21.so`; `None` when LLVM is inside it, where nothing tells its version.
fn shared_llvm(executable: &[u8]) -> Option<Version> {
    const NAME: &[u8] = b"libLLVM";
    let start = executable.windows(NAME.len()).position(|bytes| bytes == NAME)?;
    let name: String = executable
        .get(start + NAME.len()..)?
        .iter()
        .map(|&byte| char::from(byte))
        .take_while(char::is_ascii_graphic)
        .take(40)
        .collect();
    let number = name.trim_start_matches(".so.").trim_start_matches('-');
    let major = number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(number.parse().unwrap_or(Version { major, minor: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_names_of_debian_rustup_and_older_llvm() {
        for (name, wanted) in [
            ("\0libLLVM.so.22.1\0libgcc", (22, 1)),
            ("\0libLLVM.so.22.1-rust-1.97.0-nightly\0", (22, 1)),
            ("\0libLLVM-21.so\0", (21, 0)),
            ("\0libLLVM-17.so.1\0", (17, 0)),
        ] {
            let (major, minor) = wanted;
            assert_eq!(shared_llvm(name.as_bytes()), Some(Version { major, minor }), "{name:?}");
        }
        for name in ["", "libLLVM", "\0libLLVMCore.a\0", "no llvm at all"] {
            assert_eq!(shared_llvm(name.as_bytes()), None, "{name:?}");
        }
    }

    #[test]
    fn the_linker_that_is_built_here_has_a_version() {
        assert_eq!(wanted(), Version { major: 0, minor: 13 });
    }
}
