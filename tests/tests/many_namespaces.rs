//! Namespaces that come and go while a trace runs, as on a node that starts and stops its pods:
//! nothing of them stays, nobody is flooded with warnings, and a flow is judged as ever.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tests::bed::{A, A4, B, B4, Bed, ip_batch};
use tests::lasthop::{RUN_LIMIT, trace};
use tests::process::Running;
use tests::recording::Recording;
use tests::usage::{Usage, usage};

/// Namespaces in one turn, each with a pair of devices that leads into A.
const AT_ONCE: usize = 25;
/// Turns before anything is measured: what is remembered for a while is there by then.
const FIRST: usize = 2;
/// Turns that are measured: 200 namespaces.
const TURNS: usize = 8;
/// What may be held more at the end, KiB: less than 1 KiB a device that is gone.
const GROWTH: u64 = 2048;
/// Until what has gone is let go of: names are looked for every second.
const SETTLED: Duration = Duration::from_secs(20);
/// Lines on stderr.
const LINES: usize = 10;

fn name(n: usize) -> String {
    format!("lh-pod-{n}")
}

/// They come, get a device each, and go again. The devices of the last turn may still be there: a
/// namespace is taken apart in the kernel's own time.
fn turn(number: usize) {
    ip_batch("", (0..AT_ONCE).map(|n| format!("netns add {}", name(n)))).expect("namespaces");
    let link =
        |n| format!("link add pod{number}-{n} up type veth peer name eth0 netns {}", name(n));
    ip_batch(A, (0..AT_ONCE).map(link)).expect("links");
    remove();
}

fn remove() {
    let there = (0..AT_ONCE).map(name).filter(|pod| Path::new("/run/netns").join(pod).exists());
    ip_batch("", there.map(|pod| format!("netns del {pod}"))).expect("they are removed");
}

/// What it holds once it has let go of all that has gone: the fewest descriptors within a while.
fn settled(pid: Pid, descriptors: Option<u64>) -> Usage {
    let limit = Instant::now() + SETTLED;
    let mut held = usage(pid).expect("it runs");
    let mut since = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(250));
        let now = usage(pid).expect("it runs");
        if now.descriptors != held.descriptors {
            since = Instant::now();
        }
        held = now;
        let enough = descriptors
            .map_or(since.elapsed() > Duration::from_secs(3), |wanted| held.descriptors <= wanted);
        if enough || Instant::now() > limit {
            return held;
        }
    }
}

struct Pods;

impl Drop for Pods {
    fn drop(&mut self) {
        remove();
    }
}

#[test]
fn two_hundred_namespaces_come_and_go() {
    let bed = Bed::without_ipv6().expect("a bed");
    let _pods = Pods;
    remove();
    let tracer = trace(&["udp port 4444", "--json", "--exit-code"]).expect("a trace");
    let pid = tracer.pid();
    // A flow that is traced all the while: its echoes are delivered, until the listener ends.
    let _listener =
        bed.hold(B, &format!("--limit 300 udp-listen --on {B4}:4444 --echo")).expect("a listener");
    let sender = format!(
        "--limit 300 udp-send --from {A4}:4000 --to {B4}:4444 --count 100 --gap-ms 100 --await-ms 2000"
    );
    for number in 0..FIRST {
        turn(number);
    }
    let first = settled(pid, None);
    let traffic =
        Running::start(&mut bed.peer_command(A, &sender).expect("peer")).expect("traffic");
    let began = Instant::now();
    for number in FIRST..FIRST + TURNS {
        turn(number);
    }
    let took = began.elapsed();
    let sent = traffic.finish(RUN_LIMIT).expect("it ends").text();
    let last = settled(pid, Some(first.descriptors));
    println!(
        "{} namespaces in {:.1} s: {first:?} before, {last:?} after; {}",
        TURNS * AT_ONCE,
        took.as_secs_f64(),
        sent.trim()
    );
    assert!(sent.contains("sent=100 echoed=100 errors=0"), "{sent}");
    assert!(last.descriptors <= first.descriptors, "{first:?} {last:?}");
    assert!(last.threads <= first.threads, "{first:?} {last:?}");
    assert!(last.resident <= first.resident + GROWTH, "{first:?} {last:?}");

    tracer.signal(Signal::SIGINT).expect("a signal");
    let done = tracer.finish(RUN_LIMIT).expect("it ends");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    println!("{} lines on stderr", done.stderr.lines().count());
    assert!(done.stderr.lines().count() <= LINES, "{}", done.stderr);
    let recording = Recording::parse(&done.stdout).unwrap_or_else(|p| panic!("{p:#?}"));
    let verdicts = recording.verdicts();
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    let verdict = verdicts[0];
    assert_eq!((&verdict["outcome"], &verdict["packets"]), (&"delivered".into(), &200.into()));
    assert_eq!(recording.lost(), 0);
}
