//! Debian's archive beyond what this machine is set up for: its own package lists under `target`,
//! the same tools and the same signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step;
use crate::toolchain::say;

/// Signs all of Debian's suites; part of every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    pub mirror: &'static str,
    pub name: &'static str,
}

/// What one suite offers.
pub(super) struct Archive {
    folder: PathBuf,
    suite: Suite,
}

impl Archive {
    /// Reads the suite's package lists, which apt checks against Debian's keys.
    pub(super) fn open(suite: Suite) -> Result<Self> {
        let folder = super::folder().join("apt").join(suite.name);
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: amd64\n\
             Targets: Packages\nSigned-By: {KEYRING}\n",
            suite.mirror, suite.name
        );
        fs::write(folder.join("debian.sources"), sources)?;
        let archive = Self { folder, suite };
        step::run(
            &format!("reading Debian's list of {}", suite.name),
            archive.apt("apt-get").arg("update"),
        )?;
        Ok(archive)
    }

    /// One of apt's tools, aimed at this suite only.
    fn apt(&self, tool: &str) -> Command {
        let mut apt = Command::new(tool);
        let at = |part: &str| self.folder.join(part).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("debian.sources")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            // What is installed here must not decide what is chosen there.
            "Dir::State::status=/dev/null".to_owned(),
            // apt's own user may not be able to write below target.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt.env("LC_ALL", "C");
        apt
    }

    /// What a package depends on: the names, without versions.
    pub(super) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let shown = say(self.apt("apt-cache").args(["show", "--no-all-versions", package]))
            .with_context(|| format!("{} has no package {package}", self.suite.name))?;
        Ok(depends_of(&shown))
    }

    /// A package, and those of its dependencies that this machine has not installed.
    pub(super) fn missing_for(&self, package: &str) -> Result<Vec<String>> {
        let plan = say(self
            .apt("apt-get")
            .args(["-o", "Dir::State::status=/var/lib/dpkg/status"])
            .args(["--simulate", "--no-install-recommends", "install", package]))
        .with_context(|| format!("{} cannot provide {package}", self.suite.name))?;
        Ok(installed_by(&plan))
    }

    /// Fetches packages and unpacks them into one folder.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        // What an interrupted run left would otherwise be unpacked too.
        let _ = fs::remove_dir_all(&debs);
        fs::create_dir_all(&debs)?;
        step::run(
            &fetching(packages),
            self.apt("apt-get").arg("download").args(packages).current_dir(&debs),
        )?;
        let files: Vec<PathBuf> = fs::read_dir(&debs)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<std::io::Result<_>>()?;
        ensure!(
            files.len() == packages.len(),
            "fetched {} of {} packages",
            files.len(),
            packages.len()
        );
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            step::run(
                &format!("unpacking {name}"),
                Command::new("dpkg-deb").arg("-x").arg(&file).arg(into),
            )?;
        }
        fs::remove_dir_all(&debs)?;
        Ok(())
    }
}

/// What is being fetched, as it is told.
fn fetching(packages: &[String]) -> String {
    match packages {
        [] | [_] | [_, _] => format!("fetching {}", packages.join(" ")),
        [.., last] => format!("fetching {last} and {} more packages", packages.len() - 1),
    }
}

/// The names in the `Pre-Depends` and `Depends` fields; the first of alternatives.
fn depends_of(stanza: &str) -> Vec<String> {
    stanza
        .lines()
        .filter_map(|line| {
            line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("Pre-Depends: "))
        })
        .flat_map(|list| list.split(','))
        .filter_map(|one| one.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The names in the plan that `apt-get --simulate` prints.
fn installed_by(plan: &str) -> Vec<String> {
    plan.lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_not_installed() {
        let plan = "Remv qemu-utils [1:10.0.2]\nInst seabios (1.16 Debian:12 [all])\n\
            Inst qemu-system-x86 (1:7.2 Debian:12 [amd64])\nConf seabios (1.16 Debian:12 [all])\n";
        assert_eq!(installed_by(plan), ["seabios", "qemu-system-x86"]);
    }

    #[test]
    fn names_without_versions_and_alternatives() {
        let stanza = "Package: linux-image-7.2.13+deb14-amd64\nPre-Depends: linux-base (>= 4.17~)\n\
            Depends: dracut | initramfs-tools (>= 0.120), linux-binary-7.2.13+deb14-amd64 (= 7.2.13-1)\n\
            Recommends: apparmor\n";
        assert_eq!(depends_of(stanza), ["linux-base", "dracut", "linux-binary-7.2.13+deb14-amd64"]);
    }
}
