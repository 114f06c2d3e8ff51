//! Traffic of which nothing ever comes again, for as long as one likes: what the tracer holds does
//! not grow once it holds what it may. `LASTHOP_SOAK` is the length in seconds.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::bed::{A, B, B4, Bed};
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, lasthop, scratch};
use tests::process::{Finished, Running};
use tests::usage::{Samples, growth};

/// Length where nobody says it, seconds.
const LENGTH: u32 = 24;
/// What is held fills up before that, seconds: some thousands of settled packets and of flows, and of
/// drops the rows that are kept.
const WARM_UP: u32 = 15;
/// New flows a second.
const RATE: u32 = 10_000;
/// The first of the addresses that B has, 10.79.0.0/16.
const ADDRESS: &str = "10.79.0.1";
/// Growth that is none, bytes a flow: a number that is kept of each would be eight.
const LEAST: f64 = 4.0;
/// How often it is looked again where something has grown: on a slow machine a table may grow a last
/// time later. What is held of every flow goes on growing.
const WINDOWS: u32 = 4;

fn length() -> u32 {
    let said = std::env::var("LASTHOP_SOAK").ok().and_then(|text| text.parse().ok());
    said.unwrap_or(LENGTH).max(WARM_UP + 6)
}

/// B has sixty thousand addresses and listens at port 4444 of all of them.
fn addresses(bed: &Bed) -> Running {
    bed.ip(&format!("-n {A} route add 10.79.0.0/16 via {B4}")).expect("a route");
    bed.ip(&format!("-n {B} route add local 10.79.0.0/16 dev lo")).expect("addresses");
    bed.hold(B, &format!("--limit {} udp-listen --on 0.0.0.0:4444", 60 + length() * (1 + WINDOWS)))
        .expect("a listener")
}

/// Runs `lasthop ARG…` under new flows to these ports; what it held does not grow. How it ended.
#[track_caller]
fn soaked(bed: &Bed, args: &[&str], ports: &str, out: &Path) -> Finished {
    let mut command = lasthop(args).expect("a command");
    let running = Running::start_into(&mut command, out).expect("starts");
    running.wait_stderr("lasthop: ready: ", READY_LIMIT).expect("ready");
    let longest = length() + WINDOWS * (length() - WARM_UP);
    let flows = format!(
        "--limit {} udp-flows --to {ADDRESS}:4444 --ports {ports} --per-second {RATE} --seconds {}",
        longest + 30,
        longest + 20
    );
    let traffic = Running::start(&mut bed.peer_command(A, &flows).expect("peer")).expect("traffic");
    std::thread::sleep(Duration::from_secs(WARM_UP.into()));
    let window = Duration::from_secs((length() - WARM_UP).into());
    let mut bytes = f64::MAX;
    for _ in 0..WINDOWS {
        let held = Samples::take(running.pid(), window, Duration::from_millis(250)).expect("runs");
        bytes = grown(args[0], &held);
        if bytes < LEAST {
            break;
        }
    }
    assert!(bytes < LEAST, "{bytes:.1} bytes more are held for each flow");
    drop(traffic);
    running.signal(Signal::SIGINT).expect("a signal");
    running.finish(RUN_LIMIT).expect("it ends")
}

/// Threads that read rules and routes and look for Open vSwitch: they come when there is something to
/// ask, and go.
const ASKERS: u64 = 3;

/// Prints what was held; by how much its memory has grown, bytes a flow.
#[track_caller]
fn grown(what: &str, held: &Samples) -> f64 {
    let held = held.all();
    let (first, last) = (held.first().expect("samples").1, held.last().expect("samples").1);
    let bytes = 1024.0 * growth(held, |usage| usage.resident) / f64::from(RATE);
    let descriptors = growth(held, |usage| usage.descriptors);
    println!(
        "{what}: in {} s {} KiB at first, {} KiB at last, {bytes:.1} bytes a flow; {} descriptors, \
         {} threads",
        length() - WARM_UP,
        first.resident,
        last.resident,
        last.descriptors,
        last.threads
    );
    assert!(descriptors.abs() < 0.05, "{what}: {descriptors:.2} descriptors a second");
    let threads = first.threads.abs_diff(last.threads);
    assert!(threads <= ASKERS, "{what}: {} threads, then {}", first.threads, last.threads);
    bytes
}

/// How many flows had a socket, how many had none, and how many events were lost.
fn outcomes(recording: &Path) -> (u64, u64, u64) {
    let (mut delivered, mut dropped, mut lost) = (0, 0, 0);
    for line in BufReader::new(File::open(recording).expect("it is there")).lines() {
        let record: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        match (record["type"].as_str(), record["outcome"].as_str()) {
            (Some("verdict"), Some("dropped")) if record["reason"] == "NO_SOCKET" => dropped += 1,
            // On a busy machine the listener's buffer may be full.
            (Some("verdict"), Some("delivered" | "dropped")) => delivered += 1,
            // Those that were not told of one by one.
            (Some("summary"), _) => {
                let flows = |outcome: &str| record["outcomes"][outcome].as_u64().unwrap_or(0);
                delivered += flows("delivered");
                dropped += flows("dropped");
            }
            (Some("lost"), _) => lost += record["count"].as_u64().expect("a count"),
            _ => {}
        }
    }
    (delivered, dropped, lost)
}

fn out(name: &str) -> PathBuf {
    scratch("soak").expect("a directory").join(name)
}

#[test]
fn a_trace_of_ever_new_flows_does_not_grow() {
    let bed = Bed::without_ipv6().expect("a bed");
    let _listener = addresses(&bed);
    let file = out("trace.ndjson");
    // Half of them are delivered, half die: both are judged when they make room for others.
    let args = ["trace", "udp and dst net 10.79.0.0/16", "--json", "--netns", A, "--netns", B];
    let done = soaked(&bed, &args, "4444,4445", &file);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let (delivered, dropped, lost) = outcomes(&file);
    println!("{delivered} flows delivered, {dropped} dropped, {lost} events lost");
    std::fs::remove_file(&file).expect("removed");
    assert!(delivered.min(dropped) > u64::from(RATE), "{delivered} delivered, {dropped} dropped");
    // An uneven last port, and what was cut off at the end.
    let uneven = delivered.abs_diff(dropped);
    assert!(lost > 0 || uneven * 50 < delivered, "{delivered} delivered, {dropped} dropped");
}

#[test]
fn counting_drops_of_ever_new_flows_does_not_grow() {
    let bed = Bed::without_ipv6().expect("a bed");
    let _listener = addresses(&bed);
    let file = out("drops.ndjson");
    let args = ["drops", "udp and dst net 10.79.0.0/16", "--json", "--interval", "2s"];
    let by = ["--by", "tuple", "--keep", "4096", "--top", "5"];
    let done = soaked(&bed, &[&args[..], &by].concat(), "4445", &file);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    std::fs::remove_file(&file).expect("removed");
}
