//! Namespaces that have the name of something else.

use std::process::Command;

use tests::lasthop::{RUN_LIMIT, binary, peer};
use tests::machine::{is_root, take_turn};
use tests::process::run;
use tests::recording::Recording;

/// In a mount namespace of its own, so that nobody else sees the name.
const NAMED_HOST: &str = "\
    set -e
    mount --make-rprivate /; mount -t tmpfs tmpfs /run/netns
    ip netns add host; ip -n host link set lo up
    exec \"$0\" trace 'udp port 5999' --json --netns \"$2\" -- \
        ip netns exec host \"$1\" udp-send --to 127.0.0.1:5999 --count 1";

#[test]
fn a_namespace_named_host_is_itself() {
    assert!(is_root(), "network namespaces and probes need root: run the tests as root");
    let _turn = take_turn().expect("a turn");
    for (scope, is_seen) in [("host", true), ("all", true), ("/proc/self/ns/net", false)] {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", NAMED_HOST]).arg(binary().expect("lasthop"));
        command.arg(peer().expect("peer")).arg(scope);
        let done = run(&mut command, RUN_LIMIT).expect("runs");
        let recording = Recording::parse(&done.stdout)
            .unwrap_or_else(|p| panic!("{scope}: {p:#?}\n{}", done.stderr));
        let sent: Vec<_> = recording.hops().filter(|hop| hop["hook"] == "tc-egress").collect();
        assert_eq!(!sent.is_empty(), is_seen, "{scope}: {}", done.stderr);
        for hop in sent {
            assert_eq!(hop["netns"]["name"], "host", "{scope}");
            assert_eq!(hop["netns"]["path"], "/run/netns/host", "{scope}");
        }
        let verdicts = recording.verdicts();
        assert_eq!(verdicts[0]["where"]["netns"], "host", "{scope}");
        let next = verdicts[0]["next"][0].as_str().unwrap_or_default();
        assert!(next.starts_with("ip netns exec host "), "{scope}: {next}");
    }
}
