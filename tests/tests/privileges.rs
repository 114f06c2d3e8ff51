//! What happens without privileges, and without the kernel's type information.

use std::process::Command;

use tests::lasthop::{RUN_LIMIT, binary, scratch, unprivileged};
use tests::process::run;

#[test]
fn without_root_the_missing_capability_is_named() {
    let dir = scratch("privileges").expect("a directory");
    for args in [&["trace", "udp", "--", "true"][..], &["trace", "--json", "--for", "1s"]] {
        let done = run(&mut unprivileged(&dir, args).expect("a command"), RUN_LIMIT).expect("runs");
        assert_eq!(done.code(), Some(1), "{args:?}: {}", done.stderr);
        assert_eq!(done.stderr.trim_end().lines().count(), 1, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains("CAP_"), "{args:?}: {}", done.stderr);
        assert_eq!(done.text(), "", "{args:?}");
    }
}

#[test]
fn one_missing_capability_of_several_is_named() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
    command.arg(binary().expect("lasthop")).args(["trace", "udp port 9", "--", "true"]);
    let done = run(&mut command, RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("CAP_NET_ADMIN"), "{}", done.stderr);
}

#[test]
fn doctor_runs_without_root_and_says_what_is_missing() {
    let dir = scratch("privileges").expect("a directory");
    let done = run(&mut unprivileged(&dir, &["doctor"]).expect("a command"), RUN_LIMIT);
    let done = done.expect("runs");
    assert!(matches!(done.code(), Some(0 | 1)), "{:?} {}", done.status, done.stderr);
    assert!(done.text().contains("CAP_"), "{} {}", done.text(), done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

/// A directory without `vmlinux` is mounted over the kernel's, in a mount namespace of its own.
#[test]
fn without_btf_the_missing_file_is_named() {
    let binary = binary().expect("lasthop");
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(binary);
    let done = run(command.args(["trace", "udp port 9", "--", "true"]), RUN_LIMIT).expect("runs");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert_eq!(done.stderr.trim_end().lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("/sys/kernel/btf/vmlinux"), "{}", done.stderr);
}
