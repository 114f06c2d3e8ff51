//! `lasthop drops`: every drop counted once, where it happened, and nothing made of everyday life.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, lasthop, peer, run_lasthop};
use tests::machine::take_turn;
use tests::process::{Finished, Running};
use tests::recording::Recording;

/// IPv4 and UDP header, bytes.
const HEADERS: u64 = 28;

/// The rows of `lasthop drops ARGS -- COMMAND`, which is run by `sh -c` in a namespace.
#[track_caller]
fn rows(args: &[&str], netns: &str, command: &str) -> Vec<Value> {
    let mut all = vec!["drops", "--json"];
    all.extend(args);
    all.extend(["--", "ip", "netns", "exec", netns, "bash", "-c", command]);
    rows_of(&run_lasthop(&all).expect("runs"))
}

#[track_caller]
fn rows_of(done: &Finished) -> Vec<Value> {
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let text = String::from_utf8(done.stdout.clone()).expect("text");
    if let Err(problems) = Recording::parse(&done.stdout) {
        panic!("{problems:#?}\n{text}");
    }
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["type"] == "drops").collect()
}

fn sum(rows: &[Value], key: &str) -> u64 {
    rows.iter().map(|row| row[key].as_u64().expect("a number")).sum()
}

fn datagrams(port: u16, count: u32) -> String {
    let peer = peer().expect("peer").to_string_lossy().into_owned();
    format!("{peer} udp-send --from {A4}:4000 --to {B4}:{port} --count {count} --size 100")
}

#[test]
fn every_drop_is_counted_once_and_named() {
    let _bed = Bed::new().expect("a bed");
    let rows = rows(&["udp port 4444"], A, &datagrams(4444, 200));
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let row = &rows[0];
    assert_eq!((&row["reason"], &row["subsystem"]), (&"NO_SOCKET".into(), &"core".into()));
    assert_eq!((&row["netns"], &row["dev"]), (&B.into(), &"eth0".into()));
    assert_eq!((&row["count"], &row["bytes"]), (&200.into(), &(200 * (100 + HEADERS - 20)).into()));
    assert!(row["symbol"].as_str().is_some_and(|symbol| symbol.contains("udp")), "{row}");
    assert!(row["meaning"].as_str().is_some_and(|words| words.contains("socket")), "{row}");
    assert!(row["next"][0].as_str().is_some_and(|command| command.contains(B)), "{row}");
}

#[test]
fn the_filter_leaves_out_what_it_does_not_name() {
    let _bed = Bed::new().expect("a bed");
    let both = format!("{}; {}", datagrams(4444, 30), datagrams(4445, 50));
    assert_eq!(sum(&rows(&["udp port 4445"], A, &both), "count"), 50);
    assert!(sum(&rows(&["--netns", B], A, &both), "count") >= 80);
    assert_eq!(rows(&["udp port 4446"], A, &both), Vec::<Value>::new());
}

#[test]
fn by_tells_drops_apart() {
    let _bed = Bed::new().expect("a bed");
    let both = format!("{}; {}", datagrams(4444, 30), datagrams(4445, 50));
    let by_port = rows(&["udp src port 4000", "--by", "port"], A, &both);
    let counts: BTreeMap<u64, u64> = by_port
        .iter()
        .map(|row| (row["dport"].as_u64().expect("a port"), row["count"].as_u64().expect("one")))
        .collect();
    assert_eq!(counts, BTreeMap::from([(4444, 30), (4445, 50)]));
    // The most frequent first.
    assert_eq!(by_port[0]["dport"], 4445);
    let by_tuple = rows(&["udp src port 4000", "--by", "tuple", "--top", "1"], A, &both);
    assert_eq!(by_tuple.len(), 1);
    let row = &by_tuple[0];
    assert_eq!(
        (&row["proto"], &row["src"], &row["sport"]),
        (&"udp".into(), &A4.into(), &4000.into())
    );
    assert_eq!((&row["dst"], &row["dport"]), (&B4.into(), &4445.into()));
    let by_stack = rows(&["udp src port 4000", "--by", "stack"], A, &both);
    assert!(by_stack.iter().all(|row| row["stack"].as_array().is_some_and(|s| s.len() > 3)));
    assert_eq!(sum(&by_stack, "count"), 80);
}

