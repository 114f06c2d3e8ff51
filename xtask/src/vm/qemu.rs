//! The emulator: Debian's package, or where that cannot be installed, the same package unpacked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Package};
use crate::step;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &[Package] =
    &[Package { name: "qemu-system-x86", brings: PROGRAM, why: "emulates the machine" }];

/// A folder to put before the path, if the emulator is not in it already.
pub(super) fn ensure() -> Result<Option<PathBuf>> {
    let folder = super::folder().join("qemu");
    let wrapper = folder.join("bin").join(PROGRAM);
    if wrapper.is_file() {
        return Ok(Some(folder.join("bin")));
    }
    // Other tools of QEMU's from backports conflict with the release's emulator; they stay.
    let Some(displaced) = displaced()? else {
        return packages::ensure(PACKAGE).map(|()| None);
    };
    step::note(&format!(
        "{} would be removed for {PROGRAM}: that is unpacked, not installed",
        displaced.join(", ")
    ));
    unpack(&folder)?;
    wrap(&folder, &wrapper)?;
    Ok(Some(folder.join("bin")))
}

/// What an installation would remove; nothing to say where it would remove nothing, or is done.
fn displaced() -> Result<Option<Vec<String>>> {
    if packages::command(PROGRAM).is_some() || packages::command("apt-get").is_none() {
        return Ok(None);
    }
    let removed = plan()?.removed;
    Ok(if removed.is_empty() { None } else { Some(removed) })
}

/// What apt would do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    installed: Vec<String>,
    removed: Vec<String>,
}

fn plan() -> Result<Plan> {
    packages::refresh()?;
    let done = Command::new("apt-get")
        .args(["install", "--simulate", "--no-install-recommends", PACKAGE[0].name])
        .env("LC_ALL", "C")
        .output()
        .context("cannot ask apt-get")?;
    Ok(planned(&String::from_utf8_lossy(&done.stdout)))
}

/// Reads the lines `Inst NAME …` and `Remv NAME …`.
fn planned(text: &str) -> Plan {
    let mut plan = Plan::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let list = match words.next() {
            Some("Inst") => &mut plan.installed,
            Some("Remv") => &mut plan.removed,
            _ => continue,
        };
        list.extend(words.next().map(str::to_owned));
    }
    plan
}

fn unpack(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    let debs = folder.join("debs");
    fs::create_dir_all(&debs)?;
    let packages = plan()?.installed;
    if packages.is_empty() {
        bail!("apt-get cannot tell what {} needs", PACKAGE[0].name);
    }
    step::run(
        &format!("fetching {} and {} more", PACKAGE[0].name, packages.len() - 1),
        Command::new("apt-get")
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .args(&packages)
            .current_dir(&debs),
    )?;
    for deb in fs::read_dir(&debs)? {
        let deb = deb?.path();
        let mut unpack = Command::new("dpkg-deb");
        let name = deb.file_name().unwrap_or_default().to_string_lossy().into_owned();
        step::run(&format!("unpacking {name}"), unpack.arg("-x").arg(&deb).arg(folder))?;
    }
    fs::remove_dir_all(debs)?;
    Ok(())
}

/// The emulator finds its data beside itself, but its libraries only where it is told to look.
fn wrap(folder: &Path, wrapper: &Path) -> Result<()> {
    let script = format!(
        "#!/bin/sh\nroot=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
         libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu\n\
         LD_LIBRARY_PATH=$libraries exec \"$root/usr/bin/{PROGRAM}\" \"$@\"\n"
    );
    fs::create_dir_all(folder.join("bin"))?;
    fs::write(wrapper, script)?;
    fs::set_permissions(wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_do() {
        let text = "Reading package lists...\nRemv qemu-utils [1:10.0.2]\n\
            Inst libfdt1 (1.6.1 Debian:12.11/stable [amd64])\nInst qemu-system-x86 (1:7.2 x)\n\
            Conf libfdt1 (1.6.1)\n";
        let wanted = Plan {
            installed: vec!["libfdt1".to_owned(), "qemu-system-x86".to_owned()],
            removed: vec!["qemu-utils".to_owned()],
        };
        assert_eq!(planned(text), wanted);
        assert_eq!(planned(""), Plan::default());
    }
}
