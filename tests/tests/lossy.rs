//! More happens than the ring buffer has room for: what lasthop lost itself is no loss of the network's,
//! and a drop in the midst of it is found all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, lasthop, peer, scratch};
use tests::process::{Finished, Running, must};
use tests::recording::Recording;

/// Datagrams that all arrive.
const FLOOD: u64 = 60_000;
/// How many of them are on their way at once: several times as many events as the ring buffer holds.
const BATCH: u64 = 200;
/// The port of the flood.
const PORT: u16 = 4001;
/// A port that nobody listens at, and how many datagrams go there meanwhile.
const CLOSED: u16 = 4009;
const DROPPED: u64 = 200;
/// The longest that a peer takes.
const LIMIT: Duration = Duration::from_secs(130);

/// Traces a flood through a ring buffer that is too small for it; `amid` happens meanwhile.
fn flooded(bed: &Bed, name: &str, amid: Option<&str>) -> (Finished, Recording) {
    let file = scratch("lossy").expect("a directory").join(name);
    let filter = format!("udp and src host {A4}");
    let args = ["trace", &filter, "--json", "--exit-code", "--ring", "64K"];
    let running =
        Running::start_into(&mut lasthop(&args).expect("a command"), &file).expect("starts");
    running.wait_stderr("lasthop: ready: ", READY_LIMIT).expect("ready");
    let amid = amid.map(|args| {
        Running::start(&mut bed.peer_command(A, args).expect("a peer")).expect("starts")
    });
    let mut flood = std::process::Command::new(peer().expect("peer"));
    let args = format!(
        "--limit 120 batches --from {A} {A4}:{PORT} --to {B} {B4}:{PORT} --rounds 1 --batch {BATCH} \
         --packets {FLOOD}"
    );
    flood.args(args.split(' '));
    must(&mut flood, LIMIT).expect("all of them arrive");
    if let Some(amid) = amid {
        amid.finish(LIMIT).expect("it ends");
    }
    running.signal(Signal::SIGINT).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    let text = std::fs::read(&file).expect("a recording");
    let recording = Recording::parse(&text).unwrap_or_else(|p| panic!("{p:#?}"));
    assert!(recording.lost() > 0, "the ring buffer had room for everything");
    (done, recording)
}

fn verdicts_of(recording: &Recording, port: u16) -> Vec<&Value> {
    let is_its = |v: &&Value| v["forward"]["dport"] == port;
    recording.verdicts().into_iter().filter(is_its).collect()
}

#[test]
fn what_lasthop_lost_itself_is_no_loss() {
    let bed = Bed::without_ipv6().expect("a bed");
    let (done, recording) = flooded(&bed, "healthy.ndjson", None);
    let outcomes: BTreeSet<_> =
        recording.verdicts().iter().filter_map(|v| v["outcome"].as_str()).collect();
    println!("{} events lost: {outcomes:?}", recording.lost());
    assert_eq!(done.code(), Some(13), "{:#?}", recording.verdicts());
    // Each loss says where and when it was.
    for lost in recording.of_type("lost").filter(|lost| lost["what"] == "ring-full") {
        assert!(
            lost["hook"].is_string() && lost["since"].as_u64() <= lost["until"].as_u64(),
            "{lost}"
        );
        assert!(lost["until"].as_u64() <= lost["ts"].as_u64(), "{lost}");
    }
    let known = ["delivered", "unknown"];
    assert!(outcomes.iter().all(|outcome| known.contains(outcome)), "{:#?}", recording.verdicts());
    for journey in recording.journeys() {
        assert!(known.iter().any(|known| journey["outcome"] == *known), "{journey}");
    }
}

#[test]
fn a_drop_in_the_midst_of_it_is_found() {
    let bed = Bed::without_ipv6().expect("a bed");
    let amid = format!("--limit 60 udp-send --to {B4}:{CLOSED} --count {DROPPED} --gap-ms 5");
    let (done, recording) = flooded(&bed, "faulty.ndjson", Some(&amid));
    assert_eq!(done.code(), Some(10), "{:#?}", recording.verdicts());
    let found = verdicts_of(&recording, CLOSED);
    let is_found = |v: &&Value| v["outcome"] == "dropped" && v["reason"] == "NO_SOCKET";
    assert!(found.iter().any(is_found), "{found:#?}");
    for verdict in verdicts_of(&recording, PORT) {
        let outcome = &verdict["outcome"];
        assert!(*outcome == "delivered" || *outcome == "unknown", "{verdict:#}");
    }
}