#[test]
fn a_flood_of_ports_keeps_memory_and_the_top_row_and_loses_no_drop() {
    let _bed = Bed::new().expect("a bed");
    let flood = format!(
        "for p in $(seq 10001 12000); do echo >/dev/udp/{B4}/$p; done; {}",
        datagrams(4444, 3000)
    );
    let rows = rows(&["udp and src host 10.78.0.1", "--by", "port", "--keep", "64"], A, &flood);
    assert_eq!(sum(&rows, "count"), 5000);
    let kept: Vec<&Value> = rows.iter().filter(|row| row["dport"].is_u64()).collect();
    assert!(kept.len() <= 128, "{} ports kept", kept.len());
    assert!(rows.iter().any(|row| row["rest"] == true), "nothing is said of what had no room");
    assert_eq!(kept[0]["dport"], 4444, "{rows:#?}");
    assert!(kept[0]["count"].as_u64() >= Some(1500), "{}", kept[0]);
}

#[test]
fn a_device_that_is_gone_keeps_its_name() {
    let bed = Bed::new().expect("a bed");
    bed.ip(&format!("-n {A} link add late0 type veth peer name late0 netns {B}")).expect("veth");
    for (ns, address) in [(A, "10.79.0.1/24"), (B, "10.79.0.2/24")] {
        bed.ip(&format!("-n {ns} addr add {address} dev late0")).expect("an address");
        bed.ip(&format!("-n {ns} link set late0 up")).expect("up");
    }
    let peer = peer().expect("peer").to_string_lossy().into_owned();
    let command =
        format!("{peer} udp-send --to 10.79.0.2:4444 --count 20; sleep 0.5; ip link del late0");
    let rows = rows(&["udp port 4444"], A, &command);
    assert_eq!((&rows[0]["dev"], &rows[0]["count"]), (&"late0".into(), &20.into()), "{rows:#?}");
}

#[test]
fn everyday_life_is_folded_and_shown_when_asked_for() {
    let _bed = Bed::without_ipv6().expect("a bed");
    // Nobody listens to this group: the receiver drops it, and nobody minds.
    let multicast = "for i in 1 2 3; do echo >/dev/udp/239.1.2.3/4444; done; \
                     ip route add 239.0.0.0/8 dev eth0; ping -c 2 -i 0.2 10.78.0.2";
    let all = rows(&["icmp", "--all"], A, multicast);
    assert!(!all.is_empty(), "the kernel frees echo replies as drops");
    assert!(all.iter().all(|row| row["everyday"].is_string()), "{all:#?}");
    let folded = rows(&["icmp"], A, multicast);
    assert_eq!(folded.len(), 1, "{folded:#?}");
    assert_eq!((&folded[0]["folded"], folded[0]["reason"].is_null()), (&1.into(), true));
    assert_eq!(folded[0]["count"], sum(&all, "count"));
}

#[test]
fn a_table_for_people_and_bad_options_refused() {
    let _bed = Bed::without_ipv6().expect("a bed");
    let done = run_lasthop(&["drops", "udp port 9", "--for", "1s"]).expect("runs");
    assert_eq!((done.code(), done.text().contains("No drops")), (Some(0), true), "{}", done.text());
    assert!(done.stderr.contains("lasthop: ready: "), "{}", done.stderr);
    let sender = datagrams(4444, 7);
    let mut args = vec!["drops", "udp port 4444", "--", "ip", "netns", "exec", A];
    args.extend(sender.split(' '));
    let done = run_lasthop(&args).expect("runs");
    let text = done.text();
    for word in ["DROPS", "NO_SOCKET", "eth0", B, "no socket is open"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    for bad in [&["--by", "colour"][..], &["--top", "0"], &["--keep", "no"], &["--interval", "1"]] {
        let mut args = vec!["drops"];
        args.extend(bad);
        let done = run_lasthop(&args).expect("runs");
        assert_eq!((done.code(), done.stderr.lines().count()), (Some(2), 1), "{}", done.stderr);
    }
}

/// Runs `work` in a namespace.
fn inside<T: Send>(netns: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let netns = File::open(Path::new("/run/netns").join(netns)).expect("a namespace");
            setns(netns, CloneFlags::CLONE_NEWNET).expect("entered");
            work()
        });
        there.join().expect("no panic")
    })
}

