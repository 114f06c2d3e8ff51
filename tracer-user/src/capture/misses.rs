//! Runs of the programs that the kernel left out.
//!
//! It runs no tracing program within itself: an interrupt that frees an skb while the processor is
//! in the program that sees skbs freed goes by unseen (`prog->active`, `kernel/trace/bpf_trace.c`).
//! It counts how often that was.

use std::os::fd::{AsFd as _, AsRawFd as _};

use super::load::Loaded;
use crate::model::Lost;

/// What was already told of.
#[derive(Debug, Default)]
pub struct Misses {
    told: u64,
}

impl Misses {
    /// What was missed since the last call. `ts`: nanoseconds since the trace began.
    pub fn lost(&mut self, loaded: &Loaded, ts: u64) -> Option<Lost> {
        let all: u64 = loaded
            .ebpf
            .programs()
            .filter_map(|(_, program)| program.fd().ok().map(|fd| fd.as_fd()))
            .chain(loaded.entries.programs())
            .filter_map(|fd| {
                let fd = fd.as_raw_fd();
                misses(&std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
            })
            .sum();
        let count = all.saturating_sub(self.told);
        self.told = self.told.max(all);
        (count != 0).then(|| Lost { cpu: 0, count, ts, what: Some("missed".to_owned()) })
    }
}

/// The count in what the kernel shows of a program's descriptor; `None` before 5.12.
fn misses(fdinfo: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        assert_eq!(misses("prog_type:\t26\nrecursion_misses:\t7\nverified_insns:\t9\n"), Some(7));
        assert_eq!(misses("prog_type:\t26\n"), None);
    }
}
