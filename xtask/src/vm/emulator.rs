//! QEMU: the one in the path, else Debian's, unpacked below `target`. Unpacked instead of installed:
//! beside other packages of QEMU's, of another version, Debian's would not be installed without
//! removing them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::archive::{Archive, Suite};
use crate::packages;

const QEMU: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
const SUITE: Suite = Suite { mirror: "http://deb.debian.org/debian", name: "bookworm" };

/// The folder in which the emulator is, where it is not in the path.
pub(super) fn ensure() -> Result<Option<PathBuf>> {
    if packages::command(QEMU).is_some() {
        return Ok(None);
    }
    let root = super::folder().join("qemu");
    let bin = root.join("bin");
    let program = bin.join(QEMU);
    if !program.is_file() {
        let _ = fs::remove_dir_all(&root);
        let archive = Archive::open(SUITE)?;
        archive.unpack(&archive.missing_for(PACKAGE)?, &root)?;
        ensure!(root.join("usr/bin").join(QEMU).is_file(), "{PACKAGE} has no {QEMU}");
        fs::create_dir_all(&bin)?;
        fs::write(&program, wrapper(&root))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(Some(bin))
}

/// A script that runs the emulator with the libraries and the firmware that were unpacked with it.
fn wrapper(root: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         root='{}'\n\
         lib=$root/usr/lib/x86_64-linux-gnu\n\
         LD_LIBRARY_PATH=$lib:$root/lib/x86_64-linux-gnu QEMU_MODULE_DIR=$lib/qemu \\\n\
         exec \"$root/usr/bin/{QEMU}\" -L \"$root/usr/share/qemu\" -L \"$root/usr/share/seabios\" \\\n\
         \t-L \"$root/usr/lib/ipxe/qemu\" \"$@\"\n",
        root.display()
    )
}
