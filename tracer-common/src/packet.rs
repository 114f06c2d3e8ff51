//! The link and network layers: Ethernet, VLAN tags, IPv4, IPv6 with its extension headers, ARP.
//!
//! Every layer reads fixed-size pieces at computed offsets from a [`Source`], so that the kernel's
//! verifier never meets a variable offset into a buffer, and a length that a packet claims is never
//! believed: what cannot be read is `None`.

use crate::flow::{Addr, proto};
use crate::source::Source;

/// `ETH_P_IP`.
pub const ETH_P_IP: u16 = 0x0800;
/// `ETH_P_ARP`.
pub const ETH_P_ARP: u16 = 0x0806;
/// `ETH_P_TEB`, transparent Ethernet bridging.
pub const ETH_P_TEB: u16 = 0x6558;
/// `ETH_P_8021Q`, a customer VLAN tag.
pub const ETH_P_8021Q: u16 = 0x8100;
/// `ETH_P_8021AD`, a service VLAN tag.
pub const ETH_P_8021AD: u16 = 0x88a8;
/// `ETH_P_IPV6`.
pub const ETH_P_IPV6: u16 = 0x86dd;

/// Bytes of an Ethernet header.
pub const ETH_HLEN: u32 = 14;
/// Bytes of a VLAN tag.
pub const VLAN_HLEN: u32 = 4;

#[inline(always)]
pub(crate) const fn be16(b: [u8; 2]) -> u16 {
    u16::from_be_bytes(b)
}

/// One VLAN tag as it stands in the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// Tag protocol identifier, `ETH_P_8021Q` or `ETH_P_8021AD`.
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN id (IEEE 802.1Q).
    pub tci: u16,
}

impl VlanTag {
    /// VLAN id, 0 to 4095.
    pub const fn id(self) -> u16 {
        self.tci & 0x0fff
    }

    /// Priority code point, 0 to 7.
    pub const fn pcp(self) -> u8 {
        (self.tci >> 13) as u8
    }
}

/// An Ethernet header and the VLAN tags behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Destination address.
    pub dst: [u8; 6],
    /// Source address.
    pub src: [u8; 6],
    /// Up to two tags, outermost first; a zero `tpid` is none.
    pub vlans: [VlanTag; 2],
    /// What follows (`ETH_P_*`).
    pub ethertype: u16,
    /// Offset of the network header.
    pub network_at: u32,
}

/// Reads an Ethernet header (IEEE 802.3) and at most two VLAN tags at `at`.
#[inline(always)]
pub fn link<S: Source>(s: &S, at: u32) -> Option<Link> {
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = s.read::<14>(at)?;
    let mut ethertype = be16([t0, t1]);
    let mut network_at = at + ETH_HLEN;
    let mut vlans = [VlanTag::default(); 2];
    for tag in &mut vlans {
        if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
            break;
        }
        let [c0, c1, e0, e1] = s.read::<4>(network_at)?;
        *tag = VlanTag { tpid: ethertype, tci: be16([c0, c1]) };
        ethertype = be16([e0, e1]);
        network_at += VLAN_HLEN;
    }
    Some(Link {
        dst: [d0, d1, d2, d3, d4, d5],
        src: [s0, s1, s2, s3, s4, s5],
        vlans,
        ethertype,
        network_at,
    })
}

/// Skips VLAN tags that stand where a network header is expected (`skb->protocol` names the tag
/// when the tag is still in the packet). Returns the ethertype behind them and its offset.
#[inline(always)]
pub fn skip_vlans<S: Source>(s: &S, mut ethertype: u16, mut at: u32) -> Option<(u16, u32)> {
    for _ in 0..2 {
        if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
            break;
        }
        let [_, _, e0, e1] = s.read::<4>(at)?;
        ethertype = be16([e0, e1]);
        at += VLAN_HLEN;
    }
    Some((s.opaque(ethertype.into()) as u16, s.opaque(at.into()) as u32))
}

