//! The Internet checksum of transport headers (RFC 1071; RFC 9293, 3.1; RFC 768; RFC 4443, 2.3).

use crate::flow::proto;
use crate::packet::Network;

/// Bytes of an IPv4 header without options.
const IPV4_HLEN: u32 = 20;
/// Bytes of an IPv6 header.
const IPV6_HLEN: u32 = 40;

/// Whether the checksum of the transport header behind `n` is right. `None` where it cannot be told:
/// not all of the packet is in `packet`, a fragment, a protocol with another checksum or none.
pub fn is_right(packet: &[u8], n: &Network) -> Option<bool> {
    let len = n.transport_len()?;
    // What stands between the headers may name another destination, over which the sum is (a routing
    // header, RFC 8200, 8.1; a source route, RFC 791; a home address, RFC 6275).
    let plain = if n.version == 4 { IPV4_HLEN } else { IPV6_HLEN };
    if n.transport_at.checked_sub(n.at)? != plain {
        return None;
    }
    let from = usize::try_from(n.transport_at).ok()?;
    let segment = packet.get(from..from.checked_add(usize::try_from(len).ok()?)?)?;
    let pseudo = match n.proto {
        // Over IPv4 a UDP checksum may be left out.
        proto::UDP if segment.get(6..8)? == [0, 0] => return None,
        // It has a length of its own, which may be less than what the packet has room for.
        proto::UDP if u32::from(u16::from_be_bytes(segment.get(4..6)?.try_into().ok()?)) != len => {
            return None;
        }
        proto::TCP | proto::UDP | proto::ICMP6 => true,
        proto::ICMP => false,
        _ => return None,
    };
    let mut sum = sum(segment);
    if pseudo {
        // An IPv4 address is held mapped into IPv6; the two 0xffff of that are zeroes to this sum.
        sum += self::sum(&n.src.octets()) + self::sum(&n.dst.octets());
        sum += u64::from(len) + u64::from(n.proto);
    }
    Some(sum != 0 && sum.is_multiple_of(0xffff))
}

/// The sum of 16-bit words in network byte order, in multiples of 0xffff another one: two words at a time,
/// of which the upper counts 0x10000 times, which is once. An odd byte at the end counts as if a zero
/// followed.
fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<4>();
    let whole: u64 = pairs.iter().map(|pair| u64::from(u32::from_be_bytes(*pair))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    whole + u64::from(u32::from_be_bytes(last))
}
