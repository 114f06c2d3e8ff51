//! What bounds lasthop: few privileges, little memory, a flood, a reader that does not read.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::bed::{A, A4, B, B4, Bed};
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, binary, lasthop, scratch};
use tests::machine::take_turn;
use tests::process::{Finished, Running, run};
use tests::usage::Stopwatch;

const READY: &str = "lasthop: ready: ";
/// The capabilities that the README names, and nobody's user id.
const CAPABILITIES: &str = "cap_bpf,cap_perfmon,cap_net_admin+ep";
const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
/// From a signal to the end.
const AN_END: Duration = Duration::from_millis(1100);
/// Addresses of B behind which every datagram is of another flow.
const MANY: &str = "10.79.0.1:4445";

/// A copy of lasthop that has these capabilities whoever runs it; `None` where files cannot have any.
fn capable() -> Option<PathBuf> {
    let copy =
        scratch("bounds").expect("a directory").join(format!("capable-{}", std::process::id()));
    let _ = fs::remove_file(&copy);
    fs::copy(binary().expect("lasthop"), &copy).expect("a copy");
    let set = Command::new("setcap").arg(CAPABILITIES).arg(&copy).status();
    if set.is_ok_and(|status| status.success()) {
        return Some(copy);
    }
    eprintln!("skipped: files have no capabilities here (setcap)");
    None
}

/// `lasthop ARG…` as nobody with those capabilities, in a namespace.
fn as_nobody(bed: &Bed, copy: &Path, args: &[&str]) -> Command {
    let mut command = bed.inside(B, NOBODY[0]);
    command.args(&NOBODY[1..]).arg(copy).args(args);
    command
}

/// Datagrams to a port of B on which nobody listens.
fn refused_datagrams(bed: &Bed) {
    let args = format!("udp-send --from {A4}:4000 --to {B4}:4444 --count 5 --size 100");
    bed.peer(A, &args).expect("datagrams");
}

fn lines(done: &Finished) -> Vec<Value> {
    done.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn three_capabilities_see_the_own_namespace() {
    let bed = Bed::new().expect("a bed");
    let Some(copy) = capable() else { return };
    for args in [&["trace", "udp port 4444", "--json"][..], &["drops", "udp port 4444", "--json"]] {
        let running = Running::start(&mut as_nobody(&bed, &copy, args)).expect("starts");
        let ready = running.wait_stderr(READY, READY_LIMIT).expect("ready");
        assert!(ready.contains("CAP_SYS_ADMIN"), "{args:?}: others are left out unsaid: {ready}");
        refused_datagrams(&bed);
        std::thread::sleep(Duration::from_millis(300));
        running.signal(Signal::SIGINT).expect("a signal");
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(0), "{args:?}: {}", done.stderr);
        let all = lines(&done);
        let seen = all.iter().find(|record| match record["type"].as_str() {
            Some("verdict") => record["outcome"] == "dropped",
            Some("drops") => true,
            _ => false,
        });
        let seen =
            seen.unwrap_or_else(|| panic!("{args:?} sees no drop: {} {all:#?}", done.stderr));
        assert_eq!(seen["reason"], "NO_SOCKET", "{args:?}");
        if args[0] == "trace" {
            let hop =
                |record: &Value| record["hook"] == "tc-ingress" && record["dev"]["name"] == "eth0";
            assert!(all.iter().any(hop), "the device has no hook: {}", done.stderr);
        }
    }
    let done = run(&mut as_nobody(&bed, &copy, &["doctor"]), RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(0), "{} {}", done.text(), done.stderr);
}

