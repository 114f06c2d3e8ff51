//! The Internet checksum of transport headers (RFC 1071; RFC 9293, 3.1; RFC 768; RFC 4443, 2.3).

use crate::flow::proto;
use crate::packet::Network;

/// Whether the checksum of the transport header behind `n` is right. `None` where it cannot be told:
/// not all of the packet is in `packet`, a fragment, a protocol with another checksum or none.
pub fn is_right(packet: &[u8], n: &Network) -> Option<bool> {
    let len = n.transport_len()?;
    let from = usize::try_from(n.transport_at).ok()?;
    let segment = packet.get(from..from.checked_add(usize::try_from(len).ok()?)?)?;
    let pseudo = match n.proto {
        // Over IPv4 a UDP checksum may be left out.
        proto::UDP if segment.get(6..8)? == [0, 0] => return None,
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

/// The sum of 16-bit words in network byte order; an odd byte at the end counts as if a zero followed.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let whole: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    whole + rest.first().map_or(0, |last| u64::from(*last) << 8)
}
