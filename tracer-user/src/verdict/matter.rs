//! What a drop is about: reasons and kernel functions with one remedy have one matter.

use crate::model::HookName;
use crate::reconstruct::sight::Sight;
use crate::verdict::{reasons, symbols};

/// What a drop is about; decides which commands are worth running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of the reasons and functions that have it say it")]
pub enum Matter {
    Address,
    Backlog,
    Bpf,
    Bridge,
    Checksum,
    CpuBacklog,
    Device,
    Fragment,
    Header,
    Ipsec,
    Ipv6,
    Memory,
    Mtu,
    Ndisc,
    Neighbour,
    Netfilter,
    NoSocket,
    Ovs,
    Qdisc,
    ReceiveBuffer,
    Ring,
    Route,
    RpFilter,
    Security,
    Socket,
    Tap,
    Tc,
    Tcp,
    TcpAuth,
    Ttl,
    Tunnel,
    VlanFilter,
    Xdp,
    Unknown,
}

/// What a drop is about, and in words: by the kernel's reason, made more exact by its function;
/// by the function alone where there is no reason that says anything. `None` words: unknown.
pub fn of(drop: &Sight, before: Option<&Sight>) -> (Matter, Option<&'static str>) {
    let Some(cause) = drop.cause.as_deref() else {
        return (Matter::Unknown, None);
    };
    let by_symbol = || cause.place().and_then(|(symbol, _)| symbols::meaning(symbol));
    let found = match cause.reason() {
        Some("IP_INHDR") if is_forwarding(drop) => Some(TTL_EXPIRED),
        Some("QDISC_DROP") if has_no_carrier(drop) => Some(no_carrier(drop)),
        Some(reason) => reasons::meaning(reason),
        None if is_forwarding(drop) && ttl(drop, before).is_some_and(|ttl| ttl <= 1) => {
            Some(TTL_EXPIRED)
        }
        None => by_symbol(),
    };
    found.map_or((Matter::Unknown, None), |(matter, words)| (matter, Some(words)))
}

/// What drops are about where no packet is at hand: by the kernel's names alone.
pub fn named(reason: Option<&str>, symbol: Option<&str>) -> (Matter, Option<&'static str>) {
    let forwarding = matches!(symbol, Some("ip_forward" | "ip6_forward"));
    let found = match reason {
        Some("IP_INHDR") if forwarding => Some(TTL_EXPIRED),
        Some(reason) => reasons::meaning(reason).or_else(|| symbols::meaning(symbol?)),
        None => symbol.and_then(symbols::meaning),
    };
    found.map_or((Matter::Unknown, None), |(matter, words)| (matter, Some(words)))
}

/// The kernel has no reason of its own for it: `ip_forward` and `ip6_forward` say `IP_INHDR`.
const TTL_EXPIRED: (Matter, &str) =
    (Matter::Ttl, "its TTL (hop limit) ran out here: too many routers, or a loop");

/// A device without a carrier has `noop` for a queueing discipline, which drops everything
/// (`dev_deactivate` in `net/sched/sch_generic.c`).
fn no_carrier(drop: &Sight) -> (Matter, &'static str) {
    if drop.dev.as_ref().is_some_and(|dev| dev.kind.as_deref() == Some("tun")) {
        (Matter::Tap, "the tap has no carrier: no process has it open to read from it")
    } else {
        (Matter::Device, "the device has no carrier: nothing is attached to its other end")
    }
}

fn has_no_carrier(drop: &Sight) -> bool {
    drop.dev.as_ref().is_some_and(|dev| dev.carrier == Some(false))
}

fn is_forwarding(drop: &Sight) -> bool {
    matches!(drop.symbol(), Some("ip_forward" | "ip6_forward"))
}

fn ttl(drop: &Sight, before: Option<&Sight>) -> Option<u8> {
    drop.ttl.or_else(|| before.filter(|b| b.hook == HookName::TcIngress)?.ttl)
}
