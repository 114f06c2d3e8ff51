use std::os::unix::fs::PermissionsExt;

use super::*;

fn limits(ms: u64, bytes: u64) -> Limits {
    Limits { until: Instant::now() + Duration::from_millis(ms), bytes, halt: Halt::default() }
}

/// What `sh -c SCRIPT` prints within limits, on a thread of its own: what is not wanted back is given up there.
fn sh(script: &str, limits: &Limits) -> io::Result<String> {
    let path = find("sh")?;
    std::thread::scope(|scope| {
        let run = || {
            confine(Needs::Nothing)?;
            let mut output = start(&path, "sh", &["-c", script], limits)?;
            let mut text = String::new();
            output.read_to_string(&mut text)?;
            output.end().map(|()| text)
        };
        scope.spawn(run).join().unwrap()
    })
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_program_is_run_with_nothing_but_what_it_needs() {
    // The descriptors: three, and the directory that is being read.
    let script = "ls /proc/self/fd | wc -l; env | grep -vE '^(PWD|SHLVL|_|OLDPWD)='; pwd; tty; \
                  grep -E '^(CapPrm|CapEff|NoNewPrivs):' /proc/self/status; ulimit -c";
    let _kept = fs::File::open("/").unwrap();
    let text = sh(script, &limits(5000, 4096)).unwrap();
    let lines: Vec<_> = text.split_whitespace().collect();
    let (none, one) = ("0000000000000000", "1");
    assert_eq!(lines[0], "4", "{text}");
    assert!(text.contains("LC_ALL=C") && text.contains(&format!("PATH={PATH}")), "{text}");
    assert_eq!(text.lines().count(), 9, "{text}");
    assert!(text.contains("\n/\nnot a tty\n"), "{text}");
    assert!(
        lines.ends_with(&["CapPrm:", none, "CapEff:", none, "NoNewPrivs:", one, "0"]),
        "{text}"
    );
}

#[test]
fn the_thread_that_asks_keeps_what_it_has() {
    let before = caps::read(None, caps::CapSet::Permitted).unwrap();
    sh("true", &limits(5000, 1)).unwrap();
    assert_eq!(caps::read(None, caps::CapSet::Permitted).unwrap(), before);
}

#[test]
fn what_goes_wrong_is_said() {
    for (script, ms, bytes, why) in [
        ("exit 3", 5000, 100, "it ended with exit status: 3"),
        ("echo; echo no rules >&2; exit 1", 5000, 100, "no rules (exit status: 1)"),
        ("exec sleep 100", 50, 100, "no answer in time"),
        ("exec >&-; exec sleep 100", 1000, 100, "it did not end in time"),
        ("exec cat /dev/zero", 5000, 100_000, "its answer is too long"),
        ("exec cat /dev/zero >&2", 1000, 100, "it did not end in time"),
    ] {
        let limits = limits(ms, bytes);
        let began = Instant::now();
        let told = sh(script, &limits).map_err(|e| e.to_string());
        assert!(began.elapsed() < Duration::from_secs(4), "{script}");
        assert_eq!(told, Err(why.to_owned()), "{script}");
    }
}

#[test]
fn a_halt_ends_it() {
    let limits = limits(60_000, 100);
    let halt = limits.halt.clone();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            halt.set();
        });
        assert!(sh("exec sleep 100", &limits).unwrap_err().to_string().contains("the trace ended"));
    });
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// A child holds the pipe, in a session of its own, and outlives its parent.
#[test]
fn what_a_program_leaves_behind_holds_up_nothing_and_ends_with_it() {
    let name = format!("60.{}", std::process::id());
    let script = format!("setsid sleep {name} & echo answer");
    let began = Instant::now();
    assert_eq!(sh(&script, &limits(5000, 100)).unwrap(), "answer\n");
    assert!(began.elapsed() < Duration::from_secs(2));
    // One that hangs beside.
    let script = format!("setsid sleep {name} & echo answer; exec sleep {name}");
    assert!(sh(&script, &limits(100, 100)).is_err());
    if !is_root() {
        return;
    }
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command.starts_with(b"sleep\0") && command.windows(name.len()).any(|w| w == name.as_bytes())
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn what_others_can_change_is_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nft");
    fs::write(&file, "").unwrap();
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&file, 0o755);
    assert_eq!(check_file(&file).is_ok(), is_root());
    for (directory_mode, file_mode) in [(0o700, 0o775), (0o700, 0o757), (0o770, 0o755)] {
        set(directory.path(), directory_mode);
        set(&file, file_mode);
        let why = check_file(&file).unwrap_err().to_string();
        assert!(why.starts_with("others than root can change "), "{why}");
    }
    set(directory.path(), 0o1777);
    set(&file, 0o755);
    assert_eq!(check_file(&file).is_ok(), is_root());
    assert!(check_file(directory.path()).is_err());
    assert_eq!(find("no-such-program").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(find("sh").unwrap().starts_with("/usr"));
}