#[test]
fn what_takes_more_is_refused_by_name() {
    let bed = Bed::new().expect("a bed");
    let Some(copy) = capable() else { return };
    for command in ["trace", "drops"] {
        for netns in [A, "all", "/proc/1/ns/net"] {
            let args = [command, "udp port 9", "--netns", netns, "--for", "100ms"];
            let done = run(&mut as_nobody(&bed, &copy, &args), RUN_LIMIT).expect("runs");
            assert_eq!(done.code(), Some(1), "{args:?}: {}", done.stderr);
            let mut said = done.stderr.lines().filter(|line| !line.contains(": warn: "));
            let line = said.next().unwrap_or_default();
            assert!(line.contains("CAP_SYS_ADMIN"), "{args:?}: {}", done.stderr);
            assert_eq!(said.next(), None, "{args:?}: {}", done.stderr);
        }
    }
}

/// A memory cgroup of 64 MiB; it is removed when this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` where no memory cgroup can be made.
    fn new() -> Option<Self> {
        const LIMIT: &str = "67108864";
        let name = format!("lasthop-test-{}", std::process::id());
        for (root, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let dir = Path::new(root).join(&name);
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            let small = Self(dir);
            if small.0.join(file).exists() && fs::write(small.0.join(file), LIMIT).is_ok() {
                return Some(small);
            }
        }
        eprintln!("skipped: no memory cgroup can be made here");
        None
    }

    /// `lasthop ARG…` in it.
    fn lasthop(&self, args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        command.arg(binary().expect("lasthop")).args(args);
        command
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Pages of a process that has ended may be charged a moment longer.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn sixty_four_mebibytes_are_enough() {
    let bed = Bed::without_ipv6().expect("a bed");
    let Some(small) = Small::new() else { return };
    let file = scratch("bounds").expect("a directory").join("small.ndjson");
    many_addresses(&bed);
    let trace = ["trace", "udp and dst net 10.79.0.0/16", "--json", "--netns", A, "--netns", B];
    for args in [&trace[..], &["drops", "--by", "tuple", "--json"]] {
        let running = Running::start_into(&mut small.lasthop(args), &file).expect("starts");
        running.wait_stderr(READY, READY_LIMIT).expect("ready");
        flood(&bed, 2);
        running.signal(Signal::SIGINT).expect("a signal");
        let done = running.finish(RUN_LIMIT).expect("it ends");
        assert_eq!(done.code(), Some(0), "{args:?} (signal {:?}): {}", done.signal(), done.stderr);
    }
    fs::remove_file(&file).expect("removed");
    let done = run(&mut small.lasthop(&["doctor"]), RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(0), "{} {}", done.text(), done.stderr);
    let much = ["drops", "--by", "tuple,stack", "--keep", "1000000", "--for", "1s"];
    let done = run(&mut small.lasthop(&much), RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(
        done.stderr.contains("--keep 1000000") && done.stderr.contains("64 MiB"),
        "{}",
        done.stderr
    );
}

/// B has sixty thousand addresses.
fn many_addresses(bed: &Bed) {
    bed.ip(&format!("-n {A} route add 10.79.0.0/16 via {B4}")).expect("a route");
    bed.ip(&format!("-n {B} route add local 10.79.0.0/16 dev lo")).expect("addresses");
}

/// Datagrams of ever new flows, to nobody.
fn flood(bed: &Bed, seconds: u32) {
    let args = format!("udp-flows --to {MANY} --ports 4445 --per-second 10000 --seconds {seconds}");
    bed.peer(A, &args).expect("a flood");
}

#[test]
fn a_flood_has_a_bounded_number_of_verdicts_and_an_end_within_a_second() {
    let bed = Bed::without_ipv6().expect("a bed");
    many_addresses(&bed);
    let file = scratch("bounds").expect("a directory").join("flood.ndjson");
    let args = [
        "trace",
        "udp and dst net 10.79.0.0/16",
        "--json",
        "--exit-code",
        "--netns",
        A,
        "--netns",
        B,
    ];
    let mut command = lasthop(&args).expect("a command");
    let running = Running::start_into(&mut command, &file).expect("starts");
    running.wait_stderr(READY, READY_LIMIT).expect("ready");
    let flows = format!("udp-flows --to {MANY} --ports 4445 --per-second 10000 --seconds 60");
    let traffic = Running::start(&mut bed.peer_command(A, &flows).expect("peer")).expect("traffic");
    std::thread::sleep(Duration::from_secs(8));
    let done = running.end(Signal::SIGINT, AN_END).expect("it ends");
    drop(traffic);
    assert_eq!(done.code(), Some(10), "{}", done.stderr);
    let (mut verdicts, mut counted, mut last_flow) = (0, 0, 0);
    for line in fs::read_to_string(&file).expect("a recording").lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        match record["type"].as_str() {
            Some("verdict") => {
                verdicts += 1;
                last_flow = last_flow.max(record["flow"].as_u64().expect("a number"));
            }
            Some("summary") => counted += record["flows"].as_u64().expect("a number"),
            _ => {}
        }
    }
    fs::remove_file(&file).expect("removed");
    assert!(verdicts < 16_384 + 9 * 500 + 8192, "{verdicts} verdicts");
    assert!(counted > 0, "all {verdicts} verdicts were told");
    // Flows are numbered as they begin, and each is judged.
    assert_eq!(verdicts + counted, last_flow);
}

/// A pipe that nobody reads holds 64 KiB.
#[test]
fn a_reader_that_does_not_read_keeps_nobody_from_ending_it() {
    let bed = Bed::without_ipv6().expect("a bed");
    many_addresses(&bed);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command =
        lasthop(&["trace", "udp and dst net 10.79.0.0/16", "--json"]).expect("a command");
    command.stdout(Stdio::from(writer.as_fd().try_clone_to_owned().expect("a descriptor")));
    let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
    drop(writer);
    let mut said = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with(READY) {
        line.clear();
        assert_ne!(
            std::io::BufRead::read_line(&mut said, &mut line).expect("text"),
            0,
            "not ready"
        );
    }
    flood(&bed, 1);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a number"));
    let watch = Stopwatch::start(pid);
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("a signal");
    let status = child.wait().expect("it ends");
    watch.stop(AN_END).expect("soon");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).expect("text");
    assert_eq!(status.code(), Some(1), "{rest}");
    assert!(rest.contains("standard output"), "{rest}");
    drop(reader);
}

