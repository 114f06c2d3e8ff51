//! Whatever is typed or fed in wrongly gets one clear line and exit status 1 or 2, never a panic.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::lasthop::{lasthop, run_lasthop, scratch};
use tests::process::{Finished, run};
use tests::schema::OUTCOMES;

/// One line on stderr, nothing on stdout, and no trace of a panic.
#[track_caller]
fn assert_refused(done: &Finished, code: i32, says: &[&str], what: &str) {
    assert_eq!(done.code(), Some(code), "{what}: {}", done.stderr);
    assert_eq!(done.stderr.trim_end().lines().count(), 1, "{what}: {}", done.stderr);
    assert_no_panic(done, what);
    assert_eq!(done.text(), "", "{what}");
    for word in says {
        assert!(done.stderr.contains(word), "{what}: no {word:?} in {}", done.stderr);
    }
}

#[track_caller]
fn assert_no_panic(done: &Finished, what: &str) {
    for word in ["panicked", "backtrace", "RUST_", ".rs:"] {
        assert!(!done.stderr.contains(word), "{what}: {}", done.stderr);
    }
    assert!(done.signal().is_none(), "{what}: ended by a signal");
}

#[test]
fn a_wrong_filter_is_refused_with_its_column() {
    for (filter, column) in [
        ("tpc", 1),
        ("tcp prot 53", 5),
        ("tcp and", 5),
        ("udp and port", 9),
        ("udp and port http", 14),
        ("udp and port 70000", 14),
        ("udp and port -1", 14),
        ("host 10.0.0.256", 6),
        ("host 10.0.0", 6),
        ("net 10.0.0.0/33", 5),
        ("net fd00::/129", 5),
        ("src port 5 or dst port 6", 12),
        ("tcp or udp", 5),
        ("not tcp", 1),
        ("tcp 10.0.0.1:99999 -> 10.0.0.2", 14),
        ("tcp 10.0.0.1:80 -> fd00::1:80", 20),
        ("tcp 10.0.0.1 -> [fd00::1]:80", 17),
        ("tcp 10.0.0.1 -> 10.0.0.2 -> 10.0.0.3", 26),
        ("icmp and port 5", 15),
        ("src tcp", 5),
        ("tcp 10.0.0.1", 5),
        ("host", 1),
    ] {
        let done = run_lasthop(&["trace", filter, "--", "true"]).expect("runs");
        assert_eq!(done.code(), Some(2), "{filter:?}: {}", done.stderr);
        let column = format!("column {column}:");
        assert_refused(&done, 2, &[&column], filter);
    }
}

/// Long and strange, but perhaps sensible: accepted or refused, in either case without a fuss.
#[test]
fn a_hostile_filter_is_taken_or_refused() {
    let long = "tcp and ".repeat(10_000) + "tcp";
    let many = vec!["port 1"; 50].join(" and ");
    for filter in ["\u{1}tcp", "➜ 🦀", "tcp\nudp", &long, &many] {
        let args = ["trace", filter, "--port", "no-such-device", "--", "true"];
        let done = run_lasthop(&args).expect("runs");
        match done.code() {
            Some(0) => assert_no_panic(&done, filter),
            _ => assert_refused(&done, 2, &["column "], &format!("{filter:.40}")),
        }
    }
}

#[test]
fn a_wrong_option_is_refused() {
    for (args, says) in [
        (&["trace", "--jsn"][..], "--jsn"),
        (&["trace", "--for", "soon"], "soon"),
        (&["trace", "--for", "-5s"], "-5"),
        (&["trace", "--for"], "--for"),
        (&["trace", "--packets", "0"], "0"),
        (&["trace", "--packets", "many"], "many"),
        (&["trace", "--port", "[eth"], "[eth"),
        (&["trace", "--port", ""], "--port"),
        (&["explain"], "FILE"),
        (&["explain", "a", "b"], "b"),
        (&["drops", "--top", "-3"], "-3"),
        (&["drops", "--interval", "never"], "never"),
        (&["frobnicate"], "frobnicate"),
        (&["doctor", "--for", "1s"], "--for"),
    ] {
        let done = run_lasthop(args).expect("runs");
        assert_refused(&done, 2, &[says], &args.join(" "));
    }
}

#[test]
fn a_netns_that_is_not_there_is_named() {
    for name in ["no-such-netns", "/no/such/path", "../../etc/passwd", "", "/etc/hostname"] {
        let done = run_lasthop(&["trace", "udp", "--netns", name, "--", "true"]).expect("runs");
        assert!(matches!(done.code(), Some(1 | 2)), "{name:?}: {:?} {}", done.status, done.stderr);
        assert_refused(&done, done.code().unwrap_or_default(), &[name], name);
    }
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let done = run_lasthop(&["trace", "udp port 9", "--for", "20s", "--", "/no/such/program"]);
    let done = done.expect("runs");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert_no_panic(&done, "no such program");
    assert!(done.stderr.contains("/no/such/program"), "{}", done.stderr);
}

#[test]
fn non_utf8_arguments_do_not_panic() {
    use std::os::unix::ffi::OsStrExt;
    let wrong = std::ffi::OsStr::from_bytes(b"tcp \xff\xfe");
    for before in [&["trace"][..], &["trace", "--netns"], &["trace", "--port"], &["explain"]] {
        let mut command = lasthop(before).expect("a command");
        let done = run(command.arg(wrong), tests::lasthop::RUN_LIMIT).expect("runs");
        assert!(matches!(done.code(), Some(1 | 2)), "{before:?}: {}", done.stderr);
        assert_no_panic(&done, &before.join(" "));
    }
}

