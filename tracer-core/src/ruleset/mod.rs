//! Which rule drops a packet: the rules of one hook, held against what is known of the packet.
//!
//! Pure. What cannot be told from the record (a mark, a rate limit, a match that is not known here)
//! is neither true nor false: every rule that may have dropped the packet stays a candidate.

mod elements;
mod iptables;
mod lean;
mod nft;
mod value;

use std::net::IpAddr;

pub use iptables::{Saved, parse as parse_saved};
pub use nft::Ruleset;

use crate::record::{Eth, Hop, Proto, Rule, Tunnel};
use crate::verdict::hook::{Hook, HookPoint, Layer};

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tri {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// The record does not tell.
    Maybe,
}

impl Tri {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

/// What rules can ask of a packet: what its outermost headers say, where one carries another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The hook at which the rules are run.
    pub hook: Hook,
    proto: Proto,
    src: IpAddr,
    dst: IpAddr,
    /// A tunnel's packet, of whose own headers the record has little more than the addresses.
    is_tunnel: bool,
    sport: Option<u16>,
    dport: Option<u16>,
    icmp: Option<(u8, u8)>,
    /// As they stand in the header.
    tcp_flags: Option<u8>,
    /// Offset, bytes.
    fragment: u32,
    more_fragments: bool,
    eth: Option<Eth>,
    has_vlan: bool,
    /// The device at whose own hook it is.
    at_device: Option<String>,
    /// The device that it came in by, or goes out by, whichever the hook knows.
    iif: Option<String>,
    oif: Option<String>,
    /// The bridge of which that is a port.
    bridge: Option<String>,
    /// `new` …; `None`: it carries no entry.
    ct_state: Option<String>,
}

impl Facts {
    /// IPv4, and not IPv6.
    pub fn is_v4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// Without its source port: for rules that do not ask for one, all flows that differ in nothing else are one.
    pub fn forget_source_port(&mut self) {
        self.sport = self.sport.map(|_| 0);
    }

    /// From the hop where it died; `None` where that is neither an IP packet nor one of ARP.
    pub fn of(hop: &Hop, hook: Hook) -> Option<Self> {
        let inner = hop.tuple.as_ref()?;
        if hop.ip.is_none() && inner.proto != Proto::Arp {
            return None;
        }
        let tunnel = hop.tunnel.as_deref();
        let whole = tunnel.is_none();
        let ip = hop.ip.filter(|_| whole);
        let (iif, oif) = devices(hop, hook);
        Some(Self {
            hook,
            proto: tunnel.map_or(inner.proto, |t| outer_proto(t, inner.src)),
            src: tunnel.map_or(inner.src, |t| t.src),
            dst: tunnel.map_or(inner.dst, |t| t.dst),
            is_tunnel: !whole,
            sport: inner.sport.filter(|_| whole),
            dport: tunnel.map_or(inner.dport, |t| t.dport),
            icmp: hop.icmp.as_ref().filter(|_| whole).map(|i| (i.r#type, i.code)),
            tcp_flags: hop.tcp.as_ref().filter(|_| whole).map(|t| t.flags.on_the_wire()),
            fragment: ip.and_then(|ip| ip.frag_offset).unwrap_or(0),
            more_fragments: ip.is_some_and(|ip| ip.more_fragments),
            eth: hop.eth,
            has_vlan: !hop.vlan.is_empty(),
            at_device: hop.dev.as_ref().map(|d| d.name.clone()),
            iif,
            oif,
            bridge: hop.dev.as_ref().and_then(|d| d.master.clone()),
            ct_state: hop.ct.as_ref().and_then(|ct| ct.state.clone()),
        })
    }
}

/// What carries a tunnel's load, by the tunnel's kind.
fn outer_proto(tunnel: &Tunnel, carried: IpAddr) -> Proto {
    match tunnel.kind.as_str() {
        "gre" => Proto::Other(47),
        "ipip" if carried.is_ipv6() => Proto::Other(41),
        "ipip" => Proto::Other(4),
        _ => Proto::Udp,
    }
}

/// The devices that the rules of a hook see, as far as the one that the packet is on tells them.
fn devices(hop: &Hop, hook: Hook) -> (Option<String>, Option<String>) {
    let own = hop.dev.as_ref().map(|d| d.name.clone());
    // Of what a bridge carries IP's hooks are told the bridge itself (`brnf_get_logical_dev`).
    let bridge = hop.dev.as_ref().map(|d| d.master.as_ref().unwrap_or(&d.name).clone());
    match (hook.layer, hook.point) {
        (Layer::Bridged, HookPoint::Forward) => (bridge.clone(), bridge),
        (Layer::Bridged, HookPoint::Prerouting) => (bridge, None),
        (Layer::Bridged, _) => (None, bridge),
        // By now the packet is on the bridge, and no longer on the port.
        (Layer::Bridge, HookPoint::Input) => (None, None),
        (Layer::Ip, HookPoint::Forward)
        | (_, HookPoint::Ingress | HookPoint::Prerouting | HookPoint::Input) => (own, None),
        _ => (None, own),
    }
}

/// How many rules are looked at for one packet: chains that call each other sixteen deep can make
/// more of a few lines than there is time for.
const MAX_STEPS: u32 = 1_000_000;
/// How many rules that may have dropped a packet are named.
const MAX_CANDIDATES: usize = 64;

/// What may be looked at for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps(u32);

impl Default for Steps {
    fn default() -> Self {
        Self(MAX_STEPS)
    }
}

impl Steps {
    /// One step; `false` where there is none left.
    fn take(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 != 0
    }

    /// Something was not looked at, or is not told.
    pub fn are_used_up(self) -> bool {
        self.0 == 0
    }

    /// How many were taken.
    pub fn taken(self) -> u32 {
        MAX_STEPS - self.0
    }

    /// Whether there is room for one more candidate. Where there is none, it ends.
    fn allow(&mut self, found: &[Candidate]) -> bool {
        if found.len() >= MAX_CANDIDATES {
            self.0 = 0;
        }
        found.len() < MAX_CANDIDATES
    }
}

/// A rule that may have dropped the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The rule.
    pub rule: Rule,
    /// The packet surely comes to it, and it surely drops it.
    pub certain: bool,
}