/// A network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Source; ARP: the sender's protocol address.
    pub src: Addr,
    /// Destination; ARP: the target's protocol address.
    pub dst: Addr,
    /// [`proto`] of what follows, behind all extension headers.
    pub proto: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// 4, 6, or 0 for ARP.
    pub version: u8,
    /// Don't Fragment.
    pub df: bool,
    /// More Fragments.
    pub more_fragments: bool,
    /// Fragment offset, bytes; 0 for a whole packet and for a first fragment.
    pub frag_offset: u16,
    /// Identification: IPv4, or the IPv6 fragment header; 0 when there is none.
    pub id: u32,
    /// Total length as the header claims it, bytes; IPv6: payload length + 40. Never trusted.
    pub total_len: u32,
    /// Offset of this header.
    pub at: u32,
    /// Offset of what follows.
    pub transport_at: u32,
}

impl Network {
    /// Itself, with nothing known of it: see [`Source::opaque`].
    #[inline(always)]
    fn opaque<S: Source>(self, s: &S) -> Self {
        Self {
            src: self.src.opaque(s),
            dst: self.dst.opaque(s),
            proto: s.opaque(self.proto.into()) as u16,
            ttl: s.opaque(self.ttl.into()) as u8,
            version: s.opaque(self.version.into()) as u8,
            df: s.opaque_bool(self.df),
            more_fragments: s.opaque_bool(self.more_fragments),
            frag_offset: s.opaque(self.frag_offset.into()) as u16,
            id: s.opaque(self.id.into()) as u32,
            total_len: s.opaque(self.total_len.into()) as u32,
            at: s.opaque(self.at.into()) as u32,
            transport_at: s.opaque(self.transport_at.into()) as u32,
        }
    }

    /// Bytes from the transport header to the end of the packet; `None` where the length contradicts
    /// itself, or says nothing (a fragment's is not that of the whole).
    pub fn transport_len(&self) -> Option<u32> {
        let is_fragment = self.frag_offset != 0 || self.more_fragments;
        let end = self.at.checked_add(self.total_len)?;
        end.checked_sub(self.transport_at).filter(|_| !is_fragment)
    }
}

/// Reads the network header of kind `ethertype` at `at`.
#[inline(always)]
pub fn network<S: Source>(s: &S, ethertype: u16, at: u32) -> Option<Network> {
    let n = match ethertype {
        ETH_P_IP => ipv4(s, at),
        ETH_P_IPV6 => ipv6(s, at),
        ETH_P_ARP => arp(s, at),
        _ => None,
    }?;
    Some(n.opaque(s))
}

/// RFC 791, 3.1.
#[inline(always)]
fn ipv4<S: Source>(s: &S, at: u32) -> Option<Network> {
    let [
        version_ihl,
        _,
        l0,
        l1,
        i0,
        i1,
        f0,
        f1,
        ttl,
        protocol,
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
    ] = s.read::<20>(at)?;
    let header_len = u32::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || header_len < 20 {
        return None;
    }
    let fragment = be16([f0, f1]);
    Some(Network {
        src: Addr::v4([s0, s1, s2, s3]),
        dst: Addr::v4([d0, d1, d2, d3]),
        proto: u16::from(protocol),
        ttl,
        version: 4,
        df: fragment & 0x4000 != 0,
        more_fragments: fragment & 0x2000 != 0,
        frag_offset: (fragment & 0x1fff) << 3,
        id: u32::from(be16([i0, i1])),
        total_len: u32::from(be16([l0, l1])),
        at,
        transport_at: at + header_len,
    })
}

/// How many IPv6 extension headers are followed; more than any real packet has.
const MAX_EXTENSIONS: usize = 6;

