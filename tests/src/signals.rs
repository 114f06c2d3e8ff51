//! Signals that whoever started the harness has ignored: nohup(1) a hangup, a shell in the background
//! an interrupt. What the harness starts is to take them as it would from anybody else.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// Has every process that is started from now on take signals as by default, and this one go on as it
/// was: it ignores what it was told to, but by a handler, and handlers are not inherited (execve(2)).
pub fn default_in_children() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = ignored();
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2] {
            if ignored >> (signal - 1) & 1 != 0 {
                // It stays ignored then, and the tests that are about it fail.
                let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
            }
        }
    });
    // A mask is inherited too; it is a thread's own.
    let _ = SigSet::empty().thread_set_mask();
}

/// `SigIgn` of proc(5), a mask of signals.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use nix::sys::signal::{Signal, raise};

    use super::*;

    const AGAIN: &str = "LASTHOP_TEST_SIGNALS";

    /// Run twice: the second time by a shell that ignores a hangup and an interrupt.
    #[test]
    fn children_do_not_inherit_what_is_ignored() {
        const BOTH: u64 = 1 << (SIGHUP - 1) | 1 << (SIGINT - 1);
        let own = "signals::tests::children_do_not_inherit_what_is_ignored";
        if std::env::var_os(AGAIN).is_none() {
            let mut shell = Command::new("sh");
            shell.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]);
            shell.arg(std::env::current_exe().expect("this program"));
            let status = shell.args(["--exact", own]).env(AGAIN, "1").process_group(0).status();
            assert!(status.expect("it runs").success());
            return;
        }
        assert_eq!(ignored() & BOTH, BOTH);
        default_in_children();
        let output = Command::new("grep").args(["SigIgn", "/proc/self/status"]).output();
        let text = String::from_utf8(output.expect("it runs").stdout).expect("text");
        let mask = text.split_whitespace().last().expect("a mask");
        assert_eq!(u64::from_str_radix(mask, 16).expect("a number") & BOTH, 0, "{text}");
        // And this process outlives it all the same.
        raise(Signal::SIGHUP).expect("a signal");
    }
}