/// A file of its own: the tests run at the same time, and two may call theirs the same.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = scratch("bad-input").expect("a directory").join(format!("{number}-{name}"));
    std::fs::write(&path, bytes).expect("writes");
    path
}

fn explain(path: &Path) -> Finished {
    run_lasthop(&["explain", &path.to_string_lossy()]).expect("runs")
}

const META: &str = r#"{"type":"meta","version":1,"tool":"lasthop 0","kernel":"6","hostname":"h","start":"2026-01-01T00:00:00Z","start_monotonic_ns":"5","filter":"udp","probes":[]}"#;
const HOP: &str = r#"{"type":"hop","ts":10,"cpu":0,"packet":1,"hop":1,"hook":"tc-egress","tuple":{"proto":"udp","src":"10.0.0.1","sport":1,"dst":"10.0.0.2","dport":2},"len":60}"#;

#[test]
fn a_file_that_is_not_there_or_is_no_file_is_named() {
    for path in ["/no/such/recording", "/", "/proc/self/mem"] {
        let done = explain(Path::new(path));
        assert_refused(&done, 1, &[path], path);
    }
}

#[test]
fn what_is_no_recording_gets_one_line() {
    let random: Vec<u8> =
        (0_u64..65_536).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let endless = [b"{\"type\":\"hop\",\"x\":\"", &vec![b'a'; 10 << 20][..], b"\"}\n"].concat();
    let cases: [(&str, Vec<u8>); 9] = [
        ("empty", Vec::new()),
        ("random", random),
        ("nul", vec![0; 4096]),
        ("newlines", vec![b'\n'; 4096]),
        ("prose", b"hello there\n".to_vec()),
        ("nesting", [b"[".repeat(200_000), b"]".repeat(200_000)].concat()),
        ("nesting-objects", b"{\"a\":".repeat(200_000)),
        ("endless-line", endless),
        ("an-array", b"[]\n".to_vec()),
    ];
    for (name, bytes) in cases {
        let path = file(name, &bytes);
        let done = explain(&path);
        assert_refused(&done, 1, &[], name);
    }
}

#[test]
fn a_wrong_line_is_named_by_its_number() {
    for (name, line) in [
        ("wrong-type", r#"{"type":"hop","ts":"ten","cpu":0,"hook":"tc-egress","len":60}"#),
        ("wrong-hook", r#"{"type":"hop","ts":1,"cpu":0,"hook":"tc-sideways","len":60}"#),
        ("negative", r#"{"type":"hop","ts":-1,"cpu":0,"hook":"drop","len":60}"#),
        ("huge", r#"{"type":"hop","ts":1e300,"cpu":0,"hook":"drop","len":60}"#),
        ("no-hook", r#"{"type":"hop","ts":1,"cpu":0,"len":60}"#),
        ("address", &HOP.replace("10.0.0.1", "10.0.0.999")),
        ("port", &HOP.replace("\"dport\":2", "\"dport\":70000")),
        ("cut", &HOP[..HOP.len() / 2]),
        ("nul-inside", &HOP.replace("udp", "u\u{0}dp")),
        ("deep", &format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
    ] {
        let done = explain(&file(name, format!("{META}\n{HOP}\n{line}\n{HOP}\n").as_bytes()));
        assert_eq!(done.code(), Some(1), "{name}: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{name}: {}", done.stderr);
        assert!(done.stderr.contains("line 3"), "{name}: {}", done.stderr);
        assert_no_panic(&done, name);
    }
}

/// What a killed tracer or a full disk leaves: cut at every place of its last two lines.
#[test]
fn a_recording_cut_anywhere_never_panics() {
    let whole = format!("{META}\n{HOP}\n");
    let path = file("cut-anywhere", b"");
    for end in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..end]).expect("writes");
        let done = explain(&path);
        assert_no_panic(&done, &format!("cut at {end}"));
        assert!(matches!(done.code(), Some(0 | 1)), "cut at {end}: {}", done.stderr);
        assert!(done.stderr.lines().count() <= 2, "cut at {end}: {}", done.stderr);
    }
}

#[test]
fn unknown_keys_and_types_are_ignored() {
    let later = HOP.replace("\"len\":60", "\"len\":60,\"colour\":{\"of\":[\"money\"]}");
    let text = format!("{META}\n{{\"type\":\"weather\",\"sun\":true}}\n{later}\n");
    let done =
        run_lasthop(&["explain", &file("later", text.as_bytes()).to_string_lossy(), "--json"]);
    let done = done.expect("runs");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let verdict = done.text().lines().find(|l| l.contains("\"verdict\"")).map(str::to_owned);
    let verdict = verdict.unwrap_or_else(|| panic!("no verdict: {}", done.text()));
    assert!(OUTCOMES.iter().any(|outcome| verdict.contains(outcome)), "{verdict}");
}

/// Numbers at the edges of their types, in a line that is otherwise right.
#[test]
fn extreme_values_do_not_panic() {
    let extreme = HOP
        .replace("\"ts\":10", "\"ts\":18446744073709551615")
        .replace("\"packet\":1", "\"packet\":18446744073709551615")
        .replace("\"hop\":1", "\"hop\":4294967295")
        .replace("\"len\":60", "\"len\":4294967295");
    let lines = format!("{META}\n{extreme}\n{HOP}\n{extreme}\n");
    let done = explain(&file("extreme", lines.as_bytes()));
    assert_no_panic(&done, "extreme values");
    assert!(matches!(done.code(), Some(0 | 1)), "{}", done.stderr);
}
