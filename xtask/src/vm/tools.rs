//! What makes the machine: QEMU and a few tools from Debian, virtme-ng from `PyPI`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::archive::{Archive, Suite};
use super::emulator;
use crate::packages::{self, Package};
use crate::step;
use crate::toolchain::say;

/// Starts kernels with this machine's file system inside. Its options and its names for the guest
/// change from release to release.
const VIRTME: &str = "virtme-ng==1.42";

/// Debian's interpreter: another in the path need not be able to make an environment.
const PYTHON: &str = "/usr/bin/python3";

const BUSYBOX: Suite = Suite { mirror: "http://deb.debian.org/debian", name: "bookworm" };

const HOST: &[Package] = &[
    Package {
        name: "kmod",
        brings: "depmod",
        why: "indexes the kernel's modules, and loads them in the machine",
    },
    Package { name: "iproute2", brings: "ip", why: "brings up the machine's loopback device" },
    Package { name: "python3", brings: PYTHON, why: "runs virtme-ng" },
];

const VENV: &[Package] = &[Package {
    name: "python3-venv",
    brings: PYTHON,
    why: "an environment of its own for virtme-ng",
}];

/// Where the tools are.
pub(super) struct Tools {
    pub vng: PathBuf,
    /// The environment's programs: virtme-ng runs its own by name.
    pub bin: PathBuf,
    /// Where the emulator is, where it is not in the path.
    pub emulator: Option<PathBuf>,
    /// The machine's first shell, statically linked.
    pub busybox: PathBuf,
}

/// The tools as they were installed once, or installed now.
pub(super) fn ensure() -> Result<Tools> {
    packages::ensure(HOST)?;
    let emulator = emulator::ensure()?;
    let bin = virtme()?;
    Ok(Tools { vng: bin.join("vng"), bin, emulator, busybox: busybox()? })
}

fn virtme() -> Result<PathBuf> {
    let folder = super::folder().join("venv");
    let marker = folder.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|what| what.trim() == VIRTME) {
        return Ok(folder.join("bin"));
    }
    let _ = fs::remove_dir_all(&folder);
    // Where its file is depends on the interpreter's version, so it is the interpreter that is asked.
    if say(Command::new(PYTHON).args(["-c", "import ensurepip"])).is_err() {
        packages::upgrade(VENV)?;
    }
    step::run(
        "making a Python environment",
        Command::new(PYTHON).args(["-m", "venv"]).arg(&folder),
    )?;
    step::run(
        &format!("installing {VIRTME}"),
        Command::new(folder.join("bin/pip")).args([
            "install",
            "--disable-pip-version-check",
            "--no-input",
            VIRTME,
        ]),
    )?;
    fs::write(&marker, VIRTME)?;
    Ok(folder.join("bin"))
}

/// Unpacked instead of installed: it would displace a busybox that is not static.
fn busybox() -> Result<PathBuf> {
    let folder = super::folder().join("busybox");
    let places = ["usr/bin/busybox", "bin/busybox"].map(|place| folder.join(place));
    let found = || places.iter().find(|place| place.is_file()).cloned();
    if let Some(busybox) = found() {
        return Ok(busybox);
    }
    Archive::open(BUSYBOX)?.unpack(&["busybox-static".to_owned()], &folder)?;
    found().ok_or_else(|| anyhow::anyhow!("busybox-static has no busybox"))
}
