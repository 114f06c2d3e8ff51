//! Tools from crates.io, each in one version, built into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::toolchain::{cargo, say};

/// A program of a package of the same name.
pub(crate) struct Tool {
    pub name: &'static str,
    pub version: &'static str,
    /// How it is built, beside its version.
    pub options: &'static [&'static str],
}

impl Tool {
    /// Where it is built to.
    pub(crate) fn path(&self) -> PathBuf {
        folder().join("bin").join(self.name)
    }

    /// Its path; it is built unless it is there in its version.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let path = self.path();
        let said = say(Command::new(&path).arg("--version")).unwrap_or_default();
        if said.split_whitespace().any(|word| word == self.version) {
            return Ok(path);
        }
        self.build(|_| ())?;
        Ok(path)
    }

    /// Builds it; `prepare` adds what its build script needs to know.
    pub(crate) fn build(&self, prepare: impl FnOnce(&mut Command)) -> Result<()> {
        let mut install = Command::new(cargo());
        install
            .args(["install", self.name, "--version", self.version, "--locked", "--force"])
            .args(self.options)
            .arg("--root")
            .arg(folder())
            // These would put it elsewhere, or compile it for something else.
            .env_remove("CARGO_INSTALL_ROOT")
            .env_remove("CARGO_BUILD_TARGET");
        prepare(&mut install);
        step::run(&format!("building {} {}", self.name, self.version), &mut install)?;
        Ok(())
    }
}

fn folder() -> PathBuf {
    crate::root().join("target/tools")
}
