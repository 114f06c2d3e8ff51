//! Debian's kernels: where each is in the archive, and how it comes to be unpacked here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{Archive, Suite};
use crate::{packages, step};

const MAIN: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// A kernel that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Name {
    /// Debian 11's: no module BTF, no drop reasons.
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's: drop reasons, none from Open vSwitch.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12's newer one, as in Debian 13: Open vSwitch has drop reasons, tc has tcx.
    #[value(name = "6.12")]
    V6_12,
    /// The newest that Debian has.
    Newest,
}

/// A kernel that is unpacked here.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// Its bootable image, next to which its modules are found.
    pub image: PathBuf,
}

impl Name {
    /// As it is typed.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
        }
    }

    /// The suite that has it, and the package there that depends on its latest release.
    fn origin(self) -> (Suite, &'static str) {
        let (mirror, name, latest) = match self {
            Self::V5_10 => (SECURITY, "bullseye-security", "linux-image-amd64"),
            Self::V6_1 => (SECURITY, "bookworm-security", "linux-image-amd64"),
            Self::V6_12 => (SECURITY, "bookworm-security", "linux-image-6.12-amd64"),
            Self::Newest => (MAIN, "sid", "linux-image-amd64"),
        };
        (Suite { mirror, name }, latest)
    }
}

/// The kernel as it was unpacked once, or as the archive has it now.
pub(super) fn ensure(name: Name) -> Result<Kernel> {
    let folder = super::folder().join("kernels").join(name.text());
    // Written last, so that what an interrupted run left is not taken for a kernel.
    let marker = folder.join("release");
    if let Ok(release) = fs::read_to_string(&marker) {
        return find(&folder, release.trim());
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let (suite, latest) = name.origin();
    let archive = Archive::open(suite)?;
    let (release, parts) = parts(latest, |package| archive.depends(package))?;
    step::note(&format!("kernel {} is {release}", name.text()));
    archive.unpack(&parts, &folder)?;
    // Debian 13 and later have everything below /usr.
    if !folder.join("lib").exists() {
        symlink("usr/lib", folder.join("lib"))?;
    }
    let depmod = packages::command("depmod").context("no depmod, though kmod is installed")?;
    step::run(
        &format!("indexing the modules of {release}"),
        Command::new(depmod).arg("-b").arg(&folder).arg(&release),
    )?;
    let kernel = find(&folder, &release)?;
    fs::write(&marker, format!("{release}\n"))?;
    Ok(kernel)
}

/// From the package that stands for the latest release: that release, and the packages that hold
/// its image, its modules and the lists of what is built in.
fn parts(
    latest: &str,
    depends: impl Fn(&str) -> Result<Vec<String>>,
) -> Result<(String, Vec<String>)> {
    let image = depends(latest)?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{latest} depends on no kernel"))?;
    let release = image.trim_start_matches("linux-image-").to_owned();
    // One package up to Linux 6; newer ones come in several, all of whose names end alike.
    let mut parts: BTreeSet<String> = depends(&image)?
        .into_iter()
        .filter(|name| name.starts_with("linux-") && name.ends_with(&format!("-{release}")))
        .collect();
    parts.insert(image);
    Ok((release, parts.into_iter().collect()))
}

fn find(folder: &Path, release: &str) -> Result<Kernel> {
    let modules = folder.join("lib/modules").join(release);
    let image = [folder.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")]
        .into_iter()
        .find(|file| file.is_file())
        .with_context(|| format!("no kernel image in {}: remove it", folder.display()))?;
    ensure!(
        modules.join("modules.dep").is_file(),
        "no module index in {}: remove {}",
        modules.display(),
        folder.display()
    );
    Ok(Kernel { release: release.to_owned(), image })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(package: &str) -> Result<Vec<String>> {
        let names: &[&str] = match package {
            "old" => &["linux-image-6.1.0-56-amd64"],
            "linux-image-6.1.0-56-amd64" => &["kmod", "linux-base", "initramfs-tools"],
            "new" => &["linux-base-amd64", "linux-image-7.2.13+deb14-amd64"],
            "linux-image-7.2.13+deb14-amd64" => &[
                "linux-base",
                "linux-modules-7.2.13+deb14-amd64",
                "linux-binary-7.2.13+deb14-amd64",
            ],
            _ => anyhow::bail!("no package {package}"),
        };
        Ok(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_kernel_in_one_package_and_one_in_several() {
        let (release, list) = parts("old", archive).expect("is there");
        assert_eq!(release, "6.1.0-56-amd64");
        assert_eq!(list, ["linux-image-6.1.0-56-amd64"]);
        let (release, list) = parts("new", archive).expect("is there");
        assert_eq!(release, "7.2.13+deb14-amd64");
        assert_eq!(
            list,
            [
                "linux-binary-7.2.13+deb14-amd64",
                "linux-image-7.2.13+deb14-amd64",
                "linux-modules-7.2.13+deb14-amd64",
            ]
        );
        assert!(parts("none", archive).is_err());
    }
}
