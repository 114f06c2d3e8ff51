//! The BPF programs of a process, and the kernel's count of what they cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, loaded_programs};

/// What the kernel counted of one program, while its statistics were on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Runs {
    pub name: String,
    /// The kernel's name of its type: `sched_cls`.
    pub kind: String,
    pub count: u64,
    /// Nanoseconds, of all runs.
    pub ns: u64,
}

/// Programs by their ids.
pub(super) type Held = BTreeMap<u32, Runs>;

/// The programs that a process holds, by their ids, from the start of the kernel's counting.
pub(super) fn of(pid: u32) -> Result<Held> {
    let held = held_by(pid)?;
    let mut programs = BTreeMap::new();
    for program in loaded_programs() {
        // One that is removed while all are listed is nobody's of interest.
        let Ok(info) = program else { continue };
        if held.contains(&info.id()) {
            programs.insert(
                info.id(),
                Runs {
                    name: info.name_as_str().unwrap_or("?").to_owned(),
                    kind: kind(&info),
                    count: info.run_count(),
                    ns: info.run_time().as_nanos() as u64,
                },
            );
        }
    }
    Ok(programs)
}

/// The kernel's name of a program's type, short.
pub(super) fn kind(info: &ProgramInfo) -> String {
    let name = format!("{:?}", info.program_type());
    name.trim_start_matches("BPF_PROG_TYPE_").to_lowercase()
}

/// What was added between two readings, programs of one name and kind taken together; those that
/// never ran are left out.
pub(super) fn between(before: &Held, after: &Held) -> Vec<Runs> {
    let mut sums: Vec<Runs> = Vec::new();
    for (id, later) in after {
        let (count, ns) = before.get(id).map_or((0, 0), |earlier| (earlier.count, earlier.ns));
        let (count, ns) = (later.count.saturating_sub(count), later.ns.saturating_sub(ns));
        if count == 0 {
            continue;
        }
        match sums.iter_mut().find(|sum| sum.name == later.name && sum.kind == later.kind) {
            Some(sum) => {
                sum.count += count;
                sum.ns += ns;
            }
            None => sums.push(Runs { count, ns, ..later.clone() }),
        }
    }
    sums
}

/// The ids of the programs that a process has descriptors of, its links' included.
fn held_by(pid: u32) -> Result<BTreeSet<u32>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        held.extend(text.lines().filter_map(|line| {
            line.strip_prefix("prog_id:").and_then(|id| id.trim().parse::<u32>().ok())
        }));
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, count: u64, ns: u64) -> Runs {
        Runs { name: name.to_owned(), kind: "sched_cls".to_owned(), count, ns }
    }

    #[test]
    fn only_what_was_added_counts() {
        let before = BTreeMap::from([(1, runs("in", 10, 100)), (2, runs("out", 5, 50))]);
        let after = BTreeMap::from([
            (1, runs("in", 30, 500)),
            (2, runs("out", 5, 50)),
            (3, runs("in", 10, 200)),
        ]);
        assert_eq!(between(&before, &after), [runs("in", 30, 600)]);
    }
}
