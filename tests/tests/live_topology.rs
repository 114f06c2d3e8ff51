//! Devices and namespaces that change while the trace runs.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::bed::{A, B, B4, Bed, C};
use tests::lasthop::{RUN_LIMIT, trace};
use tests::process::{Finished, Running};
use tests::recording::Recording;

/// Until a change is noticed; each try sends one more datagram.
const TRIES: usize = 50;
const TRY: Duration = Duration::from_millis(200);

/// Sends datagrams until a hop satisfies `seen`: the handshake for "the tracer has noticed".
#[track_caller]
fn send_until(bed: &Bed, running: &Running, from: &str, to: &str, what: &str, seen: &[&str]) {
    let is_seen = |text: &str| text.lines().any(|line| seen.iter().all(|part| line.contains(part)));
    for _ in 0..TRIES {
        bed.peer(from, &format!("udp-send --to {to}:4444")).expect("a sender");
        if running.wait_stdout(TRY, is_seen).is_ok() {
            return;
        }
    }
    let text = running.wait_stdout(Duration::ZERO, |_| true).unwrap_or_default();
    panic!("{what}: no hop with {seen:?} among {} lines", text.lines().count());
}

#[track_caller]
fn end(running: Running) -> Finished {
    running.signal(Signal::SIGINT).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    if let Err(problems) = Recording::parse(&done.stdout) {
        panic!("{problems:#?}");
    }
    done
}

/// A wire of its own between A and B, with addresses 10.79.0.1 and 10.79.0.2.
fn second_wire(bed: &Bed, name: &str) {
    bed.ip(&format!("-n {A} link add {name} type veth peer name {name} netns {B}")).expect("veth");
    for (ns, address) in [(A, "10.79.0.1/24"), (B, "10.79.0.2/24")] {
        bed.ip(&format!("-n {ns} addr add {address} dev {name}")).expect("an address");
        bed.ip(&format!("-n {ns} link set {name} up")).expect("up");
    }
}

#[test]
fn a_device_that_appears_is_attached() {
    let bed = Bed::new().expect("a bed");
    let running = trace(&["udp port 4444", "--json"]).expect("a trace");
    second_wire(&bed, "late0");
    let hop = ["\"hook\":\"tc-ingress\"", "\"name\":\"late0\"", "\"name\":\"lh-test-b\""];
    send_until(&bed, &running, A, "10.79.0.2", "appeared", &hop);
    end(running);
}

#[test]
fn a_device_that_does_not_match_the_glob_is_not_attached() {
    let bed = Bed::new().expect("a bed");
    let running = trace(&["udp port 4444", "--json", "--port", "late*"]).expect("a trace");
    second_wire(&bed, "late0");
    let hop = ["\"hook\":\"tc-egress\"", "\"name\":\"late0\""];
    send_until(&bed, &running, A, "10.79.0.2", "appeared", &hop);
    bed.peer(A, &format!("udp-send --to {B4}:4444 --count 3")).expect("a sender");
    let text = end(running).text();
    let on_eth0 = |l: &&str| l.contains("\"hook\":\"tc-") && l.contains("\"name\":\"eth0\"");
    assert_eq!(text.lines().find(on_eth0), None);
}

#[test]
fn a_renamed_device_is_called_by_its_new_name() {
    let bed = Bed::new().expect("a bed");
    let running = trace(&["udp port 4444", "--json"]).expect("a trace");
    let old = ["\"hook\":\"tc-egress\"", "\"name\":\"eth0\"", "\"name\":\"lh-test-a\""];
    send_until(&bed, &running, A, B4, "before", &old);
    bed.ip(&format!("-n {A} link set eth0 name fresh0")).expect("renamed");
    let new = ["\"hook\":\"tc-egress\"", "\"name\":\"fresh0\"", "\"name\":\"lh-test-a\""];
    send_until(&bed, &running, A, B4, "renamed", &new);
    end(running);
}

#[test]
fn a_device_that_moves_is_followed_into_a_new_namespace() {
    let bed = Bed::new().expect("a bed");
    let running = trace(&["udp port 4444", "--json"]).expect("a trace");
    bed.add(C).expect("a namespace");
    bed.ip(&format!("-n {B} link set eth0 netns {C}")).expect("moved");
    bed.ip(&format!("-n {C} addr add {B4}/24 dev eth0")).expect("an address");
    bed.ip(&format!("-n {C} link set eth0 up")).expect("up");
    let hop = ["\"hook\":\"tc-ingress\"", "\"name\":\"eth0\"", "\"name\":\"lh-test-c\""];
    send_until(&bed, &running, A, B4, "moved", &hop);
    end(running);
}

#[test]
fn a_device_and_a_namespace_that_vanish_do_no_harm() {
    let bed = Bed::new().expect("a bed");
    second_wire(&bed, "brief0");
    let running = trace(&["udp port 4444", "--json"]).expect("a trace");
    let hop = ["\"hook\":\"tc-egress\"", "\"name\":\"brief0\""];
    send_until(&bed, &running, A, "10.79.0.2", "there", &hop);
    bed.ip(&format!("-n {A} link del brief0")).expect("deleted");
    let hop = ["\"hook\":\"tc-egress\"", "\"name\":\"eth0\"", "\"name\":\"lh-test-a\""];
    send_until(&bed, &running, A, B4, "the other still works", &hop);
    bed.ip(&format!("netns del {B}")).expect("deleted");
    // The namespace's end takes the wire with it; loopback remains.
    let hop = ["\"name\":\"lo\"", "\"name\":\"lh-test-a\""];
    send_until(&bed, &running, A, "127.0.0.1", "after the namespace", &hop);
    end(running);
}

/// Many at once, as when a node starts its pods.
#[test]
fn fifty_devices_at_once() {
    let bed = Bed::new().expect("a bed");
    let running = trace(&["udp port 4444", "--json"]).expect("a trace");
    for n in 0..50 {
        bed.ip(&format!("-n {A} link add m{n} type veth peer name m{n} netns {B}")).expect("veth");
    }
    bed.ip(&format!("-n {A} addr add 10.79.0.1/24 dev m49")).expect("an address");
    bed.ip(&format!("-n {B} addr add 10.79.0.2/24 dev m49")).expect("an address");
    for ns in [A, B] {
        bed.ip(&format!("-n {ns} link set m49 up")).expect("up");
    }
    let hop = ["\"hook\":\"tc-ingress\"", "\"name\":\"m49\"", "\"name\":\"lh-test-b\""];
    send_until(&bed, &running, A, "10.79.0.2", "the last of fifty", &hop);
    end(running);
}
