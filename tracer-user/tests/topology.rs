//! The topology against the running kernel: namespaces and devices that come, change and go.
//!
//! Needs root and iproute2; without root each test says that it is skipped. Other tests and people
//! may have namespaces of their own on this machine, so each test looks at its own names only.

mod support;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use lasthop::topology::{Link, LinkEvent, Scope, Topology, Watch, enter};
use support::{Follow, Names, ip, root_or_skip};

/// Inode of the namespace that the calling thread is in.
fn current_inode() -> String {
    std::fs::read_link("/proc/thread-self/ns/net").expect("a link").display().to_string()
}

#[test]
fn what_is_there_at_the_start_is_told_at_once() {
    root_or_skip!("what_is_there_at_the_start_is_told_at_once");
    let names = Names::new("start", &["a", "b"]);
    let [a, b] = names.all();
    ip(&format!("-n {a} link add veth-a mtu 1400 type veth peer name eth0 netns {b}"));
    ip(&format!("-n {a} link add br0 type bridge"));
    ip(&format!("-n {a} link set veth-a master br0 up"));
    ip(&format!("-n {a} link add d0 address 02:00:00:00:00:07 type bridge"));

    let follow = Follow::start(&Scope::default());
    let veth = follow.link(&a, "veth-a");
    let (br0, eth0) = (follow.link(&a, "br0"), follow.link(&b, "eth0"));
    assert_eq!((veth.kind.as_deref(), veth.mtu, veth.up), (Some("veth"), Some(1400), true));
    assert_eq!(veth.master, Some(br0.ifindex));
    assert_eq!(veth.peer, Some((eth0.netns.inode, eth0.ifindex)));
    assert_eq!(eth0.peer, Some((veth.netns.inode, veth.ifindex)));
    assert_eq!(br0.kind.as_deref(), Some("bridge"));
    assert_eq!(follow.link(&a, "d0").mac, Some([2, 0, 0, 0, 0, 7]));
    assert_eq!(follow.link(&a, "lo").kind.as_deref(), Some("loopback"));
    assert!(!follow.link(&a, "lo").up);

    let dev = follow.topology.model_dev(eth0.netns.inode, eth0.ifindex, "eth0").unwrap();
    assert_eq!(dev.peer.unwrap().name.as_deref(), Some("veth-a"));
    assert_eq!(follow.topology.netns_name(eth0.netns.inode), Some(b.as_str()));
}

#[test]
fn devices_are_followed_as_they_change() {
    root_or_skip!("devices_are_followed_as_they_change");
    let names = Names::new("change", &["a", "b", "c"]);
    let [a, b, c] = names.all();
    let mut follow = Follow::start(&Scope::from_options(&[&a, &b, &c]));

    ip(&format!("-n {a} link add veth-a type veth peer name eth0 netns {b}"));
    let veth = follow.until_link(&a, "veth-a", |l| l.peer.is_some());
    let eth0 = follow.until_link(&b, "eth0", |l| l.peer.is_some());
    assert_eq!(veth.peer, Some((eth0.netns.inode, eth0.ifindex)));
    assert_eq!(eth0.peer, Some((veth.netns.inode, veth.ifindex)));

    ip(&format!("-n {a} link set veth-a name renamed"));
    let renamed = follow.until_link(&a, "renamed", |_| true);
    assert_eq!(renamed.ifindex, veth.ifindex);
    ip(&format!("-n {a} link set renamed mtu 1300 up"));
    follow.until_link(&a, "renamed", |l| l.mtu == Some(1300) && l.up);

    // A bridge tells of a port that leaves it with a "delete" message, which is none.
    ip(&format!("-n {a} link add br0 type bridge"));
    ip(&format!("-n {a} link set renamed master br0"));
    follow.until_link(&a, "renamed", |l| l.master.is_some());
    ip(&format!("-n {a} link set renamed nomaster"));
    follow.until_link(&a, "renamed", |l| l.master.is_none());
    assert!(!follow.saw_gone(veth.netns.inode, veth.ifindex));

    ip(&format!("-n {b} link set eth0 netns {c}"));
    let moved = follow.until_link(&c, "eth0", |l| l.peer.is_some());
    assert_eq!(moved.peer, Some((veth.netns.inode, veth.ifindex)));
    follow.until("eth0 gone", |f| f.saw_gone(eth0.netns.inode, eth0.ifindex));
    let here = (moved.netns.inode, moved.ifindex);
    follow.until_link(&a, "renamed", |l| l.peer == Some(here));

    ip(&format!("-n {a} link del renamed"));
    follow.until("both ends gone", |f| {
        f.saw_gone(veth.netns.inode, veth.ifindex) && f.saw_gone(moved.netns.inode, moved.ifindex)
    });
}