/// A client that says first that it is done, as HTTP/1.0's do.
fn half_closed_connections(count: usize) {
    let listener = inside(B, || TcpListener::bind((B4, 8000))).expect("listens");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                let mut served = listener.accept().expect("a connection").0;
                served.read_to_end(&mut Vec::new()).expect("a request");
                served.write_all(&vec![b'x'; 100_000]).expect("an answer");
            }
        });
        for _ in 0..count {
            let mut client = inside(A, || TcpStream::connect((B4, 8000))).expect("connects");
            client.write_all(b"GET").expect("a request");
            client.shutdown(Shutdown::Write).expect("done");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("an answer");
            assert_eq!(answer.len(), 100_000);
        }
    });
}

/// What every node has all day: connections, echoes, datagrams to a group and to all that nobody wants.
#[test]
fn ordinary_traffic_prints_nothing() {
    let bed = Bed::without_ipv6().expect("a bed");
    bed.ip(&format!("-n {A} route add 239.0.0.0/8 dev eth0")).expect("a route");
    let counting = lasthop(&["drops", "--json", "--netns", A, "--netns", B]);
    let counting = Running::start(&mut counting.expect("a command")).expect("starts");
    counting.wait_stderr("lasthop: ready:", READY_LIMIT).expect("ready");
    half_closed_connections(20);
    bed.output(A, "ping", &["-c", "2", "-i", "0.2", B4]).expect("echoes");
    let datagrams = inside(A, || UdpSocket::bind((A4, 0))).expect("a socket");
    datagrams.set_broadcast(true).expect("may");
    for to in ["239.1.2.3", "10.78.0.255"] {
        datagrams.send_to(b"x", (to, 4444)).expect("sent");
    }
    // What the other host's softirq has not come to yet is counted before the end.
    std::thread::sleep(Duration::from_millis(300));
    counting.signal(Signal::SIGINT).expect("a signal");
    let done = counting.finish(RUN_LIMIT).expect("it ends");
    let rows = rows_of(&done);
    assert!(rows.iter().all(|row| row["folded"].is_u64()), "{rows:#?}");
    assert_eq!(rows.len(), 1, "nothing was dropped: {rows:#?}");
    // Echo replies, both copies of the broadcast and the one of the multicast at the least.
    assert!(rows[0]["count"].as_u64() >= Some(5), "{rows:#?}");
}

/// What a host's own rules keep it from sending has no device yet.
#[test]
fn a_drop_on_the_way_out_has_its_namespace() {
    let bed = Bed::new().expect("a bed");
    for rule in [
        "add table inet lh",
        "add chain inet lh out { type filter hook output priority 0; }",
        "add rule inet lh out udp dport 4444 drop",
    ] {
        bed.output(A, "nft", &[rule]).expect("a rule");
    }
    // sendto(2) says EPERM.
    let rows = rows(&["udp port 4444"], A, &format!("{} || true", datagrams(4444, 5)));
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!((&rows[0]["netns"], &rows[0]["reason"]), (&A.into(), &"NETFILTER_DROP".into()));
    assert!(rows[0]["next"][0].as_str().is_some_and(|next| next.contains(A)), "{rows:#?}");
}

/// Containers' namespaces often have no name, but their devices do.
#[test]
fn devices_of_a_namespace_without_a_name_are_named() {
    let _turn = take_turn().expect("a turn");
    let make = "ip link add d0 type veth peer name d1; echo ready; exec sleep 60";
    let mut unshare = Command::new("unshare");
    let holder = Running::start(unshare.args(["--net", "sh", "-c", make])).expect("starts");
    holder.wait_stdout(READY_LIMIT, |text| text.contains("ready\n")).expect("devices");
    let netns = std::fs::metadata(format!("/proc/{}/ns/net", holder.pid())).expect("one");
    let netns = netns.ino().to_string();
    // Both ends tell each other what nobody wants to know.
    let up = "ip link set d0 up; ip link set d1 up; sleep 2";
    let pid = holder.pid().to_string();
    let mut args = vec!["drops", "--json", "--all", "--", "nsenter", "--net", "--target", &pid];
    args.extend(["sh", "-c", up]);
    let rows = rows_of(&run_lasthop(&args).expect("runs"));
    let there = rows.iter().filter(|row| row["netns"] == *netns);
    let devices: Vec<_> = there.map(|row| row["dev"].as_str().unwrap_or_default()).collect();
    assert!(!devices.is_empty(), "{rows:#?}");
    assert!(devices.iter().all(|dev| ["d0", "d1"].contains(dev)), "{devices:?}");
    holder.signal(Signal::SIGTERM).expect("a signal");
    holder.finish(RUN_LIMIT).expect("it ends");
}