#[test]
fn counting_a_million_kinds_of_drops_ends_within_a_second() {
    let bed = Bed::without_ipv6().expect("a bed");
    many_addresses(&bed);
    let by = ["--by", "tuple,stack", "--keep", "1000000", "--all", "--json", "--netns", B];
    let mut command = lasthop(&[&["drops", "udp and dst net 10.79.0.0/16"][..], &by].concat())
        .expect("a command");
    let file = scratch("bounds").expect("a directory").join("drops.ndjson");
    let running = Running::start_into(&mut command, &file).expect("starts");
    running.wait_stderr(READY, READY_LIMIT).expect("ready");
    flood(&bed, 2);
    let done = running.end(Signal::SIGINT, AN_END).expect("it ends");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    fs::remove_file(&file).expect("removed");
}

/// A directory without anything is mounted over it, in a mount namespace of its own.
#[test]
fn without_proc_one_line_says_so() {
    let _turn = take_turn().expect("a turn");
    for (mount, what) in [("/proc", "/proc"), ("/sys", "/sys/kernel/btf")] {
        for args in [&["trace", "udp port 9"][..], &["drops"]] {
            let script = format!("mount -t tmpfs none {mount} && exec \"$@\"");
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &script, "sh"]).arg(binary().expect("lasthop"));
            let done = run(command.args(args).args(["--for", "1s"]), RUN_LIMIT).expect("runs");
            assert_eq!(done.code(), Some(1), "{mount} {args:?}: {}", done.stderr);
            assert_eq!(
                done.stderr.trim_end().lines().count(),
                1,
                "{mount} {args:?}: {}",
                done.stderr
            );
            assert!(done.stderr.contains(what), "{mount} {args:?}: {}", done.stderr);
        }
    }
}
