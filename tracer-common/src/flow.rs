//! Who talks to whom, and the filter that picks out a flow.

use crate::source::Source;

/// IP protocol numbers (IANA), and two of our own above 255 for what has none.
pub mod proto {
    /// ICMP.
    pub const ICMP: u16 = 1;
    /// IPv4 in IP.
    pub const IPIP: u16 = 4;
    /// TCP.
    pub const TCP: u16 = 6;
    /// UDP.
    pub const UDP: u16 = 17;
    /// IPv6 in IP.
    pub const IPV6: u16 = 41;
    /// GRE.
    pub const GRE: u16 = 47;
    /// `ICMPv6`.
    pub const ICMP6: u16 = 58;
    /// SCTP.
    pub const SCTP: u16 = 132;
    /// ARP: not an IP protocol, so numbered past them.
    pub const ARP: u16 = 0x100;
}

/// An IPv4 or IPv6 address in one form: IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2), as two words
/// in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Addr(pub [u64; 2]);

/// Two words that stand one behind the other in memory, as one.
#[inline(always)]
const fn joined(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        (second as u64) << 32 | first as u64
    } else {
        (first as u64) << 32 | second as u64
    }
}

impl Addr {
    /// From four bytes in network order.
    #[inline(always)]
    pub const fn v4(b: [u8; 4]) -> Self {
        Self([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]])])
    }

    /// From an IPv4 address as it is in memory.
    #[inline(always)]
    pub const fn v4_word(word: u32) -> Self {
        Self([0, joined(0xffff_u32.to_be(), word)])
    }

    /// From the four words of an IPv6 address as they are in memory.
    #[inline(always)]
    pub const fn v6_words([a, b, c, d]: [u32; 4]) -> Self {
        Self([joined(a, b), joined(c, d)])
    }

    /// From two words as they stand in the packet.
    #[inline(always)]
    pub const fn v6(hi: u64, lo: u64) -> Self {
        Self([hi, lo])
    }

    /// Itself, with nothing known of it: see [`Source::opaque`].
    #[inline(always)]
    pub(crate) fn opaque<S: Source>(self, s: &S) -> Self {
        Self([s.opaque(self.0[0]), s.opaque(self.0[1])])
    }

    /// The sixteen bytes in network order.
    pub const fn octets(self) -> [u8; 16] {
        let (h, l) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        [
            h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], l[0], l[1], l[2], l[3], l[4], l[5],
            l[6], l[7],
        ]
    }
}

/// A flow's 5-tuple as one packet shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tuple {
    /// Source; ARP: the sender's protocol address.
    pub src: Addr,
    /// Destination; ARP: the target's protocol address.
    pub dst: Addr,
    /// Source port, host byte order; 0 where the protocol has none or a fragment lacks it.
    pub sport: u16,
    /// Destination port, host byte order; likewise.
    pub dport: u16,
    /// [`proto`].
    pub proto: u16,
    /// 1 when the ports are really there.
    pub has_ports: u16,
}

impl Tuple {
    /// The same flow seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, ..self }
    }
}

/// How many conditions a filter can hold.
pub const MAX_TERMS: usize = 8;

/// `Term::kind`: an address or network.
pub const TERM_NET: u8 = 1;
/// `Term::kind`: a port.
pub const TERM_PORT: u8 = 2;

/// `Term::side`: either end may satisfy the condition.
pub const SIDE_EITHER: u8 = 0;
/// `Term::side`: the source must.
pub const SIDE_SRC: u8 = 1;
/// `Term::side`: the destination must.
pub const SIDE_DST: u8 = 2;

/// One condition on one end of the flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Term {
    /// [`TERM_NET`]: the address, already masked.
    pub addr: Addr,
    /// [`TERM_NET`]: 1 bits where it must agree. An IPv4 net has its upper 96 bits set.
    pub mask: Addr,
    /// [`TERM_PORT`]: the port, host byte order.
    pub port: u16,
    /// `TERM_*`.
    pub kind: u8,
    /// `SIDE_*`.
    pub side: u8,
    /// Zero.
    pub pad: u32,
}

/// A filter: all terms must hold, and the protocol must be one of those named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// The conditions; those past `n_terms` are ignored.
    pub terms: [Term; MAX_TERMS],
    /// How many terms there are.
    pub n_terms: u32,
    /// 0 any protocol, else [`proto`] of the only one that matches.
    pub proto: u16,
    /// 1: the terms may also hold for the reversed tuple (an arrow follows the replies too).
    pub replies: u16,
}

const _: () = assert!(size_of::<Addr>() == 16);
const _: () = assert!(size_of::<Tuple>() == 40);
const _: () = assert!(size_of::<Term>() == 40);
const _: () = assert!(size_of::<Filter>() == 8 * 40 + 8);

