//! A first look at a packet that settles nearly all of them: its tuple, when it is a plain one.

use crate::flow::{Addr, Tuple, proto};
use crate::tunnel::{is_icmp_error, is_icmp6_error, is_tunnel_port};

/// An IPv4 header without options (RFC 791, 3.1) and the four bytes behind it, as words of the packet's
/// memory. Not as bytes: of bytes the compiler for BPF loads each by itself.
pub type Ipv4 = [u32; 6];
/// An IPv6 header (RFC 8200, 3) and the four bytes behind it, likewise.
pub type Ipv6 = [u32; 11];

/// The tuple of a plain packet: `proto` directly behind the IP header, whole, no tunnel. `None` for
/// one that has to be looked into. `both`: the ports, or what begins with the ICMP type.
#[inline(always)]
fn plain(src: Addr, dst: Addr, next: u8, both: u32) -> Option<Tuple> {
    let (sport, dport) = ((both >> 16) as u16, both as u16);
    let kind = (both >> 24) as u8;
    let proto = u16::from(next);
    let has_ports = match proto {
        proto::TCP | proto::SCTP => 1,
        proto::UDP if !is_tunnel_port(dport) => 1,
        proto::ICMP if !is_icmp_error(kind) => 0,
        proto::ICMP6 if !is_icmp6_error(kind) => 0,
        _ => return None,
    };
    Some(Tuple {
        src,
        dst,
        sport: if has_ports == 1 { sport } else { 0 },
        dport: if has_ports == 1 { dport } else { 0 },
        proto,
        has_ports,
    })
}

/// The tuple of a plain IPv4 packet.
#[inline(always)]
pub fn ipv4([first, fragment, ttl_proto, src, dst, both]: Ipv4) -> Option<Tuple> {
    // No options, no fragment: neither "more fragments" nor an offset.
    if u32::from_be(first) >> 24 != 0x45 || u32::from_be(fragment) & 0x3fff != 0 {
        return None;
    }
    let next = (u32::from_be(ttl_proto) >> 16) as u8;
    plain(Addr::v4_word(src), Addr::v4_word(dst), next, u32::from_be(both))
}

/// The tuple of a plain IPv6 packet.
#[inline(always)]
pub fn ipv6([first, len_next, s0, s1, s2, s3, d0, d1, d2, d3, both]: Ipv6) -> Option<Tuple> {
    if u32::from_be(first) >> 28 != 6 {
        return None;
    }
    let next = (u32::from_be(len_next) >> 8) as u8;
    let src = Addr::v6_words([s0, s1, s2, s3]);
    let dst = Addr::v6_words([d0, d1, d2, d3]);
    plain(src, dst, next, u32::from_be(both))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{ETH_P_IP, ETH_P_IPV6};
    use crate::source::{Bytes, Source as _};
    use crate::tunnel::walk;
    use proptest::prelude::*;

    /// What the whole parser makes of the same bytes: its outermost tuple and how many layers.
    fn walked(ethertype: u16, bytes: &[u8]) -> (Option<Tuple>, u32) {
        let mut first = None;
        let layers = walk(&Bytes(bytes), ethertype, 0, |layer| {
            first.get_or_insert(layer.transport.tuple);
        });
        (first, layers)
    }

    proptest! {
        /// A glance never contradicts the parser: where it answers, the packet has that one tuple.
        #[test]
        fn agrees_with_the_parser(mut b in proptest::collection::vec(any::<u8>(), 200), next in prop::sample::select(vec![1_u8, 6, 17, 58, 132, 47, 4, 44, 0])) {
            b[0] = 0x45;
            b[9] = next;
            if let Some(tuple) = ipv4(Bytes(&b).words(0).unwrap()) {
                prop_assert_eq!(walked(ETH_P_IP, &b), (Some(tuple), 1));
            }
            b[0] = 0x60;
            b[6] = next;
            if let Some(tuple) = ipv6(Bytes(&b).words(0).unwrap()) {
                prop_assert_eq!(walked(ETH_P_IPV6, &b), (Some(tuple), 1));
            }
        }
    }

    #[test]
    fn leaves_tunnels_fragments_and_options_to_the_parser() {
        let mut b = [0_u8; 24];
        let ipv4 = |b: &[u8]| ipv4(Bytes(b).words(0).unwrap());
        b[0] = 0x45;
        b[9] = 17;
        b[22..24].copy_from_slice(&4789_u16.to_be_bytes());
        assert_eq!(ipv4(&b), None);
        b[22..24].copy_from_slice(&53_u16.to_be_bytes());
        assert_eq!(ipv4(&b).map(|t| t.dport), Some(53));
        b[6] = 0x20; // more fragments
        assert_eq!(ipv4(&b), None);
        b[6] = 0x40; // don't fragment
        assert!(ipv4(&b).is_some());
        b[0] = 0x46;
        assert_eq!(ipv4(&b), None);
    }
}
