//! Tracing does not change traffic: the same packets, bytes, order and counters with and without.

use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{RUN_LIMIT, trace};

/// What the network and the receivers say about one run of the same traffic.
#[derive(Debug, PartialEq, Eq)]
struct Observed {
    /// Lines of the programs: numbers of datagrams, order, digest of all bytes.
    said: Vec<String>,
    /// `/proc/net/dev` of both ends: packets, bytes, errors and drops.
    devices: Vec<String>,
    /// `/proc/net/snmp` of both ends, UDP and ICMP: delivered, no port, buffer errors ….
    protocols: Vec<String>,
}

fn lines(bed: &Bed, ns: &str, file: &str, wanted: &[&str]) -> Vec<String> {
    let text = bed.output(ns, "cat", &[file]).expect("a file of the kernel's");
    let kept = text.lines().filter(|line| wanted.iter().any(|w| line.trim_start().starts_with(w)));
    kept.map(|line| format!("{ns}: {}", line.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// Datagrams that are echoed one by one, so that nothing can overflow; datagrams to a closed port;
/// a TCP transfer, of which only the bytes are compared, its segments being a matter of timing.
fn traffic(bed: &Bed) -> Observed {
    let mut said = Vec::new();
    let echo = bed.hold(B, &format!("udp-listen --on {B4}:4444 --count 300 --echo")).expect("echo");
    let flags = "--count 300 --size 700 --await-ms 2000";
    let sent = bed.peer(A, &format!("udp-send --from {A4}:4000 --to {B4}:4444 {flags}"));
    said.push(sent.expect("a sender").text());
    said.push(echo.finish(RUN_LIMIT).expect("the echo ends").text());
    let refused = bed.peer(A, &format!("udp-send --to {B4}:5555 --count 5 --await-ms 2000"));
    said.push(refused.expect("a sender").text());
    let counters =
        |file, wanted: &[&str]| [lines(bed, A, file, wanted), lines(bed, B, file, wanted)].concat();
    let devices = counters("/proc/net/dev", &["eth0:"]);
    let protocols = counters("/proc/net/snmp", &["Udp:", "Icmp:", "IcmpMsg:", "Ip:"]);

    let listener = bed.hold(B, &format!("tcp-listen --on {B4}:4444")).expect("a listener");
    let sent = bed.peer(A, &format!("tcp-connect --from {A4}:4001 --to {B4}:4444 --bytes 500000"));
    said.push(sent.expect("a client").text());
    said.push(listener.finish(RUN_LIMIT).expect("the listener ends").text());
    Observed { said, devices, protocols }
}

/// A fresh bed, with neighbours known and no IPv6: nothing but the traffic moves a counter.
fn quiet_bed() -> Bed {
    let bed = Bed::without_ipv6().expect("a bed");
    for (ns, address, mac) in [(A, A4, "02:00:00:00:00:0a"), (B, B4, "02:00:00:00:00:0b")] {
        let other = if ns == A { B } else { A };
        bed.ip(&format!("-n {ns} link set eth0 address {mac}")).expect("a MAC");
        bed.ip(&format!("-n {other} neigh replace {address} lladdr {mac} dev eth0"))
            .expect("neigh");
    }
    bed
}

fn run(filter: Option<&str>) -> Observed {
    let bed = quiet_bed();
    // The counters begin at zero for both runs but for what building the bed sent.
    let baseline = lines(&bed, A, "/proc/net/dev", &["eth0:"]);
    let tracer = filter.map(|f| trace(&[f, "--json"]).expect("a trace"));
    let mut observed = traffic(&bed);
    if let Some(tracer) = tracer {
        tracer.signal(nix::sys::signal::Signal::SIGINT).expect("a signal");
        let done = tracer.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        if filter != Some("udp port 9") {
            assert!(done.text().matches("\"hop\"").count() > 1000, "it was not traced");
        }
    }
    observed.devices.extend(baseline);
    observed
}

#[test]
fn traffic_is_the_same_with_and_without() {
    let alone = run(None);
    assert!(alone.said[0].contains("sent=300 echoed=300 errors=0"), "{alone:#?}");
    assert!(alone.said[1].contains("received=300") && alone.said[1].contains("in_order=true"));
    assert!(alone.said[3].contains("echoed=500000 same=true"), "{alone:#?}");
    assert_eq!(run(None), alone, "the traffic itself varies, nothing can be compared");
    for filter in ["udp port 9", "udp", "host 10.78.0.1"] {
        assert_eq!(run(Some(filter)), alone, "with the filter {filter:?}");
    }
}
