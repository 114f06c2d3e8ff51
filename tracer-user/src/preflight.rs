//! Whether this process may do what a trace needs, before anything is tried.

use anyhow::bail;
use caps::{CapSet, Capability};
use nix::sys::resource::{Resource, getrlimit};

/// Capabilities without which nothing can be traced, and what each is for.
pub const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_BPF, "to load BPF programs"),
    (Capability::CAP_PERFMON, "to read kernel memory from them"),
    (Capability::CAP_NET_ADMIN, "to see what sockets get, to read conntrack"),
];

/// How many descriptors a trace holds at its most on a node with Open vSwitch, in round numbers.
const OPEN_FILES: u64 = 128;

/// Whether this process has a capability; `CAP_SYS_ADMIN` stands for those that were split from it.
pub fn has(capability: Capability) -> bool {
    let effective = |c| caps::has_cap(None, CapSet::Effective, c).unwrap_or(false);
    effective(capability)
        || (matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON)
            && effective(Capability::CAP_SYS_ADMIN))
}

/// # Errors
/// One line that names the capabilities that are missing.
pub fn check() -> anyhow::Result<()> {
    let missing: Vec<String> = NEEDED
        .into_iter()
        .filter(|(capability, _)| !has(*capability))
        .map(|(capability, why)| format!("{capability} ({why})"))
        .collect();
    if !missing.is_empty() {
        bail!("not permitted: this process lacks {}; run it as root", missing.join(", "));
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard);
    if limit < OPEN_FILES {
        bail!(
            "this process may hold no more than {limit} open files, and the programs and maps of a trace are \
             files, too: allow it {OPEN_FILES} (ulimit -Hn {OPEN_FILES})"
        );
    }
    let users = std::fs::read_to_string("/proc/self/uid_map");
    if users.is_ok_and(|map| !is_initial(&map)) {
        bail!(
            "not permitted: this is a user namespace of its own (a rootless container, unshare -U), whose \
             capabilities the kernel does not take for BPF programs; run it as root of the node"
        );
    }
    Ok(())
}

/// Whether this is the user namespace that the kernel begins with: all users are who they are
/// (`user_namespaces(7)`).
fn is_initial(uid_map: &str) -> bool {
    let numbers = uid_map.split_ascii_whitespace();
    numbers.eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_namespace_maps_some() {
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial("         0       1000          1\n"));
        assert!(!is_initial("0 0 65536\n65536 100000 65536\n") && !is_initial(""));
    }
}
