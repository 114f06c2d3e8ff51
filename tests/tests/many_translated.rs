//! One translated connection among ten thousand: the verdict on it is right, the others are not on
//! the record, and memory stays where it was.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{RUN_LIMIT, trace};
use tests::machine;
use tests::recording::Recording;

/// The service's address, which B translates to its own.
const SERVICE: &str = "10.96.0.1";
const MANY: usize = 10_000;
/// What the collector may hold at its most, KiB.
const MEMORY: u64 = 64 * 1024;

const RULES: &str = "table ip service {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 10.96.0.1 tcp dport 443 dnat to 10.78.0.2:8443
		ip daddr 10.96.0.1 tcp dport 444 dnat to 10.78.0.2:8444
	}
}";

fn service(bed: &Bed) {
    let rules = std::env::temp_dir().join("lh-test-rules");
    std::fs::write(&rules, RULES).expect("a file");
    bed.output(B, "nft", &["-f", &rules.to_string_lossy()]).expect("rules");
    bed.ip(&format!("-n {A} route add {SERVICE} via {B4}")).expect("a route");
    let room = "echo 16384 >/proc/sys/net/core/somaxconn; echo 16384 >/proc/sys/net/ipv4/tcp_max_syn_backlog";
    bed.output(B, "sh", &["-c", room]).expect("room for connections that wait");
}

/// Waits until the connection from this port stands in B's table.
fn until_tracked(bed: &Bed, port: &str) {
    let limit = Instant::now() + Duration::from_secs(10);
    let args = ["-L", "-p", "tcp", "--orig-port-src", port];
    while !bed.output(B, "conntrack", &args).is_ok_and(|text| text.contains("ASSURED")) {
        assert!(Instant::now() < limit, "the connection does not come to stand");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The most memory that a process has held so far, KiB.
fn high_water(pid: nix::unistd::Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn one_of_ten_thousand_loses_its_translation() {
    if let Some(missing) = ["nft", "conntrack"].into_iter().find(|c| machine::command(c).is_none())
    {
        eprintln!("skipped: this machine has no {missing}");
        return;
    }
    let bed = Bed::without_ipv6().expect("a bed");
    service(&bed);
    let _echo =
        bed.hold(B, &format!("tcp-listen --on {B4}:8443 --delay-ms 2000")).expect("a listener");
    let _crowd = bed
        .hold(B, &format!("--limit 120 tcp-listen --on {B4}:8444 --backlog 16384 --never-accept"))
        .expect("a listener");
    let filter = format!("tcp {A4}:4000 -> {SERVICE}:443");
    let tracer = trace(&[&filter, "--json", "--exit-code"]).expect("a trace");
    let _many = bed
        .hold(A, &format!("--limit 120 tcp-many --to {SERVICE}:444 --count {MANY}"))
        .expect("many connections");
    let tracked = bed.output(B, "conntrack", &["-C"]).expect("a count");
    assert!(tracked.trim().parse::<usize>().expect("a number") >= MANY, "{tracked}");

    let to = format!("--from {A4}:4000 --to {SERVICE}:443");
    let mut client =
        bed.peer_command(A, &format!("--limit 5 tcp-connect {to} --keep-open")).expect("a client");
    let mut client = client.spawn().expect("a client");
    until_tracked(&bed, "4000");
    bed.output(B, "conntrack", &["-D", "-p", "tcp", "--orig-port-src", "4000"]).expect("deleted");
    let _ = client.wait();

    let held = high_water(tracer.pid());
    tracer.signal(Signal::SIGINT).expect("a signal");
    let done = tracer.finish(RUN_LIMIT).expect("it ends");
    assert_eq!(done.code(), Some(11), "{}", done.stderr);
    let recording = Recording::parse(&done.stdout).unwrap_or_else(|p| panic!("{p:#?}"));
    let verdicts = recording.verdicts();
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    assert_eq!(verdicts[0]["outcome"], "reply-not-translated");
    assert_eq!(verdicts[0]["forward"]["dst"], SERVICE);
    let text = verdicts[0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("not there any more"), "{text}");
    assert!(recording.hops().count() < 200, "others are on the record");
    assert_eq!(recording.lost(), 0);
    assert!(held < MEMORY, "{held} KiB were held");
}
