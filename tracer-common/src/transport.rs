//! The transport layer: TCP, UDP, SCTP, ICMP, `ICMPv6`.

use crate::flow::{Tuple, proto};
use crate::packet::{Network, be16};
use crate::source::Source;

/// The first eight bytes of any transport header, and the tuple they complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The flow's tuple at this layer.
    pub tuple: Tuple,
    /// The eight bytes; zero where there are none (a later fragment, a truncated packet, ARP).
    pub start: [u8; 8],
    /// Whether `start` was read.
    pub present: bool,
}

/// Reads the start of the transport header behind `n`.
///
/// A later fragment has none; it still has addresses and a protocol.
#[inline(always)]
pub fn transport<S: Source>(s: &S, n: &Network) -> Transport {
    let tuple = Tuple { src: n.src, dst: n.dst, sport: 0, dport: 0, proto: n.proto, has_ports: 0 };
    let mut t = Transport { tuple, start: [0; 8], present: false };
    if n.frag_offset == 0
        && n.proto != proto::ARP
        && let Some(start) = s.read::<8>(n.transport_at)
    {
        t.start = start;
        t.present = true;
        if matches!(n.proto, proto::TCP | proto::UDP | proto::SCTP) {
            let [s0, s1, d0, d1, ..] = start;
            t.tuple.sport = be16([s0, s1]);
            t.tuple.dport = be16([d0, d1]);
            t.tuple.has_ports = 1;
        }
    }
    t.opaque(s)
}

impl Transport {
    /// Itself, with nothing known of what this layer adds: see [`Source::opaque`].
    #[inline(always)]
    fn opaque<S: Source>(self, s: &S) -> Self {
        let Self { mut tuple, start, present } = self;
        tuple.sport = s.opaque(tuple.sport.into()) as u16;
        tuple.dport = s.opaque(tuple.dport.into()) as u16;
        tuple.has_ports = s.opaque(tuple.has_ports.into()) as u16;
        let start = s.opaque(u64::from_ne_bytes(start)).to_ne_bytes();
        Self { tuple, start, present: s.opaque_bool(present) }
    }
}

/// `Tuple::has_ports` of a [`fragment`]'s.
const FRAGMENT: u16 = 2;

/// What all fragments of one datagram share (RFC 791, RFC 8200), in the form of a tuple that no
/// packet has: by it those that have no ports follow the first, which has.
#[inline(always)]
pub const fn fragment(n: &Network) -> Tuple {
    Tuple {
        src: n.src,
        dst: n.dst,
        sport: (n.id >> 16) as u16,
        dport: n.id as u16,
        proto: n.proto,
        has_ports: FRAGMENT,
    }
}

/// A short mark of one packet that NAT, routing and encapsulation leave alone, cheap enough for the
/// kernel side: it tells whether an skb's address still belongs to the packet once seen there.
/// 0 is never returned.
#[inline(always)]
pub fn mark(n: &Network, t: &Transport) -> u32 {
    let [_, _, _, _, b4, b5, b6, b7] = t.start;
    let own = match n.proto {
        // Sequence number; SCTP: verification tag.
        proto::TCP | proto::SCTP => u32::from_be_bytes([b4, b5, b6, b7]),
        // Length: the checksum is NAT's to change.
        proto::UDP => u32::from(be16([b4, b5])),
        // Sequence number of an echo: the identifier is NAT's to change.
        proto::ICMP | proto::ICMP6 => u32::from(be16([b6, b7])),
        _ => 0,
    };
    let id = if n.version == 4 { n.id << 16 } else { 0 };
    (own.rotate_left(7) ^ id ^ u32::from(n.proto)) | 0x8000_0000
}

/// TCP header fields (RFC 9293, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flag bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// Bytes of the header, options included.
    pub header_len: u32,
    /// The window as the header has it, to be scaled.
    pub window: u16,
}

/// The TCP header at `at`.
#[inline]
pub fn tcp<S: Source>(s: &S, at: u32) -> Option<Tcp> {
    let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, w0, w1] = s.read::<16>(at)?;
    Some(Tcp {
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        flags,
        header_len: u32::from(offset >> 4) * 4,
        window: be16([w0, w1]),
    })
}

/// The window scale option of the TCP header at `at` (RFC 7323, 2.2): by how many bits the windows
/// of later segments are shifted.
pub fn window_scale<S: Source>(s: &S, at: u32, header_len: u32) -> Option<u8> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const SCALE: u8 = 3;
    let end = at.checked_add(header_len)?;
    let mut option = at.checked_add(20)?;
    while option < end {
        let [kind] = s.read::<1>(option)?;
        if kind == END {
            return None;
        }
        if kind == NOTHING {
            option += 1;
            continue;
        }
        let [len] = s.read::<1>(option + 1)?;
        if kind == SCALE && len == 3 && option + 3 <= end {
            let [scale] = s.read::<1>(option + 2)?;
            return Some(scale.min(14));
        }
        option = option.checked_add(u32::from(len.max(2)))?;
    }
    None
}

/// ICMP or `ICMPv6` header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The four bytes behind the checksum: identifier and sequence of an echo, MTU of an error.
    pub rest: [u8; 4],
}

impl Icmp {
    /// Identifier and sequence number, when `proto` and type make it an echo (RFC 792, RFC 4443).
    pub fn echo(&self, proto: u16) -> Option<(u16, u16)> {
        let echo = match proto {
            proto::ICMP => matches!(self.kind, 0 | 8),
            proto::ICMP6 => matches!(self.kind, 128 | 129),
            _ => false,
        };
        let [i0, i1, s0, s1] = self.rest;
        echo.then(|| (be16([i0, i1]), be16([s0, s1])))
    }

    /// Next-hop MTU in bytes, of "fragmentation needed" (RFC 1191) and "packet too big" (RFC 4443).
    pub fn mtu(&self, proto: u16) -> Option<u32> {
        let [_, _, m0, m1] = self.rest;
        match (proto, self.kind, self.code) {
            (proto::ICMP, 3, 4) => Some(u32::from(be16([m0, m1]))),
            (proto::ICMP6, 2, _) => Some(u32::from_be_bytes(self.rest)),
            _ => None,
        }
    }
}

/// The ICMP header whose first bytes are `t.start`.
#[inline]
pub fn icmp(t: &Transport) -> Option<Icmp> {
    let [kind, code, _, _, r0, r1, r2, r3] = t.start;
    (t.present && matches!(t.tuple.proto, proto::ICMP | proto::ICMP6)).then_some(Icmp {
        kind,
        code,
        rest: [r0, r1, r2, r3],
    })
}
