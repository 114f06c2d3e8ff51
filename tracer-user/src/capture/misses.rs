//! Runs of the programs that the kernel left out.
//!
//! It runs no tracing program within itself: an interrupt that frees an skb while the processor is
//! in the program that sees skbs freed goes by unseen (`prog->active`, `kernel/trace/bpf_trace.c`).
//! It counts how often that was.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use super::load::Loaded;
use tracer_core::record::{HookName, Lost};

/// What was already told of.
#[derive(Debug, Default)]
pub struct Misses {
    /// By program.
    told: HashMap<String, u64>,
    /// Until when, nanoseconds since the trace began.
    until: u64,
}

impl Misses {
    /// What was missed since the last call, by program: on which processor and when, the kernel does not
    /// tell. `ts`: nanoseconds since the trace began.
    pub fn lost(&mut self, loaded: &Loaded, ts: u64) -> Vec<Lost> {
        let since = std::mem::replace(&mut self.until, ts);
        let programs = loaded.ebpf.programs();
        let programs = programs.filter_map(|(name, p)| Some((name, p.fd().ok()?.as_fd())));
        let mut lost = Vec::new();
        for (name, fd) in programs.chain(loaded.entries.programs()) {
            let fdinfo = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
            let fdinfo = std::fs::read_to_string(fdinfo).unwrap_or_default();
            let Some(all) = misses(&fdinfo).filter(|all| *all != 0) else { continue };
            let told = self.told.entry(name.to_owned()).or_default();
            let count = all.saturating_sub(*told);
            *told = all.max(*told);
            if count != 0 {
                lost.push(Lost {
                    count,
                    what: Some("missed".to_owned()),
                    hook: hook_of(name),
                    since: Some(since),
                    until: Some(ts),
                    ..Lost::at(ts)
                });
            }
        }
        lost
    }
}

/// At which hook a program is.
fn hook_of(program: &str) -> Option<HookName> {
    use HookName::{
        Clone, Consume, Deliver, Drop, OvsActions, OvsAnswer, OvsOutput, OvsReceive, OvsUpcall,
        TcEgress, TcIngress,
    };
    const HOOKS: &[(&str, HookName)] = &[
        ("device_in", TcIngress),
        ("device_out", TcEgress),
        ("drop", Drop),
        ("consume", Consume),
        ("deliver", Deliver),
        ("skb_", Clone),
        ("pskb_", Clone),
        ("copy_", Clone),
        ("ovs_receive", OvsReceive),
        ("ovs_output", OvsOutput),
        ("ovs_actions", OvsActions),
        // Who is missed there is not known again as handed in.
        ("ovs_execute", OvsActions),
        ("ovs_upcall", OvsUpcall),
        ("ovs_answer", OvsAnswer),
    ];
    HOOKS.iter().find(|(prefix, _)| program.starts_with(prefix)).map(|(_, hook)| *hook)
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
    fn programs_are_known_by_their_hooks() {
        assert_eq!(hook_of("device_out"), Some(HookName::TcEgress));
        assert_eq!(hook_of("pskb_copy_fexit"), Some(HookName::Clone));
        assert_eq!(hook_of("ovs_receive_judge_kprobe"), Some(HookName::OvsReceive));
        assert_eq!(hook_of("another"), None);
    }

    #[test]
    fn the_count_is_found() {
        assert_eq!(misses("prog_type:\t26\nrecursion_misses:\t7\nverified_insns:\t9\n"), Some(7));
        assert_eq!(misses("prog_type:\t26\n"), None);
    }
}
