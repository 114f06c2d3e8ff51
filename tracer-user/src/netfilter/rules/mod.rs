//! Which rule drops a packet: the rules of one hook, held against what is known of the packet.
//!
//! Pure. What cannot be told from the record (a mark, a rate limit, a match that is not known here)
//! is neither true nor false: every rule that may have dropped the packet stays a candidate.

mod iptables;
mod nft;
mod value;

use std::net::IpAddr;

pub use iptables::parse as parse_saved;
pub use nft::Ruleset;

use crate::model::{Hop, Proto, Rule};
use crate::verdict::netfilter::HookPoint;

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

/// What rules can ask of a packet.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The hook at which the rules are run.
    pub hook: HookPoint,
    proto: Proto,
    src: IpAddr,
    dst: IpAddr,
    sport: Option<u16>,
    dport: Option<u16>,
    icmp: Option<(u8, u8)>,
    /// As they stand in the header.
    tcp_flags: Option<u8>,
    /// Offset, bytes.
    fragment: u32,
    more_fragments: bool,
    /// The device that it came in by, or goes out by, whichever the hook knows.
    iif: Option<String>,
    oif: Option<String>,
    /// `new` …; `None`: it carries no entry.
    ct_state: Option<String>,
}

impl Facts {
    /// IPv4, and not IPv6.
    pub fn is_v4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// From the hop where it died; `None` where that is no IP packet.
    pub fn of(hop: &Hop, hook: HookPoint) -> Option<Self> {
        let tuple = hop.tuple.as_ref()?;
        let ip = hop.ip.as_ref()?;
        let name = hop.dev.as_ref().map(|d| d.name.clone());
        let incoming = matches!(
            hook,
            HookPoint::Ingress | HookPoint::Prerouting | HookPoint::Input | HookPoint::Forward
        );
        Some(Self {
            hook,
            proto: tuple.proto,
            src: tuple.src,
            dst: tuple.dst,
            sport: tuple.sport,
            dport: tuple.dport,
            icmp: hop.icmp.as_ref().map(|i| (i.r#type, i.code)),
            tcp_flags: hop.tcp.as_ref().map(|t| t.flags.on_the_wire()),
            fragment: ip.frag_offset.unwrap_or(0),
            more_fragments: ip.more_fragments,
            iif: name.clone().filter(|_| incoming),
            oif: name.filter(|_| !incoming),
            ct_state: hop.ct.as_ref().and_then(|ct| ct.state.clone()),
        })
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
