//! Which rule dropped a packet: asked once for many packets, and of programs that may hang, print for
//! ever, or print what nobody understands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, binary, scratch};
use tests::machine;
use tests::process::{Running, must};
use tests::recording::Recording;

const MANY: u16 = 300;
/// A signal ends it within a second; a busy machine may take as long again.
const SOON: Duration = Duration::from_secs(2);

/// A bed whose B drops datagrams to 7000-7999, and the real nft; `None` where there is none.
fn refusing() -> Option<(Bed, PathBuf)> {
    let Some(nft) = machine::command("nft") else {
        eprintln!("skipped: this machine has no nft");
        return None;
    };
    let bed = Bed::without_ipv6().expect("a bed");
    let rules = "add table ip t; add chain ip t c { type filter hook input priority 0; }; \
                 add rule ip t c udp dport 7000-7999 drop";
    bed.output(B, "nft", &[rules]).expect("rules");
    Some((bed, fs::canonicalize(nft).expect("a file")))
}

fn send(bed: &Bed, count: u16) {
    let script =
        format!("for port in $(seq 7000 {}); do echo >/dev/udp/{B4}/$port; done", 6999 + count);
    must(bed.inside(A, "bash").args(["-c", &script]), RUN_LIMIT).expect("datagrams");
}

/// A program of its own for one test.
fn program(dir: &Path, name: &str, script: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    path
}

/// A trace in a mount namespace in which `fake` is in the place of `nft`.
fn trace(nft: &Path, fake: &Path, path: &Path) -> Running {
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).args([fake, nft]).arg(binary().expect("lasthop"));
    command.args([
        "trace",
        &format!("udp and src host {A4}"),
        "--json",
        "--netns",
        A,
        "--netns",
        B,
    ]);
    let usual = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{usual}", path.display()));
    let running = Running::start(&mut command).expect("starts");
    running.wait_stderr("lasthop: ready:", READY_LIMIT).expect("ready");
    running
}

/// Ends it by a signal; the recording.
#[track_caller]
fn end(running: Running, what: &str) -> Recording {
    let done = running.end(Signal::SIGINT, SOON).expect(what);
    assert_eq!(done.code(), Some(0), "{what}: {}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{what}: {}", done.stderr);
    Recording::parse(&done.stdout).unwrap_or_else(|p| panic!("{what}: {p:#?}"))
}

fn records(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("{\"type\":\"netfilter\"")).count()
}

#[test]
fn one_reading_tells_every_flow_its_rule() {
    let Some((bed, nft)) = refusing() else { return };
    let dir = scratch("rules").expect("a directory");
    let (log, real) = (dir.join("log"), dir.join("real-nft"));
    fs::copy(&nft, &real).expect("a copy");
    let script = format!("echo \"$@\" >>{}; exec {} \"$@\"", log.display(), real.display());
    let counting = program(&dir, "counting", &script);
    let _ = fs::remove_file(&log);
    let running = trace(&nft, &counting, &dir);
    send(&bed, MANY);
    running
        .wait_stdout(RUN_LIMIT, |text| records(text) >= usize::from(MANY))
        .expect("an answer for every flow");
    // Nothing has changed: those that come later are told by the same reading.
    send(&bed, MANY);
    let more = "add rule ip t c udp dport 6000 accept";
    bed.output(B, "nft", &[more]).expect("a change");
    let script = format!("echo >/dev/udp/{B4}/7900");
    must(bed.inside(A, "bash").args(["-c", &script]), RUN_LIMIT).expect("a datagram");
    running
        .wait_stdout(RUN_LIMIT, |text| records(text) > usize::from(MANY))
        .expect("an answer by the rules as they are now");
    let recording = end(running, "many");
    let verdicts = recording.verdicts();
    assert!(verdicts.len() > usize::from(MANY), "{}", verdicts.len());
    for verdict in verdicts {
        let text = verdict["text"].as_str().unwrap_or_default();
        assert!(text.contains("the rule \"udp dport 7000-7999 drop\""), "{text}");
    }
    // One before the change, and one after: as JSON and as people write it.
    let log = fs::read_to_string(&log).expect("it was run");
    assert_eq!(log.lines().filter(|line| line.contains("-j")).count(), 2, "{log}");
    assert_eq!(log.lines().count(), 4, "{log}");
}

#[test]
fn whatever_is_run_as_nft_the_trace_goes_on_and_ends() {
    let Some((bed, nft)) = refusing() else { return };
    let dir = scratch("rules").expect("a directory");
    let path = dir.join("path");
    fs::create_dir_all(&path).expect("a directory");
    let taken = path.join("taken");
    let _ = fs::remove_file(&taken);
    program(&path, "nft", &format!("touch {}", taken.display()));
    // A number that no one else sleeps.
    let name = format!("1000.{}", std::process::id());
    let started = dir.join("started");
    let hang = format!("setsid sleep {name} & touch {}; exec sleep {name}", started.display());
    for (what, script, why) in [
        ("hang", hang.as_str(), None),
        ("left", &format!("setsid sleep {name} & exit 3"), Some("exit status: 3")),
        ("endless", "exec cat /dev/zero", Some("was not understood")),
        ("deep", "printf '{\"nftables\":[{\"rule\":'; exec yes '['", Some("recursion limit")),
        ("names", "printf '{\"'; head -c 9000000 /dev/zero | tr '\\0' a", Some("too long")),
    ] {
        let _ = fs::remove_file(&started);
        let fake = program(&dir, what, script);
        let running = trace(&nft, &fake, &path);
        send(&bed, 1);
        if let Some(why) = why {
            let text = running.wait_stdout(RUN_LIMIT, |text| records(text) > 0).expect(what);
            assert!(text.contains(why), "{what}: {text}");
        } else {
            let limit = Instant::now() + RUN_LIMIT;
            while !started.exists() {
                assert!(Instant::now() < limit, "{what}: it was not run");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let recording = end(running, what);
        let verdicts = recording.verdicts();
        let text = verdicts[0]["text"].as_str().unwrap_or_default();
        assert!(
            text.contains("could not be read: ") && text.contains("input hook"),
            "{what}: {text}"
        );
        assert_eq!(sleepers(&name), 0, "{what}: what it began is left");
    }
    assert!(!taken.exists(), "a program was run that $PATH names");
}

/// How many processes sleep for so long.
fn sleepers(name: &str) -> usize {
    let all = fs::read_dir("/proc").expect("processes").flatten();
    let commands = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let own = format!("sleep\0{name}\0");
    commands.filter(|command| command == own.as_bytes()).count()
}
