//! What tells one packet from another wherever it is seen: the fields that NAT, routing and
//! encapsulation leave alone.

use crate::flow::proto;
use crate::packet::{ETH_P_IP, ETH_P_IPV6, Network, network};
use crate::source::Source;
use crate::transport::{Transport, mark, tcp, transport};
use crate::tunnel::{is_icmp_error, is_icmp6_error};

/// Payload bytes that go into a fingerprint, at most.
const PAYLOAD: u32 = 32;

/// Bytes hashed a word at a time: multiplied by the golden ratio (Knuth, 6.4), the upper half folded
/// onto the lower, which multiplication alone leaves as they were. Short inputs, no state; nobody is
/// kept from making two packets look alike, who could as well send the same one twice.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const START: Self = Self(0xcbf2_9ce4_8422_2325);

    fn with(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let whole = words.iter().fold(self, |hash, word| hash.word(u64::from_be_bytes(*word)));
        if rest.is_empty() {
            return whole;
        }
        let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        // Its length too: of a zero byte and of two the words are equal.
        whole.word(last << 8 | rest.len() as u64)
    }

    fn word(self, word: u64) -> Self {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed ^ mixed >> 32)
    }
}

/// What NAT, routing and encapsulation leave alone of one packet, hashed: equal for its copies,
/// different for a retransmission that the sender made anew (its IP id or TCP timestamp moved on).
///
/// Left out: addresses, ports, ICMP identifier, checksums, TTL, ECN bits, the MSS option, VLAN tags
/// and whatever is around `n`. `None` where there is too little to tell two packets apart, or where
/// `s` does not hold all that would count: a hash of less would differ from the hash that is made
/// where more of the same packet is seen.
pub fn fingerprint<S: Source>(s: &S, n: &Network, t: &Transport) -> Option<u64> {
    let mut hash = Hash::START.with(&n.proto.to_be_bytes());
    if n.version == 4 {
        hash = hash.with(&n.id.to_be_bytes());
    }
    if n.proto == proto::ARP {
        // An ARP packet is not rewritten on its way: all of it counts.
        return s.read::<28>(n.at).map(|b| hash.with(&b).0);
    }
    if n.frag_offset != 0 {
        let place = hash.with(&n.id.to_be_bytes()).with(&n.frag_offset.to_be_bytes());
        return payload(place, s, n, n.transport_at).map(|h| h.0);
    }
    if !t.present {
        return None;
    }
    let [b0, b1, _, _, b4, b5, b6, b7] = t.start;
    let behind = |len| n.transport_at.saturating_add(len);
    let hash = match n.proto {
        proto::TCP => segment(hash, s, n.transport_at),
        proto::UDP => payload(hash.with(&[b4, b5]), s, n, behind(8)),
        // The ports are NAT's to change, and so is the checksum behind the verification tag.
        proto::SCTP => payload(hash.with(&[b4, b5, b6, b7]), s, n, behind(12)),
        proto::ICMP if is_icmp_error(b0) => {
            complaint(hash.with(&[b0, b1, b6, b7]), s, ETH_P_IP, behind(8))
        }
        proto::ICMP6 if is_icmp6_error(b0) => {
            complaint(hash.with(&[b0, b1, b6, b7]), s, ETH_P_IPV6, behind(8))
        }
        proto::ICMP | proto::ICMP6 => payload(hash.with(&[b0, b1, b6, b7]), s, n, behind(8)),
        _ => payload(hash, s, n, n.transport_at),
    };
    hash.map(|h| h.0)
}

/// A TCP header tells packets apart by itself. Its payload is left out: often it is not in the
/// linear part of an skb, and then no hook sees it.
fn segment<S: Source>(hash: Hash, s: &S, at: u32) -> Option<Hash> {
    let tcp = tcp(s, at)?;
    let window = s.read::<2>(at.saturating_add(14))?;
    let options_at = at.saturating_add(20);
    let end = at.saturating_add(tcp.header_len.max(20));
    s.read::<1>(end - 1)?;
    let hash = hash
        .with(&tcp.seq.to_be_bytes())
        .with(&tcp.ack.to_be_bytes())
        .with(&[tcp.flags & 0x3f]) // without ECE and CWR, which ECN may change
        .with(&window);
    Some(timestamps(s, options_at, end).map_or(hash, |both| hash.with(&both)))
}

/// The timestamps option (RFC 7323, 3.2) among those from `at` to `end`: `TSval` and `TSecr`.
fn timestamps<S: Source>(s: &S, mut at: u32, end: u32) -> Option<[u8; 8]> {
    while at.saturating_add(10) <= end {
        at = match s.read::<2>(at)? {
            [8, 10] => return s.read::<8>(at.saturating_add(2)),
            [0, _] => return None,
            [1, _] => at.saturating_add(1),
            [_, len] => at.saturating_add(u32::from(len).max(2)),
        };
    }
    None
}

/// An ICMP error: it quotes the packet it is about, and NAT translates the quotation too.
fn complaint<S: Source>(hash: Hash, s: &S, ethertype: u16, at: u32) -> Option<Hash> {
    let quoted = network(s, ethertype, at)?;
    let start = transport(s, &quoted);
    if !start.present && quoted.frag_offset == 0 {
        return None;
    }
    Some(
        hash.with(&quoted.id.to_be_bytes())
            .with(&quoted.frag_offset.to_be_bytes())
            .with(&mark(&quoted, &start).to_be_bytes()),
    )
}

/// The first bytes of what a header at `at` is followed by, up to the end that `n` claims: the
/// padding of a short frame is no payload.
fn payload<S: Source>(mut hash: Hash, s: &S, n: &Network, at: u32) -> Option<Hash> {
    let end = n.at.saturating_add(n.total_len).min(at.saturating_add(PAYLOAD));
    let mut at = at;
    while at.saturating_add(8) <= end {
        hash = hash.with(&s.read::<8>(at)?);
        at += 8;
    }
    for at in at..end {
        hash = hash.with(&s.read::<1>(at)?);
    }
    Some(hash)
}
