//! Devices that get their packets by way of another device, and devices that nobody asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{RUN_LIMIT, trace};
use tests::process::Running;
use tests::recording::Recording;

/// Another subnet, on devices above the wire.
const UPPER_A: &str = "10.79.0.1";
const UPPER_B: &str = "10.79.0.2";
const MAC_A: &str = "02:00:00:00:01:0a";
const MAC_B: &str = "02:00:00:00:01:0b";
const COUNT: u64 = 5;
/// Until a change is noticed; each try sends one more datagram.
const TRIES: usize = 50;
const TRY: Duration = Duration::from_millis(200);

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

/// A macvlan above the wire on either side. The neighbours are told: the device below would answer
/// for the address too.
fn upper_devices(bed: &Bed) {
    for (ns, address, mac) in [(A, UPPER_A, MAC_A), (B, UPPER_B, MAC_B)] {
        let add =
            format!("-n {ns} link add upper link eth0 address {mac} type macvlan mode bridge");
        bed.ip(&add).expect("macvlan");
        bed.ip(&format!("-n {ns} addr add {address}/24 dev upper")).expect("an address");
        bed.ip(&format!("-n {ns} link set upper up")).expect("up");
    }
    for (ns, other, mac) in [(A, UPPER_B, MAC_B), (B, UPPER_A, MAC_A)] {
        bed.ip(&format!("-n {ns} neigh replace {other} lladdr {mac} dev upper"))
            .expect("neighbour");
    }
}

/// How many packets to that port, or (port 0) for that address by ARP, were seen at a place.
fn seen(recording: &Recording, (ns, dev, hook): (&str, &str, &str), dport: u64) -> u64 {
    let is_there = |hop: &&serde_json::Value| {
        let tuple = &hop["tuple"];
        let is_it = if dport == 0 { tuple["proto"] == "arp" } else { tuple["dport"] == dport };
        is_it && hop["netns"]["name"] == ns && hop["dev"]["name"] == dev && hop["hook"] == hook
    };
    recording.hops().filter(is_there).count() as u64
}

/// A packet for the upper device alone goes round in the kernel's receive function; one for all is
/// received anew by it.
fn every_hop_is_seen_once(is_there_before: bool) {
    let bed = Bed::without_ipv6().expect("a bed");
    if is_there_before {
        upper_devices(&bed);
    }
    let running = trace(&["net 10.79.0.0/24", "--json"]).expect("a trace");
    if !is_there_before {
        upper_devices(&bed);
        // Until the devices have been noticed, by datagrams that nobody counts.
        let noticed = |text: &str| {
            let at = ["\"hook\":\"tc-ingress\"", "\"name\":\"upper\"", "\"dport\":4000"];
            text.lines().any(|line| at.iter().all(|part| line.contains(part)))
        };
        let try_once = |_| {
            bed.peer(A, &format!("udp-send --to {UPPER_B}:4000")).expect("a sender");
            running.wait_stdout(TRY, noticed).is_ok()
        };
        assert!((0..TRIES).any(try_once), "the devices that appeared are not seen");
    }
    bed.peer(A, &format!("udp-send --to {UPPER_B}:4444 --count {COUNT}")).expect("a sender");
    // Nobody has this address: the kernel asks all for it.
    bed.peer(A, "udp-send --to 10.79.0.9:4444").expect("a sender");
    let has = |text: &str, parts: &[&str], n: u64| {
        text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count() as u64 >= n
    };
    let enough = |text: &str| {
        let asked = ["\"proto\":\"arp\"", "\"name\":\"upper\"", "\"hook\":\"tc-ingress\""];
        has(text, &["\"hook\":\"drop\"", "\"dport\":4444"], COUNT) && has(text, &asked, 1)
    };
    running.wait_stdout(RUN_LIMIT, enough).expect("their ends");
    let recording = end(running);
    let ways = [
        (A, "upper", "tc-egress"),
        (A, "eth0", "tc-egress"),
        (B, "eth0", "tc-ingress"),
        (B, "upper", "tc-ingress"),
    ];
    for place in ways {
        assert_eq!(seen(&recording, place, 4444), COUNT, "{place:?}: {:#?}", places(&recording));
    }
    let asked = |dev| seen(&recording, (B, dev, "tc-ingress"), 0);
    // The last may still be on its way from one device to the other (`macvlan_process_broadcast`).
    let (below, above) = (asked("eth0"), asked("upper"));
    assert!(above == below || above + 1 == below, "{:#?}", places(&recording));
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
