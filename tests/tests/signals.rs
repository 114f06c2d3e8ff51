//! What ends lasthop before its time: it stops cleanly, and lets CMD do so.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, binary, lasthop};
use tests::machine::take_turn;
use tests::process::Running;

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
