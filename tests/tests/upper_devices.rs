//! Devices that get their packets by way of another device, and devices that nobody asked for.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{RUN_LIMIT, trace};
use tests::process::Running;
use tests::recording::Recording;

/// Another subnet, on devices above the wire.
const UPPER_A: &str = "10.79.0.1";
const UPPER_B: &str = "10.79.0.2";
const COUNT: u64 = 5;

fn end(running: Running) -> Recording {
    running.signal(Signal::SIGINT).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    Recording::parse(&done.stdout).unwrap_or_else(|p| panic!("{p:#?}"))
}

/// How many hops there were at each hook of each device.
fn places(recording: &Recording) -> BTreeMap<(String, String, String), u64> {
    let mut places = BTreeMap::new();
    for hop in recording.hops() {
        let text = |pointer| hop.pointer(pointer).and_then(|v| v.as_str()).unwrap_or("").to_owned();
        *places.entry((text("/netns/name"), text("/dev/name"), text("/hook"))).or_default() += 1;
    }
    places
}

fn upper_devices(bed: &Bed) {
    for (ns, address) in [(A, UPPER_A), (B, UPPER_B)] {
        bed.ip(&format!("-n {ns} link add upper link eth0 type macvlan mode bridge"))
            .expect("macvlan");
        bed.ip(&format!("-n {ns} addr add {address}/24 dev upper")).expect("an address");
        bed.ip(&format!("-n {ns} link set upper up")).expect("up");
    }
}

/// A unicast packet goes round in the kernel's receive function; a broadcast is received anew.
fn every_hop_is_seen_once(is_there_before: bool) {
    let bed = Bed::without_ipv6().expect("a bed");
    if is_there_before {
        upper_devices(&bed);
    }
    let running = trace(&["host 10.79.0.2", "--json"]).expect("a trace");
    if !is_there_before {
        upper_devices(&bed);
        // Until the device has been noticed, by a datagram that nobody counts.
        let seen = |text: &str| {
            let at = ["\"hook\":\"tc-ingress\"", "\"name\":\"upper\"", "\"dport\":4000"];
            text.lines().any(|line| at.iter().all(|part| line.contains(part)))
        };
        let noticed = (0..50).any(|_| {
            bed.peer(A, &format!("udp-send --to {UPPER_B}:4000")).expect("a sender");
            running.wait_stdout(std::time::Duration::from_millis(200), seen).is_ok()
        });
        assert!(noticed, "the device that appeared is not seen");
    }
    bed.peer(A, &format!("udp-send --to {UPPER_B}:4444 --count {COUNT}")).expect("a sender");
    let enough = |text: &str| {
        let at = ["\"hook\":\"drop\"", "\"dport\":4444"];
        let is_end = |line: &&str| at.iter().all(|part| line.contains(part));
        text.lines().filter(is_end).count() as u64 >= COUNT
    };
    running.wait_stdout(RUN_LIMIT, enough).expect("their ends");
    let recording = end(running);
    let ours: Vec<_> =
        recording.hops().filter(|hop| hop["tuple"]["dport"] == 4444).cloned().collect();
    let at = |ns: &str, dev: &str, hook: &str| {
        let is_there = |hop: &&serde_json::Value| {
            hop["netns"]["name"] == ns && hop["dev"]["name"] == dev && hop["hook"] == hook
        };
        ours.iter().filter(is_there).count() as u64
    };
    let ways = [
        (A, "upper", "tc-egress"),
        (A, "eth0", "tc-egress"),
        (B, "eth0", "tc-ingress"),
        (B, "upper", "tc-ingress"),
    ];
    for (ns, dev, hook) in ways {
        assert_eq!(at(ns, dev, hook), COUNT, "{hook} {dev} {ns}: {:#?}", places(&recording));
    }
    // The kernel asked by broadcast who has the address.
    let asked = |dev: &str| {
        let is_there = |hop: &&serde_json::Value| {
            hop["tuple"]["proto"] == "arp"
                && hop["netns"]["name"] == B
                && hop["dev"]["name"] == dev
                && hop["hook"] == "tc-ingress"
        };
        recording.hops().filter(is_there).count()
    };
    if is_there_before {
        assert_eq!((asked("eth0"), asked("upper")), (1, 1), "{:#?}", places(&recording));
    }
}

#[test]
fn at_devices_that_are_there() {
    every_hop_is_seen_once(true);
}

#[test]
fn at_devices_that_appear() {
    every_hop_is_seen_once(false);
}

#[test]
fn nothing_is_recorded_where_nobody_asked() {
    let bed = Bed::without_ipv6().expect("a bed");
    upper_devices(&bed);
    let at_devices = |recording: &Recording| {
        let mut places = places(recording);
        places.retain(|(_, _, hook), _| hook.starts_with("tc-"));
        places.into_keys().map(|(ns, dev, _)| (ns, dev)).collect::<Vec<_>>()
    };
    for (args, only) in [
        (["--netns", A].as_slice(), (A, "eth0")),
        (["--netns", B, "--port", "eth*"].as_slice(), (B, "eth0")),
    ] {
        let args = [&["udp port 4444", "--json"], args].concat();
        let running = trace(&args).expect("a trace");
        bed.peer(A, &format!("udp-send --from {A4}:4001 --to {B4}:4444 --count {COUNT}"))
            .expect("a sender");
        let enough = |text: &str| text.matches("\"hook\":\"drop\"").count() as u64 >= COUNT;
        running.wait_stdout(RUN_LIMIT, enough).expect("their ends");
        let recording = end(running);
        let mut places = at_devices(&recording);
        places.dedup();
        assert_eq!(places, [(only.0.to_owned(), only.1.to_owned())], "{args:?}");
        assert_eq!(recording.lost(), 0);
    }
}
