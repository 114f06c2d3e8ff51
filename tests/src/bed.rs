//! Two namespaces and a wire between them, for the integration tests.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::machine::{Turn, is_root, take_turn};
use crate::process::{Finished, Running, must};
use crate::{lasthop, process};

const LIMIT: Duration = Duration::from_secs(20);
/// For a thousand lines.
const BATCH_LIMIT: Duration = Duration::from_mins(1);
/// Every namespace a test may make.
const NAMES: [&str; 3] = [A, B, C];

/// The first namespace: `eth0` with [`A4`] and [`A6`].
pub const A: &str = "lh-test-a";
/// The second namespace: `eth0` with [`B4`] and [`B6`].
pub const B: &str = "lh-test-b";
/// A third, which a test may add.
pub const C: &str = "lh-test-c";
/// IPv4 address in [`A`].
pub const A4: &str = "10.78.0.1";
/// IPv4 address in [`B`].
pub const B4: &str = "10.78.0.2";
/// IPv6 address in [`A`].
pub const A6: &str = "fd78::1";
/// IPv6 address in [`B`].
pub const B6: &str = "fd78::2";

/// The topology; it is taken down when this is dropped.
pub struct Bed {
    _turn: Turn,
}

impl Bed {
    /// Builds it, and waits for its turn before.
    pub fn new() -> Result<Self> {
        Self::build(true)
    }

    /// The same without IPv6, whose own chatter would move counters.
    pub fn without_ipv6() -> Result<Self> {
        Self::build(false)
    }

    fn build(ipv6: bool) -> Result<Self> {
        if !is_root() {
            bail!("network namespaces and probes need root: run the tests as root");
        }
        let bed = Self { _turn: take_turn()? };
        remove_all()?;
        bed.add(A)?;
        bed.add(B)?;
        bed.ip(&format!("-n {A} link add eth0 type veth peer name eth0 netns {B}"))?;
        for (ns, v4, v6) in [(A, A4, A6), (B, B4, B6)] {
            bed.ip(&format!("-n {ns} addr add {v4}/24 dev eth0"))?;
            if ipv6 {
                bed.ip(&format!("-n {ns} addr add {v6}/64 dev eth0 nodad"))?;
            } else {
                let off = "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
                bed.output(ns, "sh", &["-c", off])?;
            }
        }
        for ns in [A, B] {
            bed.ip(&format!("-n {ns} link set eth0 up"))?;
        }
        Ok(bed)
    }

    /// Adds a namespace of [`NAMES`].
    pub fn add(&self, ns: &str) -> Result<()> {
        self.ip(&format!("netns add {ns}"))?;
        self.ip(&format!("-n {ns} link set lo up"))
    }

    /// `ip ARG…`, the arguments separated by blanks.
    pub fn ip(&self, args: &str) -> Result<()> {
        must(Command::new("ip").args(args.split(' ')), LIMIT).map(drop)
    }

    /// A command in a namespace.
    pub fn inside(&self, ns: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", ns, program]);
        command
    }

    /// What a command in a namespace prints.
    pub fn output(&self, ns: &str, program: &str, args: &[&str]) -> Result<String> {
        Ok(must(self.inside(ns, program).args(args), LIMIT)?.text())
    }

    /// Runs a peer in a namespace to its end; its arguments are separated by blanks.
    pub fn peer(&self, ns: &str, args: &str) -> Result<Finished> {
        must(&mut self.peer_command(ns, args)?, LIMIT)
    }

    /// A peer in a namespace, ready to be started.
    pub fn peer_command(&self, ns: &str, args: &str) -> Result<Command> {
        let mut command = self.inside(ns, &lasthop::peer()?.to_string_lossy());
        command.args(args.split(' '));
        Ok(command)
    }

    /// Starts a peer in a namespace and returns once it can receive.
    pub fn hold(&self, ns: &str, args: &str) -> Result<Running> {
        let running = Running::start(&mut self.peer_command(ns, args)?)?;
        running.wait_stdout(LIMIT, |text| text.contains("ready\n"))?;
        Ok(running)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Err(e) = remove_all() {
            eprintln!("{e:#}");
        }
    }
}

/// Many lines for one `ip`, in a namespace or, where that is empty, in the current one.
pub fn ip_batch(netns: &str, lines: impl Iterator<Item = String>) -> Result<()> {
    let file = lasthop::scratch("batch")?.join(format!("lines-{}", std::process::id()));
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n") + "\n")?;
    let mut ip = Command::new("ip");
    if !netns.is_empty() {
        ip.args(["-n", netns]);
    }
    must(ip.arg("-batch").arg(&file), BATCH_LIMIT).map(drop)
}

fn remove_all() -> Result<()> {
    for ns in NAMES {
        if std::path::Path::new("/run/netns").join(ns).exists() {
            process::must(Command::new("ip").args(["netns", "del", ns]), LIMIT)?;
        }
    }
    Ok(())
}
