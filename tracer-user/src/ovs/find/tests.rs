use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::stat::Mode;

use super::*;

/// A root directory with a daemon's files in `run/openvswitch`; `var/run` is a link, as it is
/// everywhere.
fn daemon(dir: &Path) -> (PathBuf, UnixListener) {
    let rundir = dir.join("run/openvswitch");
    fs::create_dir_all(&rundir).unwrap();
    fs::create_dir(dir.join("var")).unwrap();
    symlink("/run", dir.join("var/run")).unwrap();
    fs::write(rundir.join(PIDFILE), "7\n").unwrap();
    let listener = UnixListener::bind(rundir.join("ovs-vswitchd.7.ctl")).unwrap();
    (rundir, listener)
}

fn own() -> Who {
    Who { uid: nix::unistd::geteuid().as_raw(), ..Who::default() }
}

fn of_process(root: &Path, who: &Who, path: &str) -> Result<Option<Candidate>, String> {
    let (root, path) = (Arc::new(Dir::at(root).unwrap()), Path::new(path));
    let mut looked = Looked::default();
    let Some(dir) = looked.enter(&root, path, path) else { return Ok(None) };
    assert!(looked.enter(&root, path, path).is_none(), "once is enough");
    Candidate::of_process(who, path, &root, dir)
}

#[test]
fn a_directory_is_found_beneath_the_root_of_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = daemon(dir.path());
    for path in ["/var/run/openvswitch", "run/openvswitch", "/../run/openvswitch"] {
        let found = of_process(dir.path(), &own(), path).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.owner), ("ovs-vswitchd.7.ctl", None));
    }
    for nothing in ["/run", "/nothing", "/run/openvswitch/ovs-vswitchd.pid"] {
        assert!(of_process(dir.path(), &own(), nothing).unwrap().is_none(), "{nothing}");
    }
}

#[test]
fn a_directory_of_others_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (rundir, _listener) = daemon(dir.path());
    let found = || of_process(dir.path(), &own(), "/run/openvswitch");
    fs::set_permissions(&rundir, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(found().unwrap_err().contains("everybody may write there"));
    fs::set_permissions(&rundir, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(found().unwrap().is_some());
    if own().uid == 0 {
        std::os::unix::fs::chown(&rundir, Some(65_534), None).unwrap();
        assert!(found().unwrap_err().contains("belongs to user 65534"));
        assert_eq!(Candidate::named(&rundir).unwrap().unwrap().owner, Some(65_534));
    }
}

#[test]
fn what_is_no_file_of_a_daemon_is_told_and_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (rundir, _listener) = daemon(dir.path());
    let file = rundir.join(PIDFILE);
    let told = || of_process(dir.path(), &own(), "/run/openvswitch").unwrap_err();
    fs::write(&file, "7 nonsense").unwrap();
    assert!(told().contains("no process number"));
    fs::write(&file, "7".repeat(100)).unwrap();
    assert!(told().contains("longer than 32 bytes"));
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
    assert!(told().contains("a FIFO"));
    for target in ["/dev/zero", "/etc/shadow", "/nowhere"] {
        fs::remove_file(&file).unwrap();
        symlink(target, &file).unwrap();
        assert!(told().contains("a symbolic link"), "{target}");
    }
    fs::remove_file(&file).unwrap();
    fs::write(&file, "8").unwrap();
    let none = of_process(dir.path(), &own(), "/run/openvswitch").unwrap();
    assert!(none.is_none(), "no socket of that number");
    fs::write(rundir.join("ovs-vswitchd.8.ctl"), "").unwrap();
    assert!(told().contains("it is a regular file, not a socket"));
}

#[test]
fn refusals_are_one_line() {
    let mut refused = Refused::default();
    assert_eq!(refused.tell(), None);
    (0..10_000).for_each(|n| refused.add(format!("process {n}: it is odd")));
    let line = refused.tell().unwrap();
    assert!(line.contains("process 0: it is odd (and 9999 more); if it is"), "{line}");
}

#[tokio::test(flavor = "current_thread")]
async fn files_that_take_too_long_are_looked_at_once() {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let finder = Finder::default();
    let slow = || {
        COUNT.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(PATIENCE * 2);
        Looked::default()
    };
    let begun = Instant::now();
    assert!(finder.within(slow).await.is_none() && finder.within(slow).await.is_none());
    assert!(begun.elapsed() < PATIENCE * 3 / 2);
    assert_eq!(COUNT.load(Ordering::Relaxed), 1);
}
