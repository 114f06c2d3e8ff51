//! A node with a thousand ports: how long until all are attached, how much memory that takes, and
//! a flow among them.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use tests::bed::{A, B, B4, Bed, ip_batch};
use tests::lasthop::{RUN_LIMIT, lasthop, ready_line};
use tests::process::Running;
use tests::recording::Recording;
use tests::usage::usage;

/// Pairs of ports, both ends in A.
const PAIRS: u64 = 500;
/// Far more than it should take: the kernel may wait for a grace period at each of two thousand
/// hooks, on an emulated or busy machine.
const ATTACH_LIMIT: Duration = Duration::from_mins(4);
/// Most that may be resident, KiB: what a trace of few ports takes, and 20 KiB a port.
const MEMORY: u64 = 64 * 1024 + 2 * PAIRS * 20;

#[test]
fn a_flow_among_a_thousand_ports() {
    let bed = Bed::without_ipv6().expect("a bed");
    let pair = |n| format!("link add p{n}a up type veth peer name p{n}b");
    ip_batch(A, (0..PAIRS).map(pair)).expect("ports");
    let args = ["trace", "udp port 4444", "--json", "--exit-code", "--netns", A, "--netns", B];
    let began = Instant::now();
    let running = Running::start(&mut lasthop(&args).expect("a command")).expect("starts");
    let said = running.wait_stderr(" devices\n", ATTACH_LIMIT).expect("attached");
    let ready = began.elapsed();
    let (_, devices) = ready_line(&said).expect("the ready line");
    // Two loopback devices, the wire, and the ports.
    assert_eq!(devices, 2 * PAIRS + 4, "{said}");
    let held = usage(running.pid()).expect("it runs");
    println!(
        "{devices} devices attached in {:.2} s: {} KiB resident, {} at the most, {} descriptors",
        ready.as_secs_f64(),
        held.resident,
        held.peak,
        held.descriptors
    );
    assert!(held.peak < MEMORY, "{} KiB", held.peak);

    bed.peer(A, &format!("udp-send --to {B4}:4444 --count 3")).expect("a sender");
    running.wait_stdout(RUN_LIMIT, |text| text.contains("\"hook\":\"drop\"")).expect("its end");
    let stopping = Instant::now();
    kill(running.pid(), Signal::SIGINT).expect("a signal");
    let done = running.finish(ATTACH_LIMIT).expect("it ends");
    println!("detached and ended in {:.2} s", stopping.elapsed().as_secs_f64());
    assert_eq!(done.code(), Some(10), "{}", done.stderr);
    let recording = Recording::parse(&done.stdout).unwrap_or_else(|p| panic!("{p:#?}"));
    let verdicts = recording.verdicts();
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    assert_eq!((&verdicts[0]["outcome"], &verdicts[0]["packets"]), (&"dropped".into(), &3.into()));
    assert_eq!(verdicts[0]["reason"], "NO_SOCKET");
    assert_eq!(verdicts[0]["where"]["netns"], B);
}
