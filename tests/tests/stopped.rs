//! The collector stands still while the load goes on: events are lost, they are counted, and the
//! traffic does not notice.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, lasthop, peer, scratch};
use tests::process::{Running, must};
use tests::recording::Recording;

/// Datagrams of the flood; each is several events, and the ring buffer holds some ten thousand.
const FLOOD: u64 = 100_000;
/// Datagrams that are followed before it: what a datagram is on the record.
const BEFORE: u64 = 50;
/// Of so many events one may be neither on record nor told to be lost.
const UNTOLD: u64 = 100;
/// Nothing is written for so long: everything was read.
const QUIET: Duration = Duration::from_millis(1500);

/// Sends datagrams from A to B in batches, each read back before the next is sent: an error when one
/// does not arrive.
fn batches(port: u16, packets: u64) -> String {
    let mut command = std::process::Command::new(peer().expect("peer"));
    let batch = BEFORE.min(packets);
    let args = format!(
        "--limit 120 batches --from {A} {A4}:{port} --to {B} {B4}:{port} --rounds 1 \
         --batch {batch} --packets {packets}"
    );
    command.args(args.split(' '));
    must(&mut command, Duration::from_secs(130)).expect("all of them arrive").text()
}

/// Waits until `enough` holds for what was written so far, and then until nothing more is written:
/// the collector has read all that there was.
#[track_caller]
fn wait_until_quiet(file: &Path, what: &str, enough: impl Fn(&str) -> bool) {
    let limit = Instant::now() + RUN_LIMIT;
    let (mut size, mut since) = (0, Instant::now());
    while since.elapsed() < QUIET {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(50));
        let text = std::fs::read_to_string(file).expect("a recording");
        if text.len() != size || !enough(&text) {
            (size, since) = (text.len(), Instant::now());
        }
    }
}

#[test]
fn a_stopped_collector_counts_what_it_loses_and_the_traffic_goes_on() {
    let _bed = Bed::without_ipv6().expect("a bed");
    let file = scratch("stopped").expect("a directory").join("recording.ndjson");
    let filter = format!("udp and src host {A4}");
    let mut command = lasthop(&["trace", &filter, "--json", "--exit-code"]).expect("a command");
    let running = Running::start_into(&mut command, &file).expect("starts");
    running.wait_stderr("lasthop: ready: ", READY_LIMIT).expect("ready");
    // The flow before the flood: how many hops a datagram has. Two batches go before those that
    // `batches` counts.
    batches(4001, BEFORE);
    let whole = |text: &str, port: u16| {
        let port = format!("\"sport\":{port}");
        let is_its = |line: &&str| line.contains(&port) && line.contains("\"deliver\"");
        text.lines().filter(is_its).count() as u64 == 3 * BEFORE
    };
    wait_until_quiet(&file, "the flow before", |text| whole(text, 4001));

    kill(running.pid(), Signal::SIGSTOP).expect("a signal");
    println!("while it stands still: {}", batches(4002, FLOOD));
    kill(running.pid(), Signal::SIGCONT).expect("a signal");
    // It works on: what comes after is on record, whole.
    wait_until_quiet(&file, "no loss is told", |text| text.contains("\"lost\""));
    batches(4003, BEFORE);
    wait_until_quiet(&file, "the flow after", |text| whole(text, 4003));

    running.signal(Signal::SIGINT).expect("a signal");
    let done = running.finish(RUN_LIMIT).expect("it ends");
    let text = std::fs::read(&file).expect("a recording");
    let recording = Recording::parse(&text).unwrap_or_else(|p| panic!("{p:#?}"));
    let hops =
        |port: u16| recording.hops().filter(|hop| hop["tuple"]["sport"] == port).count() as u64;
    assert_eq!(hops(4001) % (3 * BEFORE), 0, "datagrams differ in their hops");
    let each = hops(4001) / (3 * BEFORE);
    let all = each * (FLOOD + 2 * BEFORE);
    let (seen, lost) = (hops(4002), recording.lost());
    println!("{each} hops a datagram; of {all} hops {seen} are on record and {lost} lost");
    assert!(lost > FLOOD / 2, "hardly any were lost: {lost}");
    assert!(all.abs_diff(seen + lost) <= all / UNTOLD, "{seen} and {lost} are not {all}");
    // Nothing died, as far as is known.
    assert_eq!(done.code(), Some(13), "{}", done.stderr);
    let outcome = |port: u16| {
        recording.verdicts().into_iter().find(|v| v["forward"]["sport"] == port).cloned()
    };
    for port in [4001, 4003] {
        let verdict = outcome(port).unwrap_or_else(|| panic!("no verdict on {port}"));
        assert_eq!(verdict["outcome"], "delivered", "{verdict:#}");
        assert_eq!(verdict["packets"], 3 * BEFORE, "{verdict:#}");
    }
    let flooded = outcome(4002).expect("the flood's first events had room");
    assert_eq!(flooded["incomplete"], true, "{flooded:#}");
}
