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
        std::thread::yield_now();
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

/// The node's switch that speeds up the attaching of many hooks.
const EXPEDITED: &str = "/sys/kernel/rcu_expedited";

fn expedited() -> String {
    std::fs::read_to_string(EXPEDITED).expect("a kernel with RCU").trim().to_owned()
}

#[track_caller]
fn expedited_becomes(wanted: &str, limit: Duration) {
    let deadline = Instant::now() + limit;
    while expedited() != wanted {
        assert!(Instant::now() < deadline, "{EXPEDITED} is not {wanted}");
    }
}

/// Killed at the worst moment: while the node is set otherwise than it was.
#[test]
fn the_nodes_own_settings_are_restored() {
    let bed = Bed::new().expect("a bed");
    for n in 0..50 {
        bed.ip(&format!("-n {A} link add m{n} type veth peer name m{n} netns {B}")).expect("veth");
    }
    assert_eq!(expedited(), "0");
    for _ in 0..5 {
        let args = ["trace", "udp port 9", "--json", "--netns", A, "--netns", B];
        let running = Running::start(&mut lasthop(&args).expect("a command")).expect("starts");
        expedited_becomes("1", RUN_LIMIT);
        kill(running.pid(), Signal::SIGKILL).expect("a signal");
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.signal(), Some(Signal::SIGKILL as i32));
        expedited_becomes("0", GRACE);
    }
    let running = trace(&["udp port 9", "--json", "--netns", A, "--netns", B]).expect("a trace");
    assert_eq!(expedited(), "0", "while it traces");
    kill(running.pid(), Signal::SIGINT).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    assert_eq!((done.code(), expedited().as_str()), (Some(0), "0"), "{}", done.stderr);
}
