//! What this machine is: privileges, commands, the kernel's names, and one scenario run at a time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use btf_rs::{Btf, Type};
use nix::fcntl::{Flock, FlockArg};

/// Held while namespaces with fixed names are in use.
pub struct Turn {
    _lock: Flock<File>,
}

/// Waits until no other run on this machine uses the scenarios' namespaces.
pub fn take_turn() -> Result<Turn> {
    let path = std::env::temp_dir().join("lasthop-scenarios.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o644)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusive) {
        Ok(lock) => Ok(Turn { _lock: lock }),
        Err((_, e)) => bail!("cannot lock {}: {e}", path.display()),
    }
}

/// Whether this process may make network namespaces and attach programs.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Where a command is, as a shell would find it.
pub fn command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The running kernel's version as its series is called: `6.12`.
pub fn kernel() -> Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.trim().split(['.', '-', '+']);
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => Ok(format!("{major}.{minor}")),
        _ => bail!("what kernel is {release:?}?"),
    }
}

/// Whether a module can be had; it is loaded.
pub fn has_module(name: &str) -> bool {
    let loaded = Path::new("/sys/module").join(name.replace('-', "_")).exists();
    loaded
        || command("modprobe").is_some_and(|modprobe| {
            Command::new(modprobe).args(["-q", name]).status().is_ok_and(|done| done.success())
        })
}

/// The drop reasons that the running kernel knows, without their `SKB_DROP_REASON_`, those of its
/// Open vSwitch module too if that is loaded, by name; `None` for a kernel that has none (before
/// 5.17) or no BTF.
pub fn drop_reasons() -> Option<BTreeMap<String, u64>> {
    // Read once with and once without the module: an emulated machine takes seconds for it.
    static WITHOUT: OnceLock<Option<BTreeMap<String, u64>>> = OnceLock::new();
    static WITH: OnceLock<Option<BTreeMap<String, u64>>> = OnceLock::new();
    let module = Path::new(BTF).join("openvswitch");
    let known = if module.exists() { &WITH } else { &WITHOUT };
    known.get_or_init(|| read_drop_reasons(&module)).clone()
}

const BTF: &str = "/sys/kernel/btf";

fn read_drop_reasons(module: &Path) -> Option<BTreeMap<String, u64>> {
    let bytes = std::fs::read(Path::new(BTF).join("vmlinux")).ok()?;
    let kernel = Btf::from_bytes(&bytes).ok()?;
    let mut reasons = members(&kernel, "skb_drop_reason", "SKB_DROP_REASON_")?;
    let bytes = std::fs::read(module).unwrap_or_default();
    let module = Btf::from_split_bytes(&bytes, &kernel).ok();
    reasons.extend(module.and_then(|btf| members(&btf, "ovs_drop_reason", "")).unwrap_or_default());
    Some(reasons)
}

/// The members of an enum, their common beginning cut off; `None` when it is not there.
fn members(btf: &Btf, name: &str, beginning: &str) -> Option<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for kind in btf.resolve_types_by_name(name).ok()? {
        let Type::Enum(reasons) = kind else { continue };
        for member in &reasons.members {
            let name = btf.resolve_name(member).ok()?;
            found.insert(name.trim_start_matches(beginning).to_owned(), u64::from(member.val()));
        }
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        assert!(command("sh").is_some());
        assert!(command("no-such-command-anywhere").is_none());
    }

    #[test]
    fn a_kernel_with_reasons_has_the_oldest_of_them() {
        // NO_SOCKET came with the enum itself, in 5.17.
        if let Some(reasons) = drop_reasons() {
            assert!(reasons.contains_key("NO_SOCKET"), "{reasons:?}");
        }
    }
}