#[test]
fn a_namespace_may_come_later_and_is_let_go_of() {
    root_or_skip!("a_namespace_may_come_later_and_is_let_go_of");
    let mut names = Names::new("later", &["a"]);
    let [a] = names.all();
    let mut follow = Follow::start(&Scope::default());

    let b = names.add("b");
    ip(&format!("-n {a} link add veth-a type veth peer name eth0 netns {b}"));
    let veth = follow.until_link(&a, "veth-a", |l| l.peer.is_some());
    let eth0 = follow.until_link(&b, "eth0", |l| l.peer.is_some());
    let inode = eth0.netns.inode;
    assert_eq!(follow.topology.netns_name(inode), Some(b.as_str()));
    let inside = enter(&eth0.netns, current_inode).unwrap();
    assert_eq!(inside, format!("net:[{inode}]"));
    assert_ne!(current_inode(), inside, "the caller stays where it is");

    names.delete(&b);
    follow.until("netns gone", |f| f.saw(|e| *e == LinkEvent::NetnsGone { inode }));
    // Only when nobody holds the namespace any more does the kernel delete what is in it, and with
    // it the end that is elsewhere. `eth0` is still at hand here, and must not hold it.
    follow.until("veth-a gone", |f| f.saw_gone(veth.netns.inode, veth.ifindex));
    assert_eq!(enter(&eth0.netns, || ()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(follow.topology.netns_name(inode), Some(b.as_str()), "known for a while");
}

#[test]
fn a_name_that_is_made_again_is_followed_again() {
    root_or_skip!("a_name_that_is_made_again_is_followed_again");
    let mut names = Names::new("again", &["a"]);
    let [a] = names.all();
    let mut follow = Follow::start(&Scope::from_options(&[&a]));
    let inode = follow.link(&a, "lo").netns.inode;
    names.delete(&a);
    follow.until("netns gone", |f| f.saw(|e| *e == LinkEvent::NetnsGone { inode }));
    names.add("a");
    ip(&format!("-n {a} link add d0 type bridge"));
    follow.until_link(&a, "d0", |_| true);
}

#[test]
fn only_what_was_asked_for_is_followed() {
    root_or_skip!("only_what_was_asked_for_is_followed");
    let names = Names::new("only", &["a", "b"]);
    let [a, b] = names.all();
    ip(&format!("-n {a} link add veth-a type veth peer name eth0 netns {b}"));
    let path = format!("/run/netns/{a}");
    let follow = Follow::start(&Scope::from_options(&[&path]));
    assert_eq!(follow.link(&a, "veth-a").peer, None, "its namespace is not followed");
    let elsewhere = |l: &&Link| l.netns.name.as_deref() != Some(&a);
    assert_eq!(follow.links().find(elsewhere), None);
    let of_b = |e: &LinkEvent| matches!(e, LinkEvent::NetnsNamed { name: Some(n), .. } if *n == b);
    assert!(follow.saw(of_b), "a name is known all the same");
}

#[test]
fn namespaces_without_a_name_belong_to_all() {
    root_or_skip!("namespaces_without_a_name_belong_to_all");
    let process = support::Unshared::new();
    let inode = process.inode();
    let mut follow = Follow::start(&Scope::from_options(&["all"]));
    let link = follow.links().find(|l| l.netns.inode == inode).cloned().unwrap();
    assert_eq!((link.name.as_str(), link.netns.name.as_deref()), ("lo", None));
    // A name for it, as container tools make them.
    let names = Names::new("all", &[]);
    let name = names.link_to("pod", &process.path());
    follow.until_link(&name, "lo", |l| l.netns.inode == inode);
    drop(process);
    follow.until("netns gone", |f| f.saw(|e| *e == LinkEvent::NetnsGone { inode }));
}

#[test]
fn the_namespace_of_process_1_is_the_host() {
    root_or_skip!("the_namespace_of_process_1_is_the_host");
    let of = |path: &str| std::fs::metadata(path).map(|file| file.ino() as u32);
    let follow = Follow::start(&Scope::default());
    if let Ok(inode) = of("/proc/1/ns/net") {
        assert!(follow.topology.netns_name(inode).is_some());
    }
    let current = of("/proc/self/ns/net").unwrap();
    if follow.topology.netns_name(current) == Some("host") {
        let host = Follow::start(&Scope::from_options(&["host"]));
        assert!(host.links().count() > 0 && host.links().all(|l| l.netns.inode == current));
    }
}

#[test]
fn a_name_without_a_namespace_is_passed_over() {
    root_or_skip!("a_name_without_a_namespace_is_passed_over");
    let names = Names::new("dead", &["a"]);
    let [a] = names.all();
    let dead = names.dead("x");
    let follow = Follow::start(&Scope::default());
    follow.link(&a, "lo");
    let error = Watch::start(Scope::from_options(&[&dead])).unwrap_err().to_string();
    assert!(error.contains(&format!("named `{dead}`")) && error.contains(&a), "{error}");
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    root_or_skip!("what_does_not_exist_is_refused_with_what_does");
    let names = Names::new("wrong", &["a"]);
    let [a] = names.all();
    for (wrong, said) in [
        ("lh-nowhere", "no network namespace named `lh-nowhere`"),
        ("", "no network namespace named ``"),
        ("/etc/passwd", "/etc/passwd is no network namespace"),
        ("/proc/self/ns/mnt", "/proc/self/ns/mnt is no network namespace"),
        ("/lh/nowhere", "No such file"),
    ] {
        let error = Watch::start(Scope::from_options(&[a.as_str(), wrong])).unwrap_err();
        let line = format!("{error:#}");
        assert!(line.contains(said) && line.contains(&a) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn code_run_inside_borrows_from_outside_and_its_panics_come_back() {
    root_or_skip!("code_run_inside_borrows_from_outside_and_its_panics_come_back");
    let names = Names::new("enter", &["a"]);
    let [a] = names.all();
    let follow = Follow::start(&Scope::from_options(&[&a]));
    let netns = follow.link(&a, "lo").netns;
    let mut seen = Vec::new();
    enter(&netns, || seen.push(current_inode())).unwrap();
    assert_eq!(seen, [format!("net:[{}]", netns.inode)]);
    let panic = std::panic::catch_unwind(|| enter(&netns, || panic!("inside")));
    assert!(panic.is_err());
}

#[test]
fn a_table_and_its_source_agree_in_the_end() {
    root_or_skip!("a_table_and_its_source_agree_in_the_end");
    let names = Names::new("table", &["a"]);
    let [a] = names.all();
    let mut follow = Follow::start(&Scope::from_options(&[&a]));
    ip(&format!("-n {a} link add d0 type bridge"));
    let d0 = follow.until_link(&a, "d0", |_| true);
    ip(&format!("-n {a} link del d0"));
    follow.until("d0 gone", |f| f.saw_gone(d0.netns.inode, d0.ifindex));
    assert!(follow.topology.link(d0.netns.inode, d0.ifindex).is_some(), "known for a while");
    let mut later = Topology::default();
    let gone = LinkEvent::Gone { netns: d0.netns.inode, ifindex: d0.ifindex };
    let now = Instant::now();
    later.apply(LinkEvent::Appeared(d0.clone()), now);
    later.apply(gone.clone(), now);
    later.apply(gone, now + Duration::from_hours(1));
    assert_eq!(later.link(d0.netns.inode, d0.ifindex), None);
}
