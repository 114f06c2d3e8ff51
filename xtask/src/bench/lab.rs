//! What the benchmark measures on: two namespaces and a veth pair between them, and one with many
//! ports.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::packages;
use crate::toolchain::say;

/// Sends; its end of the pair is [`PORT_A`].
pub(super) const A: &str = "lh-bench-a";
/// Receives; its end of the pair is [`PORT_B`].
pub(super) const B: &str = "lh-bench-b";
/// Has [`PAIRS`] veth pairs, both ends.
pub(super) const MANY: &str = "lh-bench-many";
pub(super) const PORT_A: &str = "lh-a";
pub(super) const PORT_B: &str = "lh-b";
pub(super) const PAIRS: usize = 25;

/// A namespace that is removed with all its devices when this is dropped.
pub(super) struct Namespace(&'static str);

impl Namespace {
    /// Makes it, without what an earlier run that was killed may have left of it.
    fn make(name: &'static str) -> Result<Self> {
        let _ = say(&mut ip(&["netns", "del", name]));
        run(&["netns", "add", name])?;
        Ok(Self(name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = say(&mut ip(&["netns", "del", self.0]));
    }
}

/// The pair that is flooded. Every address of 10.78.0.0/16 is behind [`PORT_B`]'s and is its
/// namespace's own: one socket there receives a flood to any number of addresses. What goes to
/// 10.80.0.0/16 a rule of nftables drops there, before anything else is done with it: of all drops
/// the one that costs least besides.
pub(super) fn flooded() -> Result<(Namespace, Namespace)> {
    let made = (Namespace::make(A)?, Namespace::make(B)?);
    run(&["link", "add", PORT_A, "netns", A, "type", "veth", "peer", "name", PORT_B, "netns", B])?;
    run(&["-n", A, "addr", "add", "10.77.0.1/24", "dev", PORT_A])?;
    run(&["-n", B, "addr", "add", "10.77.0.2/24", "dev", PORT_B])?;
    run(&["-n", A, "link", "set", PORT_A, "up"])?;
    run(&["-n", B, "link", "set", PORT_B, "up"])?;
    run(&["-n", B, "link", "set", "lo", "up"])?;
    run(&["-n", A, "route", "add", "10.78.0.0/16", "via", "10.77.0.2"])?;
    run(&["-n", B, "route", "add", "local", "10.78.0.0/16", "dev", "lo"])?;
    run(&["-n", A, "route", "add", "10.80.0.0/16", "via", "10.77.0.2"])?;
    let mut nft = ip(&["netns", "exec", B]);
    nft.arg(packages::command("nft").context("no nft, though it is installed")?);
    say(nft.args(["add table ip bench; add chain ip bench early { type filter hook prerouting \
                   priority raw; }; add rule ip bench early ip daddr 10.80.0.0/16 drop"]))?;
    Ok(made)
}

/// A namespace with twice [`PAIRS`] ports.
pub(super) fn many() -> Result<Namespace> {
    let made = Namespace::make(MANY)?;
    for pair in 0..PAIRS {
        let (a, b) = (format!("lh-m{pair}a"), format!("lh-m{pair}b"));
        run(&["-n", MANY, "link", "add", &a, "up", "type", "veth", "peer", "name", &b])?;
        run(&["-n", MANY, "link", "set", &b, "up"])?;
    }
    Ok(made)
}

/// Does `work` inside a namespace, in a thread of its own. Sockets stay in the namespace in which
/// they were made.
pub(super) fn inside<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = PathBuf::from("/run/netns").join(name);
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let enter_and_work = || {
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {name}"))?;
        work()
    };
    thread::scope(|scope| scope.spawn(enter_and_work).join())
        .map_err(|_| anyhow!("a thread panicked"))?
}

fn ip(words: &[&str]) -> Command {
    let mut ip = Command::new("ip");
    ip.args(words);
    ip
}

fn run(words: &[&str]) -> Result<()> {
    let output = ip(words).output().context("cannot run ip")?;
    anyhow::ensure!(
        output.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
