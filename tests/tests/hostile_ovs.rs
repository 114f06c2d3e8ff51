//! Open vSwitch as somebody wants lasthop to see it: a process that is only called so, files that are
//! none, answers of any shape. lasthop says in one line what it did not take, and goes on.

use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::lasthop::{READY_LIMIT, RUN_LIMIT, lasthop, scratch};
use tests::machine::take_turn;
use tests::process::{Finished, Running, run};
use tests::usage::usage;

/// A user without privileges.
const NOBODY: u32 = 65_534;
const DAEMON: &str = "ovs-vswitchd";
const PIDFILE: &str = "ovs-vswitchd.pid";
/// A trace that sees nothing.
const TRACE: &[&str] = &["trace", "udp port 9", "--netns", "host"];
/// How soon it ends that is told to: a second, on a machine that has other things to do too.
const SOON: Duration = Duration::from_secs(2);

/// An empty directory.
fn fresh(name: &str) -> PathBuf {
    let dir = scratch("hostile-ovs").expect("a directory").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// A program under the daemon's name: what a process is called is up to who runs it.
fn called_so(dir: &Path) -> PathBuf {
    let program = dir.join(DAEMON);
    symlink("/usr/bin/tail", &program).expect("a link");
    program
}

/// A process of that name, of a user without privileges.
fn fake(dir: &Path, rundir: &Path) -> Running {
    let mut command = Command::new(called_so(dir));
    command.args(["-f", "/dev/null"]).env("OVS_RUNDIR", rundir).uid(NOBODY).gid(NOBODY);
    let running = Running::start(command.stdin(Stdio::null())).expect("starts");
    wait_until(&format!("/proc/{}/comm", running.pid()), DAEMON);
    running
}

/// Waits until a file of `/proc` says so.
fn wait_until(path: &str, says: &str) {
    let limit = Instant::now() + READY_LIMIT;
    while !fs::read_to_string(path).is_ok_and(|text| text.trim() == says) {
        assert!(Instant::now() < limit, "{path} does not say {says}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs it to its end, which comes in time, and without a panic.
#[track_caller]
fn finish(command: &mut Command, what: &str) -> Finished {
    let done = run(command.env_remove("RUST_BACKTRACE"), RUN_LIMIT).expect(what);
    assert!(done.signal().is_none(), "{what}: {}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{what}: {}", done.stderr);
    done
}

/// A trace is told to end while it is where it is; it ends soon.
#[track_caller]
fn ends_soon(command: &mut Command, signal: Signal, what: &str) -> Finished {
    let running = Running::start(command).expect(what);
    running.wait_stderr("lasthop: ready: ", READY_LIMIT).expect(what);
    let peak = usage(running.pid()).expect("it runs").peak;
    println!("{what}: {peak} KiB at the most");
    let done = running.end(signal, SOON).expect(what);
    assert_eq!(done.code(), Some(0), "{what}: {}", done.stderr);
    done
}

#[test]
fn a_process_that_is_only_called_so_makes_nobody_wait_or_read() {
    let _turn = take_turn().expect("a turn");
    let dir = fresh("fake");
    let rundir = dir.join("run");
    fs::create_dir(&rundir).expect("a directory");
    chown(&rundir, Some(NOBODY), Some(NOBODY)).expect("an owner");
    let process = fake(&dir, &rundir);
    let said = format!("process {} of user {NOBODY}", process.pid());
    for (what, signal) in
        [("fifo", Signal::SIGINT), ("/dev/zero", Signal::SIGTERM), ("/etc/shadow", Signal::SIGINT)]
    {
        let file = rundir.join(PIDFILE);
        let _ = fs::remove_file(&file);
        if what == "fifo" {
            nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
            chown(&file, Some(NOBODY), None).expect("an owner");
        } else {
            symlink(what, &file).expect("a link");
        }
        let done = ends_soon(&mut lasthop(TRACE).expect("a command"), signal, what);
        assert_eq!(done.stderr.matches(&said).count(), 1, "{what}: {}", done.stderr);
        let done = finish(&mut lasthop(&["doctor"]).expect("a command"), what);
        assert!(done.text().contains(&said), "{what}: {}", done.text());
    }
}

#[test]
fn a_container_leads_to_no_file_of_the_node() {
    let _turn = take_turn().expect("a turn");
    let dir = fresh("container");
    let program = called_so(&dir);
    let script = format!(
        "mount -t tmpfs t /run && mkdir /run/openvswitch && \
         ln -s /etc/shadow /run/openvswitch/{PIDFILE} && exec {} -f /dev/null",
        program.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    let container = Running::start(command.uid(NOBODY).gid(NOBODY)).expect("starts");
    let comm = format!("/proc/{}/comm", container.pid());
    let limit = Instant::now() + READY_LIMIT;
    while !fs::read_to_string(&comm).is_ok_and(|text| text.trim() == DAEMON) {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/stat", container.pid())) else {
            println!("skipped: no user namespaces here");
            return;
        };
        assert!(Instant::now() < limit && !status.contains(" Z "), "no user namespaces: {status}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let done = finish(&mut lasthop(&["doctor"]).expect("a command"), "container");
    let said = format!("process {} of user {NOBODY}: it is in another", container.pid());
    assert!(done.text().contains(&said), "{}", done.text());
}

/// What a server does with whoever has asked.
type Answer = fn(&mut UnixStream) -> std::io::Result<()>;

/// A server where Open vSwitch is said to be: it gives everybody to `answer`.
fn server(name: &str, answer: Answer) -> PathBuf {
    let dir = fresh(name);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("a mode");
    fs::write(dir.join(PIDFILE), "7\n").expect("a file");
    for socket in ["ovs-vswitchd.7.ctl", "db.sock"] {
        let listener = UnixListener::bind(dir.join(socket)).expect("a socket");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut question = [0; 4096];
                    let n = stream.read(&mut question).unwrap_or(0);
                    if n != 0 {
                        // Whoever has heard enough hangs up.
                        let _ = answer(&mut stream);
                    }
                });
            }
        });
    }
    dir
}

fn without_end(to: &mut UnixStream, start: &str, piece: &str) -> std::io::Result<()> {
    to.write_all(start.as_bytes())?;
    let many = piece.repeat(16_384 / piece.len());
    loop {
        to.write_all(many.as_bytes())?;
    }
}

#[test]
fn answers_of_any_shape_are_survived_and_told() {
    const ROWS: &str = "{\"id\":0,\"error\":null,\"result\":[{\"rows\":[";
    let _turn = take_turn().expect("a turn");
    let answers: &[(&str, Answer, &str)] = &[
        ("deep", |to| without_end(to, "{\"id\":0,\"result\":", "["), "is not understood"),
        ("many", |to| without_end(to, ROWS, "[],"), "is not understood"),
        ("objects", |to| without_end(to, ROWS, "{\"a\":{}},"), "is not understood"),
        ("text", |to| without_end(to, "{\"id\":0,\"result\":\"", "}"), "is not understood"),
        ("calls", |to| without_end(to, "", "{\"method\":\"echo\",\"id\":1}"), "is not understood"),
        ("number", |to| to.write_all(b"{\"id\":0,\"result\":7}"), "is not understood"),
        ("list", |to| to.write_all(b"{\"id\":0,\"result\":[7]}"), "is not understood"),
        ("null", |to| to.write_all(b"{\"id\":0,\"result\":null}"), "is not understood"),
        ("nothing", |_| Ok(()), "is not understood"),
        ("silence", |to| to.read(&mut [0]).map(drop), "did not answer within 2 s"),
    ];
    for (name, answer, says) in answers {
        let rundir = server(name, *answer);
        let command = |args: &[&str]| {
            let mut command = lasthop(args).expect("a command");
            command.env("OVS_RUNDIR", &rundir);
            command
        };
        let done = finish(&mut command(&["doctor"]), name);
        let told = done.text().lines().filter(|line| line.contains(says)).count();
        assert_eq!(told, 2, "{name}: {}", done.text());
        let done = ends_soon(&mut command(TRACE), Signal::SIGTERM, name);
        let told = done.stderr.lines().filter(|line| line.contains("bridges and ports")).count();
        assert!(told <= 1, "{name}: {}", done.stderr);
    }
}
