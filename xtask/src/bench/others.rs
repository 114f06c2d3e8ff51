//! What people use instead, from Debian's packages, for the same question on the same ports.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::tracer::Tracer;
use crate::packages;

/// The address that no packet has, 10.79.0.1, as it stands in a header, read by a little-endian
/// machine.
pub(super) const NOTHING: &str = "$ip->daddr == 0x01004f0a";
/// 10.78.0.0/16.
pub(super) const ALL: &str = "($ip->daddr & 0xffff) == 0x4e0a";
/// Drops by reason and place.
pub(super) const DROPS: &str =
    "tracepoint:skb:kfree_skb { @drops[args->reason, args->location] = count(); }";

/// One line for each of the tracepoints that a packet passes, when it is UDP and `matches`. bpftrace
/// has no tc hooks: sending and receiving at a device is what comes nearest.
pub(super) fn follow(matches: &str) -> String {
    format!(
        "tracepoint:net:net_dev_queue,tracepoint:net:netif_receive_skb,\
         tracepoint:skb:consume_skb,tracepoint:skb:kfree_skb {{ \
         $skb = (struct sk_buff *)args->skbaddr; \
         $ip = (struct iphdr *)($skb->head + $skb->network_header); \
         if ($ip->protocol == 17 && {matches}) {{ \
         printf(\"{{\\\"type\\\":\\\"hop\\\",\\\"ts\\\":%llu,\\\"at\\\":\\\"%s\\\",\\\"skb\\\":\\\"%llx\\\",\
         \\\"dst\\\":\\\"%s\\\",\\\"len\\\":%d}}\\n\", \
         nsecs, probe, args->skbaddr, ntop($ip->daddr), $skb->len); }} }}"
    )
}

/// bpftrace with a program. It says on stderr when all of it is attached: the last probe is a clock
/// that has fired once.
pub(super) fn bpftrace(program: &str, counted: bool) -> Result<Tracer> {
    let bpftrace = packages::command("bpftrace").context("no bpftrace, though it is installed")?;
    let ready = "interval:ms:20 /!@ready/ { @ready = 1; system(\"echo attached >&2\"); } \
                 END { clear(@ready); }";
    let mut command = with_tracefs(&bpftrace);
    command.args(["--unsafe", "-e", &format!("{program} {ready}")]);
    Tracer::start(command, "attached", counted)
}

/// A command that finds the kernel's tracepoints. Where tracefs is not mounted it gets it in a mount
/// namespace of its own: the machine is left as it is.
fn with_tracefs(program: &Path) -> Command {
    const MOUNT: &str = "mount -t tracefs tracefs /sys/kernel/tracing || exit; exec \"$0\" \"$@\"";
    let places = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
    if places.iter().any(|place| Path::new(place).is_dir()) {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", MOUNT]).arg(program);
    command
}

/// tcpdump on one port.
pub(super) fn tcpdump(namespace: &str, port: &str, filter: &str) -> Result<Tracer> {
    let tcpdump = packages::command("tcpdump").context("no tcpdump, though it is installed")?;
    let mut command = Command::new("ip");
    // `ip netns exec` becomes the command: no process stands between.
    command.args(["netns", "exec", namespace]).arg(tcpdump);
    command.args(["-n", "-i", port, "-w", "/dev/null", filter]);
    Tracer::start(command, "listening on", false)
}

/// What tcpdump and bpftrace say on stderr of events that they saw, and of those that they lost:
/// `N packets captured`, `N packets dropped by kernel`, `Lost N events`.
pub(super) fn told(line: &str) -> Option<Told> {
    let number = |text: &str| text.trim().parse().ok();
    if let Some(rest) = line.strip_prefix("Lost ") {
        return Some(Told::Lost(number(rest.split_whitespace().next()?)?));
    }
    let (count, what) = line.split_once(' ')?;
    match what.trim() {
        "packets captured" | "packet captured" => Some(Told::Seen(number(count)?)),
        "packets dropped by kernel" | "packet dropped by kernel" => {
            Some(Told::Lost(number(count)?))
        }
        _ => None,
    }
}

/// What a line of somebody else's stderr tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Seen(u64),
    Lost(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_of_their_events() {
        assert_eq!(told("Lost 1024 events"), Some(Told::Lost(1024)));
        assert_eq!(told("17 packets captured"), Some(Told::Seen(17)));
        assert_eq!(told("3 packets dropped by kernel"), Some(Told::Lost(3)));
        assert_eq!(told("5 packets received by filter"), None);
        assert_eq!(told("tcpdump: listening on lh-a"), None);
    }
}
