//! Many namespaces and many devices: nothing missed, nothing kept open, no work while nothing
//! happens. A test binary of its own, because it counts this process' descriptors and CPU time.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use lasthop::topology::{LinkEvent, Scope};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use support::{Follow, Names, ip_batch, root_or_skip};

/// Descriptors of this process, but for the two that each followed namespace takes: others may come
/// and go on this machine meanwhile.
fn other_open_files(follow: &Follow) -> usize {
    let followed: HashSet<u32> = follow.links().map(|l| l.netns.inode).collect();
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 2 * followed.len()
}

/// This process' CPU time, all threads.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

const NETNS: usize = 200;
const PAIRS: usize = 500;

#[test]
fn two_hundred_namespaces_and_a_thousand_devices_come_and_go() {
    root_or_skip!("two_hundred_namespaces_and_a_thousand_devices_come_and_go");
    let mut names = Names::new("many", &["hub"]);
    let [hub] = names.all();
    let mut follow = Follow::start(&Scope::default());
    let before = other_open_files(&follow);

    let pods: Vec<String> = (0..NETNS).map(|i| names.reserve(&i.to_string())).collect();
    ip_batch(&[], pods.iter().map(|pod| format!("netns add {pod}")));
    let pod_links = pods.iter().enumerate();
    ip_batch(
        &["-n", &hub],
        pod_links.map(|(i, pod)| format!("link add pod{i} type veth peer name eth0 netns {pod}")),
    );
    let pair = |i| format!("link add left{i} type veth peer name right{i}");
    ip_batch(&["-n", &hub], (0..PAIRS).map(pair));

    let in_hub = |f: &Follow| {
        let here = f.links().filter(|l| l.netns.name.as_deref() == Some(&hub));
        here.filter(|l| l.peer.is_some()).count()
    };
    follow.until("all pairs", |f| in_hub(f) == NETNS + 2 * PAIRS);
    let is_pod = |name: Option<&str>| name.is_some_and(|name| pods.iter().any(|pod| pod == name));
    let inside = |f: &Follow| {
        let pods = f.links().filter(|l| l.name == "eth0" && is_pod(l.netns.name.as_deref()));
        pods.filter(|l| l.peer.is_some()).count()
    };
    follow.until("every eth0", |f| inside(f) == NETNS);
    assert_eq!(other_open_files(&follow), before, "a namespace and a socket each");

    // Two seconds in which nothing happens here: what is left is to look around once a second.
    let (idle, spent) = (Duration::from_secs(2), cpu_time());
    std::thread::sleep(idle);
    let spent = cpu_time().saturating_sub(spent);
    assert!(spent < idle / 10, "{spent:?} of CPU time in {idle:?}");

    let gone: Vec<u32> =
        follow.links().filter(|l| is_pod(l.netns.name.as_deref())).map(|l| l.netns.inode).collect();
    ip_batch(&[], pods.iter().map(|pod| format!("netns del {pod}")));
    follow.until("all namespaces gone", |f| {
        gone.iter().all(|inode| f.saw(|e| *e == LinkEvent::NetnsGone { inode: *inode }))
    });
    // They are destroyed only when nothing here holds them, and with them the ends in the hub.
    follow.until("their pairs gone", |f| in_hub(f) == 2 * PAIRS);
    assert_eq!(other_open_files(&follow), before);
}
