//! What ends lasthop before its time: it stops cleanly, and lets CMD do so.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, binary, lasthop, scratch};
use tests::machine::take_turn;
use tests::process::{Running, run};

/// A command that cleans up when it is asked to end.
const TIDY: &str =
    "trap 'echo tidied >&2; exit' TERM; echo armed >&2; while :; do sleep 0.05; done";
/// One that does not mean to end.
const STUBBORN: &str = "trap '' TERM; echo armed >&2; while :; do sleep 0.05; done";

const COMMANDS: [&[&str]; 2] =
    [&["trace", "udp port 9", "--json"], &["drops", "udp port 9", "--json"]];

/// To lasthop only: a terminal would tell CMD, too.
fn alone(running: &Running, signal: Signal) {
    kill(running.pid(), signal).expect("a signal");
}

#[test]
fn a_signal_stops_it_cleanly_and_cmd_may_clean_up() {
    let _turn = take_turn().expect("a turn");
    for command in COMMANDS {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            for (cmd, tidied) in [(TIDY, true), (STUBBORN, false)] {
                let mut traced = lasthop(command).expect("a command");
                traced.args(["--", "sh", "-c", cmd]);
                let running = Running::start(&mut traced).expect("starts");
                running.wait_stderr("armed", READY_LIMIT).expect("ready");
                alone(&running, signal);
                let done = running.finish(RUN_LIMIT).expect("it ends");
                let what = format!("{command:?} {signal} {}", done.stderr);
                assert_eq!(done.code(), Some(0), "{what}");
                assert_eq!(done.stderr.contains("tidied"), tidied, "{what}");
                assert!(done.text().starts_with("{\"type\":\"meta\""), "{what}");
            }
        }
    }
}

/// Its probes take a while; who has changed their mind meanwhile does not want CMD to be run.
#[test]
fn a_signal_before_it_is_ready_keeps_cmd_from_being_run() {
    let _turn = take_turn().expect("a turn");
    for command in COMMANDS {
        let mut traced = lasthop(command).expect("a command");
        traced.args(["-vv", "--", "sh", "-c", "echo armed >&2; sleep 1"]);
        let running = Running::start(&mut traced).expect("starts");
        // From here on a signal is caught.
        std::thread::sleep(Duration::from_millis(5));
        while !catches(running.pid(), Signal::SIGINT) {
            std::thread::sleep(Duration::from_millis(1));
        }
        alone(&running, Signal::SIGINT);
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(0), "{command:?}: {}", done.stderr);
        assert!(!done.stderr.contains("armed"), "{command:?}: {}", done.stderr);
        assert!(done.text().starts_with("{\"type\":\"meta\""), "{command:?}: {}", done.text());
    }
}

/// `SigCgt` of proc(5).
fn catches(pid: Pid, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("hexadecimal");
    mask >> (signal as i32 - 1) & 1 != 0
}

/// As nohup(1) starts it.
#[test]
fn a_hangup_that_is_to_be_outlived_is() {
    let _turn = take_turn().expect("a turn");
    for command in COMMANDS {
        let mut kept = Command::new("sh");
        kept.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(binary().expect("lasthop"));
        let running = Running::start(kept.args(command)).expect("starts");
        running.wait_stderr("lasthop: ready:", READY_LIMIT).expect("ready");
        alone(&running, Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(500));
        running.signal(Signal::SIGINT).expect("it is still there");
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(0), "{command:?}: {}", done.stderr);
    }
}

/// Whether a process is there, and has not ended.
fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// The processes that have told their number by `child PID`.
fn told(stderr: &str) -> Vec<Pid> {
    let numbers = stderr.lines().filter_map(|line| line.strip_prefix("child ")?.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// In its process group, in a session of its own, and one whose parents have gone: none means to end.
const FAMILY: &str = "\
    stay='trap \"\" TERM INT HUP; echo child $$ >&2; while :; do sleep 0.05; done'
    sh -c \"$stay\" & setsid sh -c \"$stay\" & (setsid sh -c \"$stay\" &)
    while :; do sleep 0.05; done";

#[test]
fn all_that_cmd_started_ends_with_it() {
    let _turn = take_turn().expect("a turn");
    for command in COMMANDS {
        for signal in [Some(Signal::SIGTERM), None] {
            let mut traced = lasthop(command).expect("a command");
            if signal.is_none() {
                traced.args(["--for", "3s"]);
            }
            let running = Running::start(traced.args(["--", "sh", "-c", FAMILY])).expect("starts");
            running.wait_stderr_text(READY_LIMIT, |text| told(text).len() == 3).expect("a family");
            if let Some(signal) = signal {
                alone(&running, signal);
            }
            let done = running.finish(RUN_LIMIT).expect("it ends");
            assert_eq!(done.code(), Some(0), "{command:?}: {}", done.stderr);
            let left: Vec<_> =
                told(&done.stderr).into_iter().filter(|pid| is_alive(*pid)).collect();
            assert_eq!(left, [], "{command:?} {signal:?}: {}", done.stderr);
        }
    }
}

/// A daemon, say, that is meant to go on.
#[test]
fn what_cmd_leaves_behind_as_it_ends_goes_on() {
    const LEAVES: &str = "setsid sh -c 'echo child $$; sleep 60' >\"$0\" 2>&1 & \
        while ! [ -s \"$0\" ]; do sleep 0.05; done";
    let _turn = take_turn().expect("a turn");
    let file = scratch("left-behind").expect("a directory").join("child");
    for command in COMMANDS {
        let _ = std::fs::remove_file(&file);
        let mut traced = lasthop(command).expect("a command");
        traced.args(["--", "sh", "-c", LEAVES]).arg(&file);
        let done = run(&mut traced, RUN_LIMIT).expect("runs");
        assert_eq!(done.code(), Some(0), "{command:?}: {}", done.stderr);
        let left = told(&std::fs::read_to_string(&file).expect("a number"));
        assert_eq!(left.len(), 1, "{command:?}");
        let is_there = is_alive(left[0]);
        let _ = kill(Pid::from_raw(-left[0].as_raw()), Signal::SIGKILL);
        assert!(is_there, "{command:?}: {}", done.stderr);
    }
}

#[test]
fn how_cmd_ended_is_said_and_its_parent_is_lasthop_to_it() {
    let _turn = take_turn().expect("a turn");
    for (cmd, words) in [
        ("exit 5", "the command ended with exit status: 5"),
        ("kill -9 $$", "the command ended with signal: 9 (SIGKILL)"),
        ("kill -INT $PPID; while :; do sleep 0.05; done", ""),
    ] {
        let mut traced = lasthop(COMMANDS[0]).expect("a command");
        let done = run(traced.args(["--", "sh", "-c", cmd]), RUN_LIMIT).expect("runs");
        assert_eq!(done.code(), Some(0), "{cmd}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{cmd}: {}", done.stderr);
    }
}

/// A shell that has SIGCHLD blocked waits for ever, and one with SIGTERM blocked does not end.
#[test]
fn cmd_has_no_signal_blocked() {
    let _turn = take_turn().expect("a turn");
    for command in COMMANDS {
        let mut traced = lasthop(command).expect("a command");
        traced.args(["--", "grep", "SigBlk", "/proc/self/status"]);
        let done = run(&mut traced, RUN_LIMIT).expect("it ends");
        let blocked = done.stderr.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        assert_eq!(blocked.map(str::trim), Some("0000000000000000"), "{}", done.stderr);
    }
}
