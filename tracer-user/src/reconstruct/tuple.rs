//! Who talks to whom, in a form that costs nothing to copy and compare.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::model::{Icmp, Tuple};

/// The protocol of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the protocols'")]
pub enum Proto {
    Tcp,
    Udp,
    Icmp,
    Icmp6,
    Sctp,
    Arp,
    /// Any other IP protocol, by its IANA number.
    Other(u8),
}

impl Proto {
    /// From a record's `proto`; `None` for a name this version does not know.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "icmp" => Self::Icmp,
            "icmp6" => Self::Icmp6,
            "sctp" => Self::Sctp,
            "arp" => Self::Arp,
            _ => Self::Other(name.strip_prefix("ip-")?.parse().ok()?),
        })
    }

    /// From its IANA number.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmp6,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }

    /// Its IANA number; ARP has none.
    pub fn number(self) -> Option<u8> {
        Some(match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp6 => 58,
            Self::Sctp => 132,
            Self::Other(number) => number,
            Self::Arp => return None,
        })
    }

    /// The name used in records.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Sctp => "sctp",
            Self::Arp => "arp",
            Self::Other(n) => return Cow::Owned(format!("ip-{n}")),
        })
    }
}

/// A 5-tuple as one packet shows it: [`Tuple`] without the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    /// Protocol.
    pub proto: Proto,
    /// Source; ARP: sender.
    pub src: IpAddr,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination; ARP: target.
    pub dst: IpAddr,
    /// Destination port.
    pub dport: Option<u16>,
}

impl FlowTuple {
    /// From a record; `None` when its protocol is not known to this version.
    pub fn from_record(tuple: &Tuple) -> Option<Self> {
        Some(Self {
            proto: Proto::parse(&tuple.proto)?,
            src: tuple.src,
            sport: tuple.sport,
            dst: tuple.dst,
            dport: tuple.dport,
        })
    }

    /// As a record shows it.
    pub fn to_record(self) -> Tuple {
        Tuple {
            proto: self.proto.name().into_owned(),
            src: self.src,
            sport: self.sport,
            dst: self.dst,
            dport: self.dport,
        }
    }

    /// The same flow seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { src: self.dst, sport: self.dport, dst: self.src, dport: self.sport, ..self }
    }
}

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

    #[test]
    fn a_record_survives_the_round_trip() {
        for name in ["tcp", "udp", "icmp", "icmp6", "sctp", "arp", "ip-47"] {
            let record = Tuple { proto: name.into(), ..tuple().to_record() };
            assert_eq!(FlowTuple::from_record(&record).unwrap().to_record(), record);
        }
        assert_eq!(Proto::parse("ip-256"), None);
        assert_eq!(Proto::parse("quic"), None);
    }
}
