//! Who talks to whom.

use std::net::IpAddr;

pub use crate::record::Tuple as FlowTuple;
use crate::record::{Icmp, Proto};

/// What all packets of a flow share, whichever way they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    proto: Proto,
    low: (IpAddr, Option<u16>),
    high: (IpAddr, Option<u16>),
    icmp_id: Option<u16>,
}

impl FlowKey {
    /// The key of a packet with this tuple. Echoes are told apart by their identifier, which
    /// stands for the ports that ICMP lacks (RFC 792).
    pub fn new(tuple: &FlowTuple, icmp: Option<&Icmp>) -> Self {
        Self::with_id(tuple, icmp.and_then(|i| i.id))
    }

    /// As [`FlowKey::new`], of an echo with this identifier.
    pub fn with_id(tuple: &FlowTuple, icmp_id: Option<u16>) -> Self {
        let (a, b) = ((tuple.src, tuple.sport), (tuple.dst, tuple.dport));
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self { proto: tuple.proto, low, high, icmp_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple() -> FlowTuple {
        FlowTuple {
            proto: Proto::Udp,
            src: "10.0.0.2".parse().unwrap(),
            sport: Some(5000),
            dst: "10.0.0.1".parse().unwrap(),
            dport: Some(53),
        }
    }

    #[test]
    fn both_directions_are_one_flow() {
        assert_eq!(FlowKey::new(&tuple(), None), FlowKey::new(&tuple().reversed(), None));
        let other = FlowTuple { sport: Some(53), dport: Some(5000), ..tuple() };
        assert_ne!(FlowKey::new(&tuple(), None), FlowKey::new(&other, None));
    }

    #[test]
    fn echoes_of_two_pings_are_two_flows() {
        let t = FlowTuple { proto: Proto::Icmp, sport: None, dport: None, ..tuple() };
        let echo = |id| Icmp {
            r#type: 8,
            code: 0,
            id: Some(id),
            seq: Some(1),
            mtu: None,
            about: None,
            about_id: None,
        };
        assert_ne!(FlowKey::new(&t, Some(&echo(1))), FlowKey::new(&t, Some(&echo(2))));
    }
}