impl Term {
    #[inline(always)]
    fn holds(&self, addr: Addr, port: u16, has_ports: u16) -> bool {
        if self.kind == TERM_PORT {
            has_ports != 0 && port == self.port
        } else {
            ((addr.0[0] ^ self.addr.0[0]) & self.mask.0[0])
                | ((addr.0[1] ^ self.addr.0[1]) & self.mask.0[1])
                == 0
        }
    }

    /// `swapped`: as if source and destination were exchanged.
    #[inline(always)]
    fn matches(&self, t: &Tuple, swapped: bool) -> bool {
        let (not_src, not_dst) = if swapped { (SIDE_SRC, SIDE_DST) } else { (SIDE_DST, SIDE_SRC) };
        (self.side != not_src && self.holds(t.src, t.sport, t.has_ports))
            || (self.side != not_dst && self.holds(t.dst, t.dport, t.has_ports))
    }
}

impl Filter {
    /// Matches every packet.
    pub const ANY: Self = Self {
        terms: [Term { addr: Addr([0; 2]), mask: Addr([0; 2]), port: 0, kind: 0, side: 0, pad: 0 };
            MAX_TERMS],
        n_terms: 0,
        proto: 0,
        replies: 0,
    };

    /// Whether a packet with this tuple belongs to the flow asked for.
    #[inline(always)]
    pub fn matches(&self, t: &Tuple) -> bool {
        if self.proto != 0 && self.proto != t.proto {
            return false;
        }
        self.all_terms(t, false) || (self.replies != 0 && self.all_terms(t, true))
    }

    #[inline(always)]
    fn all_terms(&self, t: &Tuple, swapped: bool) -> bool {
        for (i, term) in self.terms.iter().enumerate() {
            if i as u32 >= self.n_terms {
                break;
            }
            if !term.matches(t, swapped) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> Tuple {
        Tuple {
            src: Addr::v4(src),
            dst: Addr::v4(dst),
            sport,
            dport,
            proto: proto::TCP,
            has_ports: 1,
        }
    }

    fn host(addr: [u8; 4], side: u8) -> Term {
        Term { addr: Addr::v4(addr), mask: Addr([!0, !0]), kind: TERM_NET, side, ..Term::default() }
    }

    fn filter(terms: &[Term], proto: u16, replies: u16) -> Filter {
        let mut f = Filter { n_terms: terms.len() as u32, proto, replies, ..Filter::default() };
        f.terms[..terms.len()].copy_from_slice(terms);
        f
    }

    #[test]
    fn addresses_of_words_are_those_of_bytes() {
        let bytes = [0x20, 1, 0xd, 0xb8, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let word = |i: usize| u32::from_ne_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
        assert_eq!(Addr::v6_words([0, 1, 2, 3].map(word)).octets(), bytes);
        assert_eq!(Addr::v4_word(word(3)), Addr::v4([13, 14, 15, 16]));
    }

    #[test]
    fn an_empty_filter_matches_everything() {
        assert!(filter(&[], 0, 0).matches(&tcp([1, 2, 3, 4], 1, [5, 6, 7, 8], 2)));
    }

    #[test]
    fn sides_are_kept_apart() {
        let there = tcp([10, 0, 0, 1], 4242, [10, 0, 0, 2], 443);
        let only_src = filter(&[host([10, 0, 0, 1], SIDE_SRC)], 0, 0);
        assert!(only_src.matches(&there));
        assert!(!only_src.matches(&there.reversed()));
        assert!(filter(&[host([10, 0, 0, 1], SIDE_SRC)], 0, 1).matches(&there.reversed()));
        assert!(filter(&[host([10, 0, 0, 1], SIDE_EITHER)], 0, 0).matches(&there.reversed()));
    }

    #[test]
    fn a_port_term_needs_ports() {
        let port0 = Term { kind: TERM_PORT, port: 0, ..Term::default() };
        let mut t = tcp([1, 1, 1, 1], 0, [2, 2, 2, 2], 0);
        t.has_ports = 0;
        assert!(!filter(&[port0], 0, 0).matches(&t));
    }

    #[test]
    fn an_ipv4_net_does_not_match_ipv6() {
        let net0 = Term {
            addr: Addr::v4([0; 4]),
            mask: Addr([!0, u64::from_ne_bytes([255, 255, 255, 255, 0, 0, 0, 0])]),
            kind: TERM_NET,
            ..Term::default()
        };
        let f = filter(&[net0], 0, 0);
        assert!(f.matches(&tcp([9, 9, 9, 9], 1, [8, 8, 8, 8], 2)));
        let v6 = Tuple { src: Addr::v6(1, 2), dst: Addr::v6(3, 4), ..Tuple::default() };
        assert!(!f.matches(&v6));
    }
}
