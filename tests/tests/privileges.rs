//! What happens without privileges, and without the kernel's type information.

use std::process::Command;

use nix::sys::signal::Signal;
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, binary, lasthop, scratch, unprivileged};
use tests::process::{Running, run};

// Capabilities (`linux/capability.h`).
const BPF: u64 = 1 << 39;
const PERFMON: u64 = 1 << 38;
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_PTRACE: u64 = 1 << 19;
const DAC_OVERRIDE: u64 = 1 << 1;
const SYSLOG: u64 = 1 << 34;
const NET_RAW: u64 = 1 << 13;

/// What a thread may keep once all is attached, by its name: what it does from then on takes no more.
fn allowed(command: &str, thread: &str) -> u64 {
    match (command, thread) {
        ("trace", "hands") => BPF | PERFMON | NET_ADMIN | NET_RAW | SYS_ADMIN | SYSLOG,
        // It reads maps and names of functions.
        ("drops", "hands") => BPF | SYSLOG,
        (_, "topology") => SYS_ADMIN | SYS_PTRACE | DAC_OVERRIDE,
        // Once there is something to read.
        ("trace", "rules" | "routes") => NET_ADMIN | NET_RAW | SYS_ADMIN,
        ("trace", "asking") => SYS_PTRACE | DAC_OVERRIDE,
        _ => 0,
    }
}

/// A line of `/proc/PID/status`.
fn status(path: &str, key: &str) -> u64 {
    let status = std::fs::read_to_string(path).expect("a process");
    value(&status, key)
}

fn value(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("a line").trim(), 16).expect("hexadecimal")
}

#[test]
fn once_all_is_attached_the_collector_has_no_privilege() {
    for command in [&["trace", "udp port 9", "--json"][..], &["drops", "--json"]] {
        // CMD has those that lasthop was started with.
        let mut traced = lasthop(command).expect("a command");
        traced.args(["--", "sh", "-c", "grep CapEff /proc/self/status; exec sleep 600"]);
        let running = Running::start(&mut traced).expect("starts");
        running.wait_stderr("lasthop: ready:", READY_LIMIT).expect("ready");
        let own = format!("/proc/{}/status", running.pid());
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(status(&own, set), 0, "{command:?} {set}");
        }
        assert_eq!(status(&own, "NoNewPrivs"), 1, "{command:?}");
        let mut helpers = 0;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", running.pid())).expect("threads");
        for task in tasks.map(|task| task.expect("a thread").path().join("status")) {
            // A thread may have ended meanwhile.
            let Ok(text) = std::fs::read_to_string(&task) else { continue };
            let name = text.lines().next().and_then(|line| line.strip_prefix("Name:\t"));
            let name = name.expect("a name");
            for set in ["CapPrm", "CapEff"] {
                let beyond = value(&text, set) & !allowed(command[0], name);
                assert_eq!(beyond, 0, "{command:?}: {name} has {beyond:#x} too many in {set}");
            }
            helpers += usize::from(allowed(command[0], name) != 0);
        }
        assert!(helpers >= 2, "{command:?}: only {helpers} threads are known by name");
        let ours = format!("{:016x}", status("/proc/self/status", "CapEff"));
        running.wait_stderr(&ours, RUN_LIMIT).expect("the privileges of CMD");
        running.signal(Signal::SIGINT).expect("a signal");
        // It ends CMD, too.
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(0), "{command:?}: {}", done.stderr);
    }
}

#[test]
fn without_root_the_missing_capability_is_named() {
    let dir = scratch("privileges").expect("a directory");
    for args in [&["trace", "udp", "--", "true"][..], &["trace", "--json", "--for", "1s"]] {
        let done = run(&mut unprivileged(&dir, args).expect("a command"), RUN_LIMIT).expect("runs");
        assert_eq!(done.code(), Some(1), "{args:?}: {}", done.stderr);
        assert_eq!(done.stderr.trim_end().lines().count(), 1, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains("CAP_"), "{args:?}: {}", done.stderr);
        assert_eq!(done.text(), "", "{args:?}");
    }
}

#[test]
fn one_missing_capability_of_several_is_named() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
    command.arg(binary().expect("lasthop")).args(["trace", "udp port 9", "--", "true"]);
    let done = run(&mut command, RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("CAP_NET_ADMIN"), "{}", done.stderr);
}

#[test]
fn doctor_runs_without_root_and_says_what_is_missing() {
    let dir = scratch("privileges").expect("a directory");
    let done = run(&mut unprivileged(&dir, &["doctor"]).expect("a command"), RUN_LIMIT);
    let done = done.expect("runs");
    assert!(matches!(done.code(), Some(0 | 1)), "{:?} {}", done.status, done.stderr);
    assert!(done.text().contains("CAP_"), "{} {}", done.text(), done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

/// A directory without `vmlinux` is mounted over the kernel's, in a mount namespace of its own.
#[test]
fn without_btf_the_missing_file_is_named() {
    let binary = binary().expect("lasthop");
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(binary);
    let done = run(command.args(["trace", "udp port 9", "--", "true"]), RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert_eq!(done.stderr.trim_end().lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("/sys/kernel/btf/vmlinux"), "{}", done.stderr);
}
