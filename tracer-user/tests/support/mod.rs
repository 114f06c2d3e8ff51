//! Namespaces made for a test and removed after it, and a watch that is waited on.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lasthop::topology::{Link, LinkEvent, Scope, Topology, Watch};

/// How long the kernel may take to tell.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the test, saying so, when it is not run by root.
macro_rules! root_or_skip {
    ($test:literal) => {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: {}: making network namespaces needs root", $test);
            return;
        }
    };
}
pub(crate) use root_or_skip;

/// Runs `ip` with these arguments.
#[track_caller]
pub fn ip(args: &str) {
    let out = Command::new("ip").args(args.split_whitespace()).output().expect("iproute2");
    assert!(out.status.success(), "ip {args}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Runs many `ip` commands in one process.
#[track_caller]
pub fn ip_batch(before: &[&str], lines: impl Iterator<Item = String>) {
    let mut command = Command::new("ip");
    let mut child =
        command.args(before).args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    let mut stdin = child.stdin.take().expect("piped");
    for line in lines {
        writeln!(stdin, "{line}").expect("ip reads");
    }
    drop(stdin);
    assert!(child.wait().expect("ip ends").success());
}

/// Names under `/run/netns` of one test: `lh-PID-TEST-NAME`.
pub struct Names {
    prefix: String,
    names: Vec<String>,
}

impl Names {
    pub fn new(test: &str, names: &[&str]) -> Self {
        let prefix = format!("lh-{}-{test}", std::process::id());
        let mut made = Self { prefix, names: Vec::new() };
        for name in names {
            made.add(name);
        }
        made
    }

    pub fn all<const N: usize>(&self) -> [String; N] {
        self.names.clone().try_into().expect("as many as there are")
    }

    pub fn add(&mut self, name: &str) -> String {
        let name = format!("{}-{name}", self.prefix);
        ip(&format!("netns add {name}"));
        self.names.push(name.clone());
        name
    }

    /// A name to be made by the test itself, and removed with the others.
    pub fn reserve(&mut self, name: &str) -> String {
        let name = format!("{}-{name}", self.prefix);
        self.names.push(name.clone());
        name
    }

    pub fn delete(&mut self, name: &str) {
        ip(&format!("netns del {name}"));
        self.names.retain(|n| n != name);
    }

    /// What an interrupted `ip netns add` leaves behind.
    pub fn dead(&self, name: &str) -> String {
        let name = format!("{}-{name}", self.prefix);
        std::fs::write(Path::new("/run/netns").join(&name), "").expect("root may write there");
        name
    }

    /// A name that is a symbolic link.
    pub fn link_to(&self, name: &str, path: &Path) -> String {
        let name = format!("{}-{name}", self.prefix);
        std::fs::create_dir_all("/run/netns").expect("root may write there");
        std::os::unix::fs::symlink(path, Path::new("/run/netns").join(&name)).expect("a link");
        name
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in self.names.iter().filter(|n| Path::new("/run/netns").join(n).exists()) {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("{}-", self.prefix)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// A process in a network namespace without a name; it ends when this is dropped.
pub struct Unshared(Child);

impl Unshared {
    pub fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux");
        let mut unshared = Self(child);
        // Once `cat` answers, it is in the new namespace.
        unshared.0.stdin.as_mut().expect("piped").write_all(b"x").expect("cat reads");
        let mut answer = [0];
        let stdout = unshared.0.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(stdout, &mut answer).expect("cat answers");
        unshared
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    pub fn inode(&self) -> u32 {
        std::fs::metadata(self.path()).expect("it runs").ino() as u32
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A watch, all it told, and what follows from that.
pub struct Follow {
    watch: Watch,
    runtime: tokio::runtime::Runtime,
    told: Vec<LinkEvent>,
    links: HashMap<(u32, u32), Link>,
    pub topology: Topology,
}

impl Follow {
    pub fn start(scope: &Scope) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (watch, initial) = Watch::start(scope.clone()).expect("a watch");
        let (told, links, topology) = (Vec::new(), HashMap::new(), Topology::default());
        let mut follow = Self { watch, runtime, told, links, topology };
        follow.take(initial);
        follow
    }

    fn take(&mut self, events: Vec<LinkEvent>) {
        for event in events {
            match &event {
                LinkEvent::Appeared(link) => {
                    let before = self.links.insert((link.netns.inode, link.ifindex), link.clone());
                    assert_eq!(before, None, "appeared twice");
                }
                LinkEvent::Changed(link) => {
                    let before = self.links.insert((link.netns.inode, link.ifindex), link.clone());
                    assert!(before.is_some_and(|b| b != *link), "changed what was not, {link:?}");
                }
                LinkEvent::Gone { netns, ifindex } => {
                    assert!(self.links.remove(&(*netns, *ifindex)).is_some(), "gone twice");
                }
                LinkEvent::NetnsGone { inode } => self.links.retain(|key, _| key.0 != *inode),
                LinkEvent::Host { .. } | LinkEvent::NetnsNamed { .. } => {}
            }
            self.topology.apply(event.clone(), Instant::now());
            self.told.push(event);
        }
    }

    /// Takes events in until `done`.
    #[track_caller]
    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let rest = deadline.saturating_duration_since(Instant::now());
            let watch = &mut self.watch;
            let events =
                self.runtime.block_on(async { tokio::time::timeout(rest, watch.next()).await });
            let Ok(events) = events else {
                panic!("waited in vain for: {what}; told: {:#?}", self.told);
            };
            self.take(events.expect("the watch goes on"));
        }
    }

    /// Takes events in until the device of this name is as wanted.
    #[track_caller]
    pub fn until_link(&mut self, netns: &str, name: &str, wanted: impl Fn(&Link) -> bool) -> Link {
        let is = |l: &Link| l.netns.name.as_deref() == Some(netns) && l.name == name;
        self.until(name, |f| f.links().any(|l| is(l) && wanted(l)));
        self.link(netns, name)
    }

    #[track_caller]
    pub fn link(&self, netns: &str, name: &str) -> Link {
        let is = |l: &&Link| l.netns.name.as_deref() == Some(netns) && l.name == name;
        self.links().find(is).cloned().unwrap_or_else(|| panic!("{name} in {netns} is not there"))
    }

    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub fn saw(&self, wanted: impl FnMut(&LinkEvent) -> bool) -> bool {
        self.told.iter().any(wanted)
    }

    pub fn saw_gone(&self, netns: u32, ifindex: u32) -> bool {
        self.saw(|event| *event == LinkEvent::Gone { netns, ifindex })
    }
}
