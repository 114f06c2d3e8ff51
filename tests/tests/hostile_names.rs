//! Names from hostile hands, in the kernel, on the command line and in recordings: whatever they
//! hold, a terminal shows text and every line of NDJSON is one object.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::lasthop::{RUN_LIMIT, lasthop, peer, run_lasthop, scratch};
use tests::machine::{Turn, take_turn};
use tests::process::{Finished, must, run};

const LIMIT: Duration = Duration::from_secs(20);

/// A namespace may be called anything that a file may: a newline, a title for the terminal's window,
/// and bytes that are no UTF-8.
const NEAR: &[u8] = b"lh-near\n\x1b]0;owned\x07\"'\\$(id)\xff";
/// And in UTF-8: CSI as one character (C1), an override of the direction of writing.
const FAR: &[u8] = b"lh-far \xc2\x9b2J\xe2\x80\xaex\xc3\xa9";
/// A device may be called anything of 15 bytes but for white space, a slash and a colon.
const NEAR_DEVICE: &[u8] = b"\x1b[2J\x07\"'\\\xc3\xa9";
const FAR_DEVICE: &[u8] = b"\xff\xfe\x9b31m\x7f\x01";
/// A third, which nothing passes.
const IDLE_DEVICE: &[u8] = b"\xe2\x80\xae\xc2\x9b2J,\"}";

/// What a name in a recording ends with.
const POISON: &str = "\"\\\n{\u{1b}]0;owned\u{7}\u{9b}2J\u{7f}\u{202e}\r";

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Two namespaces and a wire between them, all with names that nobody means well with.
struct HostileBed {
    _turn: Turn,
}

impl HostileBed {
    fn new() -> Self {
        let bed = Self { _turn: take_turn().expect("a turn") };
        Self::remove();
        for netns in [NEAR, FAR] {
            ip(&[b"netns", b"add", netns]);
        }
        ip(&[
            b"-n",
            NEAR,
            b"link",
            b"add",
            NEAR_DEVICE,
            b"type",
            b"veth",
            b"peer",
            b"name",
            FAR_DEVICE,
            b"netns",
            FAR,
        ]);
        ip(&[b"-n", FAR, b"link", b"add", IDLE_DEVICE, b"type", b"bridge"]);
        let ends: [(&[u8], &[u8], &[u8]); 2] =
            [(NEAR, NEAR_DEVICE, b"10.78.0.1/24"), (FAR, FAR_DEVICE, b"10.78.0.2/24")];
        for (netns, device, address) in ends {
            ip(&[b"-n", netns, b"addr", b"add", address, b"dev", device]);
            ip(&[b"-n", netns, b"link", b"set", device, b"up"]);
        }
        bed
    }

    fn remove() {
        for netns in [NEAR, FAR] {
            if Path::new("/run/netns").join(OsStr::from_bytes(netns)).exists() {
                ip(&[b"netns", b"del", netns]);
            }
        }
    }
}

impl Drop for HostileBed {
    fn drop(&mut self) {
        Self::remove();
    }
}

#[track_caller]
fn ip(words: &[&[u8]]) {
    let mut ip = Command::new("ip");
    ip.args(words.iter().map(|word| OsStr::from_bytes(word)));
    must(&mut ip, LIMIT).expect("ip");
}

/// Text that a terminal only shows.
#[track_caller]
fn assert_harmless(text: &[u8], what: &str) {
    let text = std::str::from_utf8(text).unwrap_or_else(|e| panic!("{what}: {e}"));
    for line in text.lines() {
        let harmful = line.chars().find(|c| c.is_control());
        assert_eq!(harmful, None, "{what}: {:?}", line.escape_debug().to_string());
    }
}

/// The same, and nothing that is not seen, or that reorders what is.
#[track_caller]
fn assert_plain(done: &Finished, what: &str) {
    assert_harmless(&done.stdout, what);
    assert_harmless(done.stderr.as_bytes(), what);
    let both = done.text() + &done.stderr;
    assert!(!both.contains(['\u{202e}', '\u{200b}', '\u{feff}']), "{what}: {both:?}");
    assert!(!both.contains("panicked"), "{what}: {both}");
}

