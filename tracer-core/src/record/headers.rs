//! What the headers of a packet say.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{ArpOp, Mac, Proto, TcpFlags};

/// Ethernet addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Eth {
    pub src: Mac,
    pub dst: Mac,
}

/// One VLAN tag (IEEE 802.1Q).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// VLAN id, 0 to 4095.
    pub id: u16,
    /// Tag protocol: 0x8100 or 0x88a8, as a number.
    pub tpid: u16,
    /// Priority code point, 0 to 7.
    pub pcp: u8,
}

/// A 5-tuple. Ports are absent where the protocol has none or a fragment lacks them.
#[skip_serializing_none]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// The innermost protocol.
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

impl Tuple {
    /// The same flow seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { src: self.dst, sport: self.dport, dst: self.src, dport: self.sport, ..self }
    }
}

/// From the IP header.
#[skip_serializing_none]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Identification (IPv4, or the IPv6 fragment header).
    pub id: Option<u32>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Total length in the header, bytes.
    pub len: u32,
    /// Don't Fragment (IPv4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub df: bool,
    /// A fragment: its offset in bytes.
    pub frag_offset: Option<u32>,
    /// A fragment that more follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_fragments: bool,
}

/// From the TCP header.
#[skip_serializing_none]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// `S` `SA` `A` `F` `R` `P` `U` ….
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The window as the header has it; what a SYN's `scale` says is still to be applied to later
    /// ones.
    pub window: Option<u16>,
    /// Bytes of data behind the header.
    pub data: Option<u32>,
    /// A SYN's window scale: bits by which later windows are shifted (RFC 7323).
    pub scale: Option<u8>,
}

/// From the ICMP or `ICMPv6` header.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// Type.
    pub r#type: u8,
    /// Code.
    pub code: u8,
    /// Identifier of an echo.
    pub id: Option<u16>,
    /// Sequence number of an echo.
    pub seq: Option<u16>,
    /// Next-hop MTU of "fragmentation needed" or "packet too big".
    pub mtu: Option<u32>,
    /// Of an error: the flow that it is about, as the packet that it quotes shows it.
    pub about: Option<Box<Tuple>>,
    /// Of an error about an echo: its identifier.
    pub about_id: Option<u16>,
}

/// From an ARP packet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arp {
    /// What it is for.
    pub op: ArpOp,
    /// The sender's hardware address as the ARP packet claims it.
    pub sender_mac: Mac,
    /// The target's hardware address.
    pub target_mac: Mac,
}

/// The tunnel that carries the packet.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// `vxlan` `geneve` `gre` `ipip`.
    pub kind: String,
    /// VNI or GRE key.
    pub key: Option<u32>,
    /// Outer source.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
    /// Outer destination port (VXLAN, Geneve).
    pub dport: Option<u16>,
}
