//! Tunnels: VXLAN, Geneve, GRE, IP in IP; and the walk through a packet's layers that stops at the
//! flow asked for.

use crate::flow::proto;
use crate::packet::{self, ETH_P_IP, ETH_P_IPV6, ETH_P_TEB, Network, be16, network, skip_vlans};
use crate::source::Source;
use crate::transport::{Transport, transport};

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// RFC 2784 and 2890.
    Gre,
    /// RFC 2003, RFC 4213, RFC 2473.
    IpIp,
}

/// What a tunnel header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which kind.
    pub kind: Kind,
    /// VNI or GRE key, when there is one.
    pub key: Option<u32>,
    /// What the tunnel carries (`ETH_P_*`; [`ETH_P_TEB`] for an Ethernet frame).
    pub ethertype: u16,
    /// Offset of what it carries.
    pub inner_at: u32,
}

/// IANA's VXLAN port, and the one Linux used before it was assigned.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
/// IANA's Geneve port.
const GENEVE_PORT: u16 = 6081;

#[inline(always)]
const fn is_vxlan(port: u16) -> bool {
    port == VXLAN_PORTS[0] || port == VXLAN_PORTS[1]
}

/// Whether UDP to this port may be a tunnel.
#[inline(always)]
pub const fn is_tunnel_port(port: u16) -> bool {
    is_vxlan(port) || port == GENEVE_PORT
}

/// The tunnel header that starts at the transport layer, if that is one.
#[inline(always)]
pub fn tunnel<S: Source>(s: &S, n: &Network, t: &Transport) -> Option<Tunnel> {
    if n.frag_offset != 0 {
        return None;
    }
    let at = n.transport_at;
    match n.proto {
        proto::UDP if is_vxlan(t.tuple.dport) => vxlan(s, at + 8),
        proto::UDP if t.tuple.dport == GENEVE_PORT => geneve(s, at + 8),
        proto::GRE => gre(s, at),
        proto::IPIP => {
            Some(Tunnel { kind: Kind::IpIp, key: None, ethertype: ETH_P_IP, inner_at: at })
        }
        proto::IPV6 => {
            Some(Tunnel { kind: Kind::IpIp, key: None, ethertype: ETH_P_IPV6, inner_at: at })
        }
        _ => None,
    }
}

#[inline(always)]
fn vxlan<S: Source>(s: &S, at: u32) -> Option<Tunnel> {
    let [flags, _, _, _, v0, v1, v2, _] = s.read::<8>(at)?;
    // The I flag: a valid VNI.
    (flags & 0x08 != 0).then_some(Tunnel {
        kind: Kind::Vxlan,
        key: Some(u32::from_be_bytes([0, v0, v1, v2])),
        ethertype: ETH_P_TEB,
        inner_at: at + 8,
    })
}

#[inline(always)]
fn geneve<S: Source>(s: &S, at: u32) -> Option<Tunnel> {
    let [version_len, _, p0, p1, v0, v1, v2, _] = s.read::<8>(at)?;
    (version_len >> 6 == 0).then_some(Tunnel {
        kind: Kind::Geneve,
        key: Some(u32::from_be_bytes([0, v0, v1, v2])),
        ethertype: be16([p0, p1]),
        inner_at: at + 8 + u32::from(version_len & 0x3f) * 4,
    })
}

#[inline(always)]
fn gre<S: Source>(s: &S, at: u32) -> Option<Tunnel> {
    let [flags, version, p0, p1] = s.read::<4>(at)?;
    // PPTP's version 1 carries PPP. RFC 1701's routing entries (0x40) have a length of their own,
    // which RFC 2784 lets a receiver refuse, as Linux does (`gre_parse_header`).
    if version & 7 != 0 || flags & 0x40 != 0 {
        return None;
    }
    let mut inner_at = at + 4;
    if flags & 0x80 != 0 {
        inner_at += 4; // checksum and reserved
    }
    let mut key = None;
    if flags & 0x20 != 0 {
        key = Some(u32::from_be_bytes(s.read::<4>(inner_at)?));
        inner_at += 4;
    }
    if flags & 0x10 != 0 {
        inner_at += 4; // sequence number
    }
    Some(Tunnel { kind: Kind::Gre, key, ethertype: be16([p0, p1]), inner_at })
}

/// One flow inside a packet: a network and a transport layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Network layer.
    pub network: Network,
    /// Transport layer.
    pub transport: Transport,
}

/// How many flows one packet can carry inside one another: a tunnel in a tunnel.
pub const MAX_LAYERS: usize = 3;

/// The layer that starts with a network header of kind `ethertype` at `at`; VLAN tags before it
/// are skipped.
#[inline(always)]
pub fn layer<S: Source>(s: &S, ethertype: u16, at: u32) -> Option<Layer> {
    let (ethertype, at) = skip_vlans(s, ethertype, at)?;
    let network = network(s, ethertype, at)?;
    let transport = transport(s, &network);
    Some(Layer { network, transport })
}

/// Where the tunnel's load has its network header: its kind and offset.
#[inline(always)]
pub fn load<S: Source>(s: &S, tunnel: &Tunnel) -> Option<(u16, u32)> {
    if tunnel.ethertype == ETH_P_TEB {
        let link = packet::link(s, tunnel.inner_at)?;
        Some((link.ethertype, link.network_at))
    } else {
        Some((tunnel.ethertype, tunnel.inner_at))
    }
}

/// Where the packet that an ICMP error quotes has its network header: its kind and offset. `None`
/// for what is no error.
#[inline(always)]
pub fn quotation(n: &Network, t: &Transport) -> Option<(u16, u32)> {
    let [kind, ..] = t.start;
    let ethertype = match n.proto {
        proto::ICMP if is_icmp_error(kind) => ETH_P_IP,
        proto::ICMP6 if is_icmp6_error(kind) => ETH_P_IPV6,
        _ => return None,
    };
    t.present.then_some((ethertype, n.transport_at.wrapping_add(ICMP_HLEN)))
}

/// Bytes of an ICMP header, behind which an error quotes.
const ICMP_HLEN: u32 = 8;

/// RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem.
#[inline(always)]
pub const fn is_icmp_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// RFC 4443, 2.1: errors have the high bit clear.
#[inline(always)]
pub const fn is_icmp6_error(kind: u8) -> bool {
    kind < 128 && kind != 0
}

/// Walks from the outermost flow inwards and shows each layer that can be read to `see`: what a
/// tunnel carries, and what an ICMP error is about. Returns
/// how many there were; none where there is no network layer that this parser knows.
#[inline(always)]
pub fn walk<S: Source>(s: &S, ethertype: u16, at: u32, mut see: impl FnMut(&Layer)) -> u32 {
    let (mut ethertype, mut at) = (ethertype, at);
    let mut layers = 0;
    for _ in 0..MAX_LAYERS {
        let Some(layer) = layer(s, ethertype, at) else {
            break;
        };
        see(&layer);
        layers = s.opaque((layers + 1).into()) as u32;
        let carried = tunnel(s, &layer.network, &layer.transport).and_then(|t| load(s, &t));
        let Some((next, next_at)) = carried.or_else(|| quotation(&layer.network, &layer.transport))
        else {
            break;
        };
        ethertype = s.opaque(next.into()) as u16;
        at = s.opaque(next_at.into()) as u32;
    }
    layers
}
