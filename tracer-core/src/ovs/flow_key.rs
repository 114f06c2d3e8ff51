//! A packet's flow key as text, in the form that `ovs-dpctl` prints and `ofproto/trace` takes.
//!
//! The key is made of the packet's own headers, as `key_extract` of the kernel's
//! `net/openvswitch/flow.c` makes it, so that it is exact where rules look at what flows are not
//! told apart by: TOS, flow label, the target of a neighbour solicitation.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use tracer_common::flow::{Addr, proto};
use tracer_common::packet::{self, Network, VlanTag, arp_fields};
use tracer_common::source::{Bytes, Source};
use tracer_common::transport::{icmp, tcp, transport};

use super::actions::mac;

/// A port of a datapath.
#[derive(Clone, Copy, Debug)]
pub enum Port<'a> {
    /// As the datapath numbers it.
    Number(u32),
    /// By its name, which `ofproto/trace` takes as well.
    Name(&'a str),
}

impl Default for Port<'_> {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl std::fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Where the datapath holds a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The port by which it came in.
    pub in_port: Port<'a>,
    /// The recirculation; 0 on the first pass.
    pub recirc_id: u32,
    /// `OVS_CS_F_*`; 0 where it has not been through conntrack.
    pub ct_state: u8,
    /// Connection tracking zone.
    pub ct_zone: u16,
    /// Connection mark.
    pub ct_mark: u32,
    /// Connection label.
    pub ct_label: u128,
}

/// `ETH_P_*`.
const ARP: u16 = 0x0806;
/// Neighbour solicitation and advertisement (RFC 4861).
const ND: [u8; 2] = [135, 136];

