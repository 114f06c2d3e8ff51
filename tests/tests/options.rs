//! How a trace is bounded, ended and read.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tests::bed::{A, A4, B, B4, B6, Bed};
use tests::lasthop::{RUN_LIMIT, binary, peer, ready_line, run_lasthop, scratch, trace};
use tests::process::{Finished, run};
use tests::recording::Recording;

#[track_caller]
fn recording(done: &Finished) -> Recording {
    Recording::parse(&done.stdout).unwrap_or_else(|p| panic!("{p:#?}\n{}", done.stderr))
}

/// Arguments after `--` that send datagrams to a closed port from A to B.
fn datagrams(count: u32) -> Vec<String> {
    let peer = peer().expect("peer").to_string_lossy().into_owned();
    format!("ip netns exec {A} {peer} udp-send --from {A4}:4000 --to {B4}:4444 --count {count}")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

fn traced(options: &[&str], count: u32) -> Finished {
    let sender = datagrams(count);
    let mut args = vec!["trace", "udp port 4444"];
    args.extend(options);
    args.push("--");
    args.extend(sender.iter().map(String::as_str));
    run_lasthop(&args).expect("runs")
}

#[test]
fn nothing_matched_is_12_and_only_when_asked() {
    let began = Instant::now();
    let args = ["trace", "udp port 9", "--for", "1s", "--json", "--exit-code"];
    let done = run_lasthop(&args).expect("runs");
    assert_eq!(done.code(), Some(12), "{}", done.stderr);
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(15));
    assert!(ready_line(&done.stderr).is_some(), "{}", done.stderr);
    assert_eq!(recording(&done).verdicts().len(), 0);
    let done = run_lasthop(&["trace", "udp port 9", "--for", "1s"]).expect("runs");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
}

#[test]
fn it_stops_after_so_many_packets() {
    let bed = Bed::new().expect("a bed");
    let running = trace(&["udp port 4444", "--json", "--packets", "3"]).expect("a trace");
    bed.peer(A, &format!("udp-send --to {B4}:4444 --count 10")).expect("a sender");
    let done = running.finish(RUN_LIMIT).expect("it ends by itself");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(recording(&done).journeys().count() >= 3);
}

#[test]
fn a_signal_ends_it_and_what_was_seen_is_explained() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let bed = Bed::new().expect("a bed");
        let running = trace(&["udp port 4444", "--json", "--exit-code"]).expect("a trace");
        bed.peer(A, &format!("udp-send --to {B4}:4444 --count 3")).expect("a sender");
        // Lines are flushed as they are written: the drop is there before the end.
        running.wait_stdout(RUN_LIMIT, |text| text.contains("\"hook\":\"drop\"")).expect("live");
        kill(running.pid(), signal).expect("a signal");
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(10), "{signal}: {}", done.stderr);
        let recording = recording(&done);
        let outcomes: Vec<_> = recording.verdicts().iter().map(|v| v["outcome"].clone()).collect();
        assert_eq!(outcomes, ["dropped"], "{signal}");
    }
}

#[test]
fn ports_and_namespaces_bound_the_tc_hooks() {
    let _bed = Bed::new().expect("a bed");
    let places = |options: &[&str]| {
        let done = traced(&[&["--json"], options].concat(), 3);
        let hops = recording(&done);
        let mut places: Vec<String> = hops
            .hops()
            .filter(|hop| hop["hook"].as_str().is_some_and(|h| h.starts_with("tc-")))
            .map(|hop| format!("{} {}", hop["netns"]["name"], hop["dev"]["name"]).replace('"', ""))
            .collect();
        places.sort();
        places.dedup();
        places
    };
    assert_eq!(places(&[]), ["lh-test-a eth0", "lh-test-b eth0"]);
    assert_eq!(places(&["--netns", A]), ["lh-test-a eth0"]);
    assert_eq!(places(&["--netns", "/run/netns/lh-test-b"]), ["lh-test-b eth0"]);
    assert_eq!(places(&["--netns", A, "--netns", B]), ["lh-test-a eth0", "lh-test-b eth0"]);
    assert_eq!(places(&["--netns", "all", "--port", "eth?"]), ["lh-test-a eth0", "lh-test-b eth0"]);
    assert_eq!(places(&["--port", "lo"]), Vec::<String>::new());
}

#[test]
fn stdout_is_json_only_whatever_the_command_prints() {
    let _bed = Bed::new().expect("a bed");
    let script = format!("echo not json; echo neither >&2; {}", datagrams(1).join(" "));
    let args = ["trace", "udp port 4444", "--json", "--", "sh", "-c", &script];
    let done = run_lasthop(&args).expect("runs");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(recording(&done).verdicts().len(), 1);
    assert!(done.stderr.contains("not json") && done.stderr.contains("neither"), "{}", done.stderr);
}