/// RFC 8200, 3 and 4.
#[inline(always)]
fn ipv6<S: Source>(s: &S, at: u32) -> Option<Network> {
    let [v, _, _, _, l0, l1, next, hops, s0, s1, s2, s3, s4, s5, s6, s7] = s.read::<16>(at)?;
    if v >> 4 != 6 {
        return None;
    }
    let (src, dst) = (
        Addr::v6(
            u64::from_ne_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            u64::from_ne_bytes(s.read::<8>(at + 16)?),
        ),
        Addr::v6(
            u64::from_ne_bytes(s.read::<8>(at + 24)?),
            u64::from_ne_bytes(s.read::<8>(at + 32)?),
        ),
    );
    let mut chain = Chain { proto: u32::from(next), at: at + 40, fragment: 0 };
    for _ in 0..MAX_EXTENSIONS {
        let Some(next) = chain.next(s) else { break };
        chain = next;
    }
    let [_, _, f0, f1, i0, i1, i2, i3] = chain.fragment.to_ne_bytes();
    let fragment = be16([f0, f1]);
    Some(Network {
        src,
        dst,
        proto: chain.proto as u16,
        ttl: hops,
        version: 6,
        df: false,
        more_fragments: fragment & 1 != 0,
        frag_offset: fragment & FRAGMENT_OFFSET,
        id: u32::from_be_bytes([i0, i1, i2, i3]),
        total_len: u32::from(be16([l0, l1])) + 40,
        at,
        transport_at: chain.at,
    })
}

/// The offset in a fragment header's third and fourth byte, bytes.
const FRAGMENT_OFFSET: u16 = 0xfff8;

/// How far the chain of IPv6 extension headers was followed.
#[derive(Clone, Copy)]
struct Chain {
    /// The protocol of what comes next.
    proto: u32,
    /// Its offset.
    at: u32,
    /// The fragment header as it stands in the packet, 0 where there was none.
    fragment: u64,
}

impl Chain {
    /// Behind the next extension header, or `None` where there is no further one.
    ///
    /// Few branches, and nothing known of what they come to: the verifier walks each way through
    /// all of the extension headers that there can be.
    #[inline(always)]
    fn next<S: Source>(self, s: &S) -> Option<Self> {
        const FRAGMENT: u32 = 44;
        const AUTHENTICATION: u32 = 51;
        // Hop-by-hop options, routing, destination options, and the two above.
        if !matches!(self.proto, 0 | 43 | 60 | FRAGMENT | AUTHENTICATION) {
            return None;
        }
        let [_, _, f0, f1, ..] = self.fragment.to_ne_bytes();
        // Behind a later fragment's header there is no other.
        if be16([f0, f1]) & FRAGMENT_OFFSET != 0 {
            return None;
        }
        let bytes = s.read::<8>(self.at)?;
        let [next, len, ..] = bytes;
        let len = u32::from(len);
        let (len, fragment) = match self.proto {
            FRAGMENT => (8, u64::from_ne_bytes(bytes)),
            // RFC 4302, 2.2: in 4-octet units, minus 2.
            AUTHENTICATION => ((len + 2) * 4, self.fragment),
            _ => ((len + 1) * 8, self.fragment),
        };
        Some(Self {
            proto: s.opaque(next.into()) as u32,
            at: s.opaque(self.at.wrapping_add(len).into()) as u32,
            fragment: s.opaque(fragment),
        })
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub op: u16,
    /// Sender's hardware address.
    pub sender_mac: [u8; 6],
    /// Target's hardware address.
    pub target_mac: [u8; 6],
}

/// The hardware side of the ARP packet at `at`.
#[inline]
pub fn arp_fields<S: Source>(s: &S, at: u32) -> Option<Arp> {
    let [_, _, _, _, _, _, o0, o1, s0, s1, s2, s3, s4, s5, rest @ ..] = s.read::<24>(at)?;
    let [_, _, _, _, t0, t1, t2, t3, t4, t5] = rest;
    Some(Arp {
        op: be16([o0, o1]),
        sender_mac: [s0, s1, s2, s3, s4, s5],
        target_mac: [t0, t1, t2, t3, t4, t5],
    })
}

#[inline(always)]
fn arp<S: Source>(s: &S, at: u32) -> Option<Network> {
    // Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
    if s.read::<6>(at)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    Some(Network {
        src: Addr::v4(s.read::<4>(at + 14)?),
        dst: Addr::v4(s.read::<4>(at + 24)?),
        proto: proto::ARP,
        ttl: 0,
        version: 0,
        df: false,
        more_fragments: false,
        frag_offset: 0,
        id: 0,
        total_len: 28,
        at,
        transport_at: at + 28,
    })
}
