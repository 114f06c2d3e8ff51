//! Nothing stays attached, however the tracer ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use tests::bed::{A, B, Bed};
use tests::bpf_objects::{Kind, Object, exists, held_by};
use tests::lasthop::{RUN_LIMIT, lasthop, trace};
use tests::process::Running;

/// The kernel frees programs and maps after a grace period, on its own time.
const GRACE: Duration = Duration::from_secs(10);

fn pinned() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What tc itself lists: qdiscs and filters of the devices in the namespaces.
fn tc(bed: &Bed) -> String {
    let mut text = String::new();
    for ns in [A, B] {
        text += &bed.output(ns, "tc", &["qdisc", "show"]).expect("tc qdisc");
        for hook in ["ingress", "egress"] {
            text += &bed.output(ns, "tc", &["filter", "show", "dev", "eth0", hook]).expect("tc");
        }
    }
    text
}

/// One trace from start to end; returns what it held while all its probes were attached.
fn one_run(signal: Signal) -> BTreeSet<Object> {
    let args = ["udp port 9", "--json", "--netns", A, "--netns", B];
    let running = trace(&args).expect("a trace");
    let held = held_by(running.pid()).expect("its descriptors");
    kill(running.pid(), signal).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    if signal == Signal::SIGKILL {
        assert_eq!(done.signal(), Some(Signal::SIGKILL as i32));
    } else {
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
    }
    held
}

fn nothing_is_left_after(times: usize, signal: Signal) {
    let bed = Bed::new().expect("a bed");
    let (tc_before, pinned_before) = (tc(&bed), pinned());
    let mut held = BTreeSet::new();
    for _ in 0..times {
        let now = one_run(signal);
        assert!(now.iter().any(|(kind, _)| *kind == Kind::Program), "it held no program: {now:?}");
        held.extend(now);
    }
    let deadline = Instant::now() + GRACE;
    loop {
        let left: Vec<Object> = held.iter().copied().filter(|object| exists(*object)).collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "of {} objects these are left: {left:?}", held.len());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(tc(&bed), tc_before);
    assert_eq!(pinned(), pinned_before);
}

#[test]
fn attached_and_detached_a_hundred_times() {
    nothing_is_left_after(100, Signal::SIGINT);
}

#[test]
fn killed_without_warning_a_hundred_times() {
    nothing_is_left_after(100, Signal::SIGKILL);
}

/// Settings of the whole node that others have changed to attach faster.
const SETTINGS: [&str; 2] = ["/sys/kernel/rcu_expedited", "/sys/kernel/rcu_normal"];

fn settings() -> Vec<String> {
    let read = |path| std::fs::read_to_string(path).expect("a kernel with RCU").trim().to_owned();
    SETTINGS.iter().map(read).collect()
}

/// Neither while it starts on many devices, nor while it traces, nor when it is killed in between.
#[test]
fn the_node_is_left_as_it_was() {
    let bed = Bed::new().expect("a bed");
    for n in 0..50 {
        bed.ip(&format!("-n {A} link add m{n} type veth peer name m{n} netns {B}")).expect("veth");
    }
    let before = (settings(), tc(&bed), pinned());
    let args = ["trace", "udp port 9", "--json", "--netns", A, "--netns", B];
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let running = Running::start(&mut lasthop(&args).expect("a command")).expect("starts");
        let began = Instant::now();
        while running.wait_stderr("lasthop: ready: ", Duration::from_millis(1)).is_err() {
            assert_eq!(settings(), before.0, "while it starts");
            assert!(began.elapsed() < RUN_LIMIT, "it is not ready");
        }
        assert_eq!((settings(), tc(&bed), pinned()), before, "while it traces");
        kill(running.pid(), signal).expect("a signal");
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert!(done.signal().is_some() || done.code() == Some(0), "{}", done.stderr);
        assert_eq!((settings(), tc(&bed), pinned()), before, "after {signal}");
    }
}