/// Lines of JSON, one object each.
#[track_caller]
fn assert_json(done: &Finished, what: &str) -> Vec<Value> {
    assert_harmless(&done.stdout, what);
    assert_harmless(done.stderr.as_bytes(), what);
    let text = done.text();
    let read = |line: &str| serde_json::from_str::<Value>(line);
    let lines =
        text.lines().map(|line| read(line).unwrap_or_else(|e| panic!("{what}: {e}: {line}")));
    lines.inspect(|value| assert!(value.is_object(), "{what}: {value}")).collect()
}

/// A program with a name like the others', which sends datagrams to a closed port and fails.
fn sender(dir: &Path) -> PathBuf {
    let path = dir.join(OsStr::from_bytes(b"send\x1b[31m\"\xff.sh"));
    let script = format!(
        "#!/bin/sh\nip netns exec \"$1\" {} udp-send --to 10.78.0.2:4444 --count 3\nexit 7\n",
        peer().expect("peer").display()
    );
    std::fs::write(&path, script).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

/// `lasthop ARG… -- SENDER`.
#[track_caller]
fn watched(args: &[&str], sender: &Path) -> Finished {
    let mut command = lasthop(args).expect("a command");
    command.arg("--").arg(sender).arg(OsStr::from_bytes(NEAR));
    let done = run(&mut command, RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(0), "{args:?}: {}", done.stderr);
    done
}

#[test]
fn names_of_devices_and_namespaces_break_nothing() {
    let _bed = HostileBed::new();
    let dir = scratch("hostile").expect("a directory");
    let sender = sender(&dir);
    let filter = "udp and port 4444";

    let recorded = watched(&["trace", filter, "--json", "--netns", "all", "-vv"], &sender);
    let records = assert_json(&recorded, "trace --json");
    // They are not left out either: each end is seen under its name.
    for (netns, device, hook) in [(NEAR, NEAR_DEVICE, "tc-egress"), (FAR, FAR_DEVICE, "tc-ingress")]
    {
        let is_there = |hop: &&Value| {
            hop["hook"] == hook
                && hop["dev"]["name"] == lossy(device)
                && hop["netns"]["name"] == lossy(netns)
        };
        assert_eq!(records.iter().filter(is_there).count(), 3, "{hook}: {}", recorded.text());
    }
    assert_plain(&watched(&["trace", filter, "-v"], &sender), "trace");

    assert_plain(&watched(&["drops", filter, "-v"], &sender), "drops");
    let done = watched(&["drops", filter, "--json", "--interval", "100ms"], &sender);
    let rows = assert_json(&done, "drops --json");
    let is_there = |row: &Value| row["dev"] == lossy(FAR_DEVICE) && row["netns"] == lossy(FAR);
    assert!(rows.iter().any(is_there), "{}", done.text());

    for verbose in [&["doctor"][..], &["doctor", "-vv"]] {
        assert_plain(&run_lasthop(verbose).expect("runs"), "doctor");
        let json = [verbose, &["--json"]].concat();
        assert_json(&run_lasthop(&json).expect("runs"), "doctor --json");
    }

    let path = dir.join("recorded.ndjson");
    std::fs::write(&path, &recorded.stdout).expect("writes");
    let path = path.to_string_lossy();
    for args in [&["explain", &*path][..], &["explain", &path, "-v"]] {
        let done = run_lasthop(args).expect("runs");
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        assert_plain(&done, "explain");
        assert_json(&run_lasthop(&[args, &["--json"]].concat()).expect("runs"), "explain --json");
    }
}

/// What is refused is told, and so is what there would be instead.
#[test]
fn a_refusal_breaks_nothing() {
    let _bed = HostileBed::new();
    let missing = OsStr::from_bytes(b"/no/such\x1b[2J\xc2\x9b\xff\n");
    let spoilt = OsStr::from_bytes(b"\x1b]0;x\x07\xc2\x9b2J");
    let cases: [(&[&str], &[&OsStr]); 9] = [
        (&["trace", "udp", "--netns", "no-such-netns"], &[]),
        (&["trace", "udp", "--netns"], &[spoilt]),
        (&["trace", "udp", "--netns", "/etc/hostname"], &[]),
        (&["drops", "--netns"], &[spoilt]),
        (&["trace", "udp port 9", "--"], &[missing]),
        (&["trace"], &[spoilt]),
        (&["trace", "--port"], &[OsStr::new("[\u{1b}[2J")]),
        (&["explain"], &[missing]),
        (&["trace", "--for"], &[spoilt]),
    ];
    for (args, rest) in cases {
        let done = run(lasthop(args).expect("a command").args(rest), RUN_LIMIT).expect("runs");
        assert!(matches!(done.code(), Some(1 | 2)), "{args:?}: {:?} {}", done.status, done.stderr);
        assert_plain(&done, &format!("{args:?}"));
    }
}

/// Where a text stands in a record: `hop.dev.name`.
fn places(record: &Value, at: &str, found: &mut BTreeSet<String>) {
    match record {
        Value::String(_) => drop(found.insert(at.to_owned())),
        Value::Array(items) => items.iter().for_each(|item| places(item, at, found)),
        Value::Object(keys) => {
            keys.iter().for_each(|(key, value)| places(value, &format!("{at}.{key}"), found));
        }
        _ => {}
    }
}

/// The record with every text at one of these places spoilt.
fn poisoned(record: &Value, at: &str, wanted: &BTreeSet<String>) -> Value {
    match record {
        Value::String(text) if wanted.contains(at) => Value::String(format!("{text}{POISON}")),
        Value::Array(items) => items.iter().map(|item| poisoned(item, at, wanted)).collect(),
        Value::Object(keys) => keys
            .iter()
            .map(|(key, value)| (key.clone(), poisoned(value, &format!("{at}.{key}"), wanted)))
            .collect(),
        other => other.clone(),
    }
}

fn spoilt(records: &[Value], wanted: &BTreeSet<String>, path: &Path) {
    let of = |record: &Value| record["type"].as_str().unwrap_or_default().to_owned();
    let lines = records.iter().map(|record| format!("{}\n", poisoned(record, &of(record), wanted)));
    std::fs::write(path, lines.collect::<String>()).expect("writes");
}

/// Recordings come from anywhere: every text of every kind of record, one after the other and then
/// all of them at once.
#[test]
fn texts_in_a_recording_break_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-user/tests/recordings");
    let path = scratch("hostile").expect("a directory").join("spoilt.ndjson");
    let file = path.to_string_lossy().into_owned();
    let (mut taken, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for entry in std::fs::read_dir(&folder).expect("recordings") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a recording");
        let records: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let mut all = BTreeSet::new();
        for record in &records {
            places(record, record["type"].as_str().unwrap_or_default(), &mut all);
        }
        let mut accepted = BTreeSet::new();
        for place in all {
            spoilt(&records, &BTreeSet::from([place.clone()]), &path);
            let done = run_lasthop(&["explain", &file, "-v"]).expect("runs");
            assert_plain(&done, &place);
            match done.code() {
                Some(0) => drop(accepted.insert(place)),
                Some(1) => drop(refused.insert(place)),
                _ => panic!("{place}: {:?} {}", done.status, done.stderr),
            }
        }
        spoilt(&records, &accepted, &path);
        for verbose in [&["explain", &file][..], &["explain", &file, "-v"]] {
            assert_plain(&run_lasthop(verbose).expect("runs"), "all at once");
            let json = [verbose, &["--json"]].concat();
            let done = run_lasthop(&json).expect("runs");
            assert_eq!(done.code(), Some(0), "{}", done.stderr);
            assert_json(&done, "all at once");
        }
        taken.extend(accepted);
    }
    println!("taken: {taken:?}\nrefused: {refused:?}");
    // That names, and not only what is refused, were tried.
    for place in ["hop.dev.name", "hop.netns.name", "hop.drop.symbol", "hop.drop.reason"] {
        assert!(taken.contains(place), "{place} was refused");
    }
}