#[test]
fn jq_reads_every_line() {
    let _bed = Bed::new().expect("a bed");
    let done = traced(&["--json"], 3);
    let path = scratch("options").expect("a directory").join("jq.ndjson");
    std::fs::write(&path, &done.stdout).expect("writes");
    let jq = run(Command::new("jq").args(["-r", ".type"]).arg(&path), RUN_LIMIT).expect("jq");
    assert_eq!(jq.code(), Some(0), "{}", jq.stderr);
    let types = jq.text();
    assert_eq!(types.lines().count(), done.text().lines().count());
    for wanted in ["meta", "hop", "journey", "verdict"] {
        assert!(types.lines().any(|kind| kind == wanted), "no {wanted}: {types}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let _bed = Bed::new().expect("a bed");
    let lasthop = binary().expect("lasthop");
    for json in ["--json", ""] {
        let script = format!(
            "{} trace 'udp port 4444' {json} -- sh -c '{} >&2' | head -n 1; echo \"status ${{PIPESTATUS[0]}}\"",
            lasthop.display(),
            datagrams(20).join(" ")
        );
        let done = run(Command::new("bash").args(["-c", &script]), RUN_LIMIT).expect("runs");
        assert!(done.text().ends_with("status 0\n"), "{json}: {} {}", done.text(), done.stderr);
        assert!(!done.stderr.contains("panicked"), "{json}: {}", done.stderr);
        assert!(!done.stderr.to_lowercase().contains("broken pipe"), "{json}: {}", done.stderr);
    }
}

#[test]
fn the_words_name_the_places() {
    let _bed = Bed::new().expect("a bed");
    let done = traced(&["--exit-code"], 3);
    assert_eq!(done.code(), Some(10), "{}", done.stderr);
    for word in ["lh-test-a", "lh-test-b", "eth0", "NO_SOCKET", "__udp4_lib_rcv", B4] {
        assert!(done.text().contains(word), "no {word}: {}", done.text());
    }
    assert!(!done.text().contains('\u{1b}'), "colours without a terminal: {}", done.text());
}

#[test]
fn explain_reads_its_input_too() {
    let _bed = Bed::new().expect("a bed");
    let recorded = traced(&["--json", "--exit-code"], 3);
    let path = scratch("options").expect("a directory").join("stdin.ndjson");
    std::fs::write(&path, &recorded.stdout).expect("writes");
    let mut command = Command::new(binary().expect("lasthop"));
    command.args(["explain", "-", "--json", "--exit-code"]);
    command.stdin(std::fs::File::open(&path).expect("opens"));
    let running = tests::process::Running::start(&mut command).expect("starts");
    let done = running.finish(RUN_LIMIT).expect("ends");
    assert_eq!(done.code(), Some(10), "{}", done.stderr);
    let again = Recording::parse_lines(&done.stdout).expect("good lines");
    assert_eq!(again.verdicts(), recording(&recorded).verdicts());
}

#[test]
fn both_directions_and_both_families_match_without_src_or_dst() {
    let bed = Bed::new().expect("a bed");
    let _echo = bed.hold(B, "udp-listen --on [::]:4444 --echo").expect("an echo");
    let running = trace(&["udp and port 4444", "--json", "--exit-code"]).expect("a trace");
    for to in [B4, &format!("[{B6}]")] {
        bed.peer(A, &format!("udp-send --to {to}:4444 --await-ms 2000")).expect("a sender");
    }
    kill(running.pid(), Signal::SIGINT).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let recording = recording(&done);
    assert_eq!(recording.verdicts().len(), 2, "{:#?}", recording.verdicts());
    for verdict in recording.verdicts() {
        assert_eq!(verdict["packets"], 2, "a datagram and its echo: {verdict}");
    }
}

/// The stack of programs that call each other, and the verifier's patience, are used up by what the filter
/// asks for: a hook that the kernel takes for one shape it may refuse for another.
#[test]
fn every_shape_of_filter_attaches_all_that_doctor_finds() {
    const WAYS: [&str; 5] = ["tp_btf:", "cgroup_skb:", "fentry:", "fexit:", "kprobe:"];
    const SHAPES: [&str; 9] = [
        "udp",
        "icmp6",
        "port 53",
        "host 10.0.0.1",
        "host 10.0.0.1 and port 53",
        "udp 10.0.0.1:1000 -> 10.0.0.2:53",
        "tcp [fd00::1]:1000 -> [fd00::2]:53",
        "net 10.0.0.0/8",
        "icmp 10.0.0.1 -> 10.0.0.2",
    ];
    let doctor = run_lasthop(&["doctor", "--json"]).expect("runs");
    let checks = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let checks = checks.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found: BTreeSet<String> = checks
        .filter(|check| check["status"] == "ok")
        .filter_map(|check| check["detail"].as_str().map(str::to_owned))
        .filter(|detail| WAYS.iter().any(|way| detail.starts_with(way)))
        .collect();
    assert!(found.len() >= 4, "{found:?}");
    for shape in SHAPES {
        let done = run_lasthop(&["trace", shape, "--for", "10ms", "--json"]).expect("runs");
        let recording = recording(&done);
        let meta = recording.meta().unwrap_or_else(|| panic!("{shape}: {}", done.stderr));
        let probes = meta["probes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let probes: BTreeSet<String> = probes.map(str::to_owned).collect();
        assert!(probes.is_superset(&found), "{shape}: {probes:?} of {found:?}");
    }
}
