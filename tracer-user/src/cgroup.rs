//! How much memory this process may take: what its memory cgroup allows, of either version
//! (`Documentation/admin-guide/cgroup-v2.rst`, `…/cgroup-v1/memory.rst`).

use std::fs;
use std::path::{Path, PathBuf};

/// Where the hierarchies are mounted, for each version: the directory, and the file that holds the limit.
const UNIFIED: (&str, &str) = ("/sys/fs/cgroup", "memory.max");
const MEMORY: (&str, &str) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes");

/// The limit of this process, bytes; `None` where there is none, or none that can be read.
pub fn memory_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let read = |path: &Path| limit(&fs::read_to_string(path).ok()?);
    paths(&own).iter().filter_map(|path| read(path)).min()
}

/// What a trace takes besides its ring buffer, in a flood, bytes (`max_usage` of its cgroup: the kernel's
/// memory for its programs and maps is among it).
pub const OF_TRACE: u64 = 56 << 20;
/// What counting drops takes besides its rows, bytes.
pub const OF_DROPS: u64 = 40 << 20;
const MIB: u64 = 1 << 20;

/// Whether there is room for so many bytes besides those that are taken `in_any_case`. `what` takes them.
///
/// # Errors
/// There is not: how much there is, and what to do.
pub fn ensure_room(bytes: u64, what: &str, in_any_case: u64) -> anyhow::Result<()> {
    memory_limit().map_or(Ok(()), |limit| fits(bytes, what, in_any_case, limit))
}

fn fits(bytes: u64, what: &str, in_any_case: u64, limit: u64) -> anyhow::Result<()> {
    let needed = bytes.saturating_add(in_any_case);
    anyhow::ensure!(
        needed <= limit,
        "{what} takes about {} MiB besides {} MiB, and the memory cgroup of this process allows {} MiB: lower \
         it, or raise that limit to {} MiB",
        bytes.div_ceil(MIB),
        in_any_case / MIB,
        limit / MIB,
        needed.div_ceil(MIB)
    );
    Ok(())
}

/// The files that hold a limit of a process in these cgroups (the lines of `/proc/PID/cgroup`): its own
/// and those of all that it is in. Within a container the uppermost directory may be its own.
fn paths(cgroups: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => UNIFIED,
            controllers if controllers.split(',').any(|name| name == "memory") => MEMORY,
            _ => continue,
        };
        let inner = Path::new(path.trim_start_matches('/'));
        paths.extend(inner.ancestors().map(|part| Path::new(root).join(part).join(file)));
    }
    paths
}

/// The number, unless it stands for none: `max`, or, of the first version, the largest number of pages.
fn limit(text: &str) -> Option<u64> {
    const NONE: u64 = i64::MAX as u64 & !0xffff;
    text.trim().parse().ok().filter(|bytes| *bytes < NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_may_be_that_of_any_cgroup_above() {
        let files =
            |text| paths(text).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let both = "12:pids:/x\n4:memory:/a/b\n0::/c\n";
        assert_eq!(
            files(both),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/c/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(files("garbled\n1:memory\n"), [""; 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_figures() {
        fits(8 << 20, "--ring 8M", OF_TRACE, 64 << 20).unwrap();
        fits(24 << 20, "--ring 24M", OF_TRACE, 64 << 20).unwrap_err();
        let refused =
            fits(500 << 20, "--keep 1000000", OF_DROPS, 64 << 20).unwrap_err().to_string();
        assert!(refused.starts_with("--keep 1000000 takes about 500 MiB"), "{refused}");
        assert!(refused.contains("allows 64 MiB") && refused.ends_with("to 540 MiB"), "{refused}");
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(limit("67108864\n"), Some(64 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
        assert_eq!(limit(""), None);
    }
}
