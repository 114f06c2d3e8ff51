//! A first look at a packet that settles nearly all of them: its tuple, when it is a plain one.

use crate::flow::{Addr, Tuple, proto};
use crate::packet::be16;
use crate::tunnel::{is_icmp_error, is_icmp6_error, is_tunnel_port};

/// IPv4 header without options and the ports behind it.
pub const IPV4_BYTES: usize = 24;
/// IPv6 header and the ports behind it.
pub const IPV6_BYTES: usize = 44;

const fn be32(b: [u8; 4]) -> u32 {
    u32::from_be_bytes(b)
}

/// The tuple of a plain packet: `proto` directly behind the IP header, whole, no tunnel. `None` for
/// one that has to be looked into.
#[inline(always)]
fn plain(src: Addr, dst: Addr, next: u8, ports: [u8; 4]) -> Option<Tuple> {
    let both = be32(ports);
    let (sport, dport) = ((both >> 16) as u16, both as u16);
    let proto = u16::from(next);
    let has_ports = match proto {
        proto::TCP | proto::SCTP => 1,
        proto::UDP if !is_tunnel_port(dport) => 1,
        proto::ICMP if !is_icmp_error(ports[0]) => 0,
        proto::ICMP6 if !is_icmp6_error(ports[0]) => 0,
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

/// The tuple of a plain IPv4 packet, from its first bytes.
#[inline(always)]
pub fn ipv4(b: [u8; IPV4_BYTES]) -> Option<Tuple> {
    let [
        version_ihl,
        _,
        _,
        _,
        _,
        _,
        f0,
        f1,
        _,
        next,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
        p0,
        p1,
        p2,
        p3,
    ] = b;
    // No options, no fragment.
    if version_ihl != 0x45 || be16([f0, f1]) & 0x3fff != 0 {
        return None;
    }
    plain(Addr::v4([s0, s1, s2, s3]), Addr::v4([d0, d1, d2, d3]), next, [p0, p1, p2, p3])
}

/// The tuple of a plain IPv6 packet, from its first bytes.
#[inline(always)]
pub fn ipv6(b: [u8; IPV6_BYTES]) -> Option<Tuple> {
    let [
        v,
        _,
        _,
        _,
        _,
        _,
        next,
        _,
        s0,
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        s8,
        s9,
        sa,
        sb,
        sc,
        sd,
        se,
        sf,
        d0,
        d1,
        d2,
        d3,
        d4,
        d5,
        d6,
        d7,
        d8,
        d9,
        da,
        db,
        dc,
        dd,
        de,
        df,
        p0,
        p1,
        p2,
        p3,
    ] = b;
    if v >> 4 != 6 {
        return None;
    }
    let src = Addr::v6(
        u64::from_ne_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        u64::from_ne_bytes([s8, s9, sa, sb, sc, sd, se, sf]),
    );
    let dst = Addr::v6(
        u64::from_ne_bytes([d0, d1, d2, d3, d4, d5, d6, d7]),
        u64::from_ne_bytes([d8, d9, da, db, dc, dd, de, df]),
    );
    plain(src, dst, next, [p0, p1, p2, p3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Bytes, ETH_P_IP, ETH_P_IPV6};
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
            let v4: [u8; IPV4_BYTES] = b[..IPV4_BYTES].try_into().unwrap();
            if let Some(tuple) = ipv4(v4) {
                prop_assert_eq!(walked(ETH_P_IP, &b), (Some(tuple), 1));
            }
            b[0] = 0x60;
            b[6] = next;
            let v6: [u8; IPV6_BYTES] = b[..IPV6_BYTES].try_into().unwrap();
            if let Some(tuple) = ipv6(v6) {
                prop_assert_eq!(walked(ETH_P_IPV6, &b), (Some(tuple), 1));
            }
        }
    }

    #[test]
    fn leaves_tunnels_fragments_and_options_to_the_parser() {
        let mut b = [0_u8; IPV4_BYTES];
        b[0] = 0x45;
        b[9] = 17;
        b[22..24].copy_from_slice(&4789_u16.to_be_bytes());
        assert_eq!(ipv4(b), None);
        b[22..24].copy_from_slice(&53_u16.to_be_bytes());
        assert_eq!(ipv4(b).map(|t| t.dport), Some(53));
        b[6] = 0x20; // more fragments
        assert_eq!(ipv4(b), None);
        b[6] = 0x40; // don't fragment
        assert!(ipv4(b).is_some());
        b[0] = 0x46;
        assert_eq!(ipv4(b), None);
    }
}
