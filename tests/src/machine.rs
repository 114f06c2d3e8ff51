//! What this machine is: privileges, commands, the kernel's names, and one scenario run at a time.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// The drop reasons that the running kernel knows, without their `SKB_DROP_REASON_`; `None` for a
/// kernel that has none (before 5.17) or no BTF.
pub fn drop_reasons() -> Option<BTreeSet<String>> {
    let btf = Btf::from_file("/sys/kernel/btf/vmlinux").ok()?;
    let types = btf.resolve_types_by_name("skb_drop_reason").ok()?;
    let mut names = BTreeSet::new();
    for kind in types {
        let Type::Enum(reasons) = kind else { continue };
        for member in &reasons.members {
            let name = btf.resolve_name(member).ok()?;
            names.insert(name.trim_start_matches("SKB_DROP_REASON_").to_owned());
        }
    }
    (!names.is_empty()).then_some(names)
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
            assert!(reasons.contains("NO_SOCKET"), "{reasons:?}");
        }
    }
}