/// What a key has of a packet's own headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Headers {
    src: [u8; 6],
    dst: [u8; 6],
    /// The outermost first; a zero `tpid` is none.
    tags: [VlanTag; 2],
    ethertype: u16,
    /// `None` for what is no IP and no ARP.
    network: Option<NetworkKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum NetworkKey {
    Arp { src: Addr, dst: Addr, op: u16, sender: [u8; 6], target: [u8; 6] },
    V4 { ip: IpKey, tos: u8 },
    V6 { ip: IpKey, class: u32, label: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct IpKey {
    src: Addr,
    dst: Addr,
    proto: u16,
    ttl: u8,
    /// As `ovs-dpctl` calls it.
    frag: &'static str,
    transport: TransportKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TransportKey {
    /// A later fragment, or a protocol of which a key has no more.
    Nothing,
    Ports {
        name: &'static str,
        src: u16,
        dst: u16,
        tcp_flags: Option<u8>,
    },
    Icmp {
        name: &'static str,
        kind: u8,
        code: u8,
        neighbour: Option<Neighbour>,
    },
}

/// Neighbour discovery (RFC 4861, 4.3, 4.4 and 4.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Neighbour {
    target: [u8; 16],
    /// Link-layer addresses: of the source, of the target.
    source_link: [u8; 6],
    target_link: [u8; 6],
}

impl Headers {
    /// Of a frame that begins with its Ethernet header; `tag` is kept beside it. `None` where the
    /// headers cannot be read that a key of such a packet must have.
    pub fn read(frame: &[u8], tag: Option<VlanTag>) -> Option<Self> {
        let bytes = Bytes(frame);
        let link = packet::link(&bytes, 0)?;
        let network = match packet::network(&bytes, link.ethertype, link.network_at) {
            Some(network) => Some(NetworkKey::read(&bytes, &network)?),
            // What is no IP and no ARP has no more keys, but for MPLS and NSH.
            None if matches!(link.ethertype, 0x0800 | ARP | 0x86dd | 0x8847 | 0x8848 | 0x894f) => {
                return None;
            }
            None => None,
        };
        let mut tags = [VlanTag::default(); 2];
        let all = tag.into_iter().chain(link.vlans).filter(|tag| tag.tpid != 0);
        tags.iter_mut().zip(all).for_each(|(to, tag)| *to = tag);
        Some(Self { src: link.src, dst: link.dst, tags, ethertype: link.ethertype, network })
    }
}

/// The key of a packet, as text.
pub fn text(place: &Place<'_>, headers: &Headers) -> String {
    let mut inner = format!("eth_type({:#06x})", headers.ethertype);
    if let Some(network) = &headers.network {
        inner.push_str(&network.text());
    }
    let tags = headers.tags.iter().rev().filter(|tag| tag.tpid != 0);
    let key = tags.fold(inner, |inner, tag| {
        let (tpid, id, pcp) = (tag.tpid, tag.id(), tag.pcp());
        format!("eth_type({tpid:#06x}),vlan(vid={id},pcp={pcp}),encap({inner})")
    });
    let (src, dst) = (mac(headers.src), mac(headers.dst));
    format!("{}eth(src={src},dst={dst}),{key}", begin(place))
}

fn begin(place: &Place<'_>) -> String {
    let mut text = String::new();
    if place.recirc_id != 0 {
        let _ = write!(text, "recirc_id({:#x}),", place.recirc_id);
    }
    if place.ct_state != 0 {
        let _ = write!(text, "ct_state({:#x}),ct_zone({:#x}),", place.ct_state, place.ct_zone);
    }
    if place.ct_mark != 0 {
        let _ = write!(text, "ct_mark({:#x}),", place.ct_mark);
    }
    if place.ct_label != 0 {
        let _ = write!(text, "ct_label({:#x}),", place.ct_label);
    }
    format!("{text}in_port({}),", place.in_port)
}

impl NetworkKey {
    fn read(bytes: &Bytes<'_>, n: &Network) -> Option<Self> {
        if n.proto == proto::ARP {
            let arp = arp_fields(bytes, n.at)?;
            return Some(Self::Arp {
                src: n.src,
                dst: n.dst,
                // OVS knows no operation over 255.
                op: if arp.op > 255 { 0 } else { arp.op },
                sender: arp.sender_mac,
                target: arp.target_mac,
            });
        }
        let frag = match (n.frag_offset, n.more_fragments) {
            (0, false) => "no",
            (0, true) => "first",
            _ => "later",
        };
        let transport = TransportKey::read(bytes, n)?;
        let ip = IpKey { src: n.src, dst: n.dst, proto: n.proto, ttl: n.ttl, frag, transport };
        if n.version == 4 {
            let [tos] = bytes.read::<1>(n.at + 1)?;
            return Some(Self::V4 { ip, tos });
        }
        let start = u32::from_be_bytes(bytes.read::<4>(n.at)?);
        Some(Self::V6 { ip, class: (start >> 20) & 0xff, label: start & 0xf_ffff })
    }

    fn text(&self) -> String {
        match self {
            Self::Arp { src, dst, op, sender, target } => {
                let (sip, tip) = (ip(*src), ip(*dst));
                let (sha, tha) = (mac(*sender), mac(*target));
                format!(",arp(sip={sip},tip={tip},op={op},sha={sha},tha={tha})")
            }
            Self::V4 { ip: IpKey { src, dst, proto, ttl, frag, transport }, tos } => {
                let (src, dst) = (ip(*src), ip(*dst));
                let rest = transport.text();
                format!(
                    ",ipv4(src={src},dst={dst},proto={proto},tos={tos:#x},ttl={ttl},frag={frag}){rest}"
                )
            }
            Self::V6 { ip: IpKey { src, dst, proto, ttl, frag, transport }, class, label } => {
                let (src, dst) = (ip(*src), ip(*dst));
                let rest = transport.text();
                format!(
                    ",ipv6(src={src},dst={dst},label={label:#x},proto={proto},tclass={class:#x},\
                     hlimit={ttl},frag={frag}){rest}"
                )
            }
        }
    }
}

impl TransportKey {
    /// What follows the IP header.
    fn read(bytes: &Bytes<'_>, n: &Network) -> Option<Self> {
        let name = match n.proto {
            _ if n.frag_offset != 0 => return Some(Self::Nothing),
            proto::TCP => "tcp",
            proto::UDP => "udp",
            proto::SCTP => "sctp",
            proto::ICMP if n.version == 4 => "icmp",
            proto::ICMP6 if n.version == 6 => "icmpv6",
            _ => return Some(Self::Nothing),
        };
        let t = transport(bytes, n);
        if !t.present {
            return None;
        }
        if let Some(header) = icmp(&t) {
            let (kind, code) = (header.kind, header.code);
            let is_nd = name == "icmpv6" && code == 0 && ND.contains(&kind);
            let neighbour =
                if is_nd { Some(Neighbour::read(bytes, n.transport_at)?) } else { None };
            return Some(Self::Icmp { name, kind, code, neighbour });
        }
        let tcp_flags = match n.proto {
            proto::TCP => Some(tcp(bytes, n.transport_at)?.flags),
            _ => None,
        };
        let (src, dst) = (t.tuple.sport, t.tuple.dport);
        Some(Self::Ports { name, src, dst, tcp_flags })
    }

    fn text(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Ports { name, src, dst, tcp_flags } => {
                let flags = tcp_flags.map(|flags| format!(",tcp_flags({flags:#05x})"));
                format!(",{name}(src={src},dst={dst}){}", flags.unwrap_or_default())
            }
            Self::Icmp { name, kind, code, neighbour } => {
                let nd = neighbour.map(Neighbour::text).unwrap_or_default();
                format!(",{name}(type={kind},code={code}){nd}")
            }
        }
    }
}

impl Neighbour {
    fn read(bytes: &Bytes<'_>, at: u32) -> Option<Self> {
        let target = bytes.read::<16>(at + 8)?;
        let mut nd = Self { target, source_link: [0; 6], target_link: [0; 6] };
        let mut option_at = at + 24;
        // There are few options, and each is at least 8 bytes long.
        for _ in 0..8 {
            let Some([kind, len]) = bytes.read::<2>(option_at) else { break };
            match (kind, bytes.read::<6>(option_at + 2)) {
                (1, Some(found)) => nd.source_link = found,
                (2, Some(found)) => nd.target_link = found,
                _ => {}
            }
            if len == 0 {
                break;
            }
            option_at += u32::from(len) * 8;
        }
        Some(nd)
    }

    fn text(self) -> String {
        let target = Ipv6Addr::from(self.target);
        format!(",nd(target={target},sll={},tll={})", mac(self.source_link), mac(self.target_link))
    }
}

fn ip(addr: Addr) -> IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    const ETH: &str = "0a58a9fe0001 0a5800000002";
    const SYN: &str = "0800 45100028 00014000 4006f2b8 c0a85802 c6df0001 \
                       0e3401bb 00000001 00000000 500203e8 00000000";

    fn key(frame: &str) -> Option<String> {
        let headers = Headers::read(&unhex(frame), None)?;
        Some(text(&Place { in_port: Port::Number(8), ..Place::default() }, &headers))
    }

    #[test]
    fn a_tcp_syn() {
        assert_eq!(
            key(&format!("{ETH}{SYN}")).unwrap(),
            "in_port(8),eth(src=0a:58:00:00:00:02,dst=0a:58:a9:fe:00:01),eth_type(0x0800),\
             ipv4(src=192.168.88.2,dst=198.223.0.1,proto=6,tos=0x10,ttl=64,frag=no),\
             tcp(src=3636,dst=443),tcp_flags(0x002)"
        );
    }

    #[test]
    fn tags_in_the_frame_and_beside_it() {
        let place = Place { in_port: Port::Number(1), ..Place::default() };
        let frame = unhex(&format!("{ETH} 8100 2005 {SYN}"));
        let beside = VlanTag { tpid: 0x88a8, tci: 7 };
        let key = text(&place, &Headers::read(&frame, Some(beside)).unwrap());
        assert!(
            key.contains(
                "eth_type(0x88a8),vlan(vid=7,pcp=0),encap(eth_type(0x8100),vlan(vid=5,pcp=1),\
                 encap(eth_type(0x0800),ipv4("
            ),
            "{key}"
        );
        assert!(key.ends_with(")))"), "{key}");
    }

    #[test]
    fn a_neighbour_solicitation_with_its_target() {
        let solicitation = "86dd 6a012345 0020 3aff fe800000000000000000000000000001 \
                            ff0200000000000000000001ff000002 8700 0000 00000000 \
                            fd000000000000000000000000000002 0101 0a5800000002";
        assert!(key(&format!("{ETH}{solicitation}")).unwrap().ends_with(
            "eth_type(0x86dd),ipv6(src=fe80::1,dst=ff02::1:ff00:2,label=0x12345,proto=58,\
             tclass=0xa0,hlimit=255,frag=no),icmpv6(type=135,code=0),\
             nd(target=fd00::2,sll=0a:58:00:00:00:02,tll=00:00:00:00:00:00)"
        ));
    }

    #[test]
    fn arp_fragments_and_the_rest() {
        let arp = "0806 0001 0800 0604 0001 0a5800000002 0a000001 000000000000 0a000002";
        assert!(key(&format!("{ETH}{arp}")).unwrap().ends_with(
            "eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=0a:58:00:00:00:02,\
             tha=00:00:00:00:00:00)"
        ));
        let later = "0800 45000028 00010010 4006f2b8 c0a85802 c6df0001 00112233 44556677";
        assert!(key(&format!("{ETH}{later}")).unwrap().ends_with("ttl=64,frag=later)"));
        assert!(key(&format!("{ETH} 88cc 0207")).unwrap().ends_with("eth_type(0x88cc)"));
        assert_eq!(key(&format!("{ETH} 8847 0004d140")), None);
    }

    #[test]
    fn what_is_cut_short_has_no_key() {
        let frame = unhex(&format!("{ETH}{SYN}"));
        for cut in 0..frame.len() - 6 {
            assert_eq!(Headers::read(&frame[..cut], None), None, "{cut}");
        }
    }

    #[test]
    fn a_later_pass_says_what_conntrack_made_of_it() {
        let place = Place {
            in_port: Port::Number(8),
            recirc_id: 0x1a,
            ct_state: 0x21,
            ct_zone: 166,
            ct_mark: 2,
            ct_label: 3,
        };
        let key = text(&place, &Headers::read(&unhex(&format!("{ETH}{SYN}")), None).unwrap());
        let begin = "recirc_id(0x1a),ct_state(0x21),ct_zone(0xa6),ct_mark(0x2),ct_label(0x3),\
                     in_port(8),eth(";
        assert!(key.starts_with(begin), "{key}");
    }
}
