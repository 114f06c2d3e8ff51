//! A packet's flow key as text, in the form that `ovs-dpctl` prints and `ofproto/trace` takes.
//!
//! The key is made of the packet's own headers, as `key_extract` of the kernel's
//! `net/openvswitch/flow.c` makes it, so that it is exact where rules look at what flows are not
//! told apart by: TOS, flow label, the target of a neighbour solicitation.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use tracer_common::flow::{Addr, proto};
use tracer_common::packet::{self, Bytes, Network, Source, VlanTag, arp_fields};
use tracer_common::transport::{Transport, icmp, tcp, transport};

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

/// The key of a frame that begins with its Ethernet header; `tag` is kept beside it. `None` where the
/// headers cannot be read that a key of such a packet must have.
pub fn text(place: &Place<'_>, frame: &[u8], tag: Option<VlanTag>) -> Option<String> {
    let bytes = Bytes(frame);
    let link = packet::link(&bytes, 0)?;
    let network = packet::network(&bytes, link.ethertype, link.network_at);
    let mut inner = format!("eth_type({:#06x})", link.ethertype);
    match &network {
        Some(network) => inner.push_str(&layers(&bytes, network)?),
        // What is no IP and no ARP has no more keys, but for MPLS and NSH.
        None if matches!(link.ethertype, 0x0800 | ARP | 0x86dd | 0x8847 | 0x8848 | 0x894f) => {
            return None;
        }
        None => {}
    }
    // Two tags are kept apart, the outermost first.
    let tags: Vec<_> = tag.into_iter().chain(link.vlans).filter(|tag| tag.tpid != 0).collect();
    let key = tags.iter().take(2).rev().fold(inner, |inner, tag| {
        let (tpid, id, pcp) = (tag.tpid, tag.id(), tag.pcp());
        format!("eth_type({tpid:#06x}),vlan(vid={id},pcp={pcp}),encap({inner})")
    });
    let (src, dst) = (mac(link.src), mac(link.dst));
    Some(format!("{}eth(src={src},dst={dst}),{key}", begin(place)))
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

fn layers(bytes: &Bytes<'_>, n: &Network) -> Option<String> {
    let (src, dst) = (ip(n.src), ip(n.dst));
    if n.proto == proto::ARP {
        let arp = arp_fields(bytes, n.at)?;
        // OVS knows no operation over 255.
        let op = if arp.op > 255 { 0 } else { arp.op };
        let (sha, tha) = (mac(arp.sender_mac), mac(arp.target_mac));
        return Some(format!(",arp(sip={src},tip={dst},op={op},sha={sha},tha={tha})"));
    }
    let frag = match (n.frag_offset, n.more_fragments) {
        (0, false) => "no",
        (0, true) => "first",
        _ => "later",
    };
    let (proto, ttl) = (n.proto, n.ttl);
    let head = if n.version == 4 {
        let [tos] = bytes.read::<1>(n.at + 1)?;
        format!(",ipv4(src={src},dst={dst},proto={proto},tos={tos:#x},ttl={ttl},frag={frag})")
    } else {
        let start = u32::from_be_bytes(bytes.read::<4>(n.at)?);
        let (class, label) = ((start >> 20) & 0xff, start & 0xf_ffff);
        format!(
            ",ipv6(src={src},dst={dst},label={label:#x},proto={proto},tclass={class:#x},\
             hlimit={ttl},frag={frag})"
        )
    };
    let t = transport(bytes, n);
    let ports = if frag == "later" { String::new() } else { ports(bytes, n, &t)? };
    Some(head + &ports)
}

/// What follows the IP header; empty for protocols of which a key has no more.
fn ports(bytes: &Bytes<'_>, n: &Network, t: &Transport) -> Option<String> {
    let name = match n.proto {
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::SCTP => "sctp",
        proto::ICMP if n.version == 4 => "icmp",
        proto::ICMP6 if n.version == 6 => "icmpv6",
        _ => return Some(String::new()),
    };
    if !t.present {
        return None;
    }
    if let Some(header) = icmp(t) {
        let (kind, code) = (header.kind, header.code);
        let nd = if name == "icmpv6" && code == 0 && ND.contains(&kind) {
            neighbour(bytes, n.transport_at)?
        } else {
            String::new()
        };
        return Some(format!(",{name}(type={kind},code={code}){nd}"));
    }
    let flags = match n.proto {
        proto::TCP => format!(",tcp_flags({:#05x})", tcp(bytes, n.transport_at)?.flags),
        _ => String::new(),
    };
    Some(format!(",{name}(src={},dst={}){flags}", t.tuple.sport, t.tuple.dport))
}

/// Target and link-layer addresses of neighbour discovery (RFC 4861, 4.3, 4.4 and 4.6.1).
fn neighbour(bytes: &Bytes<'_>, at: u32) -> Option<String> {
    let target = Ipv6Addr::from(bytes.read::<16>(at + 8)?);
    let (mut sll, mut tll) = ([0; 6], [0; 6]);
    let mut option_at = at + 24;
    // There are few options, and each is at least 8 bytes long.
    for _ in 0..8 {
        let Some([kind, len]) = bytes.read::<2>(option_at) else { break };
        match (kind, bytes.read::<6>(option_at + 2)) {
            (1, Some(found)) => sll = found,
            (2, Some(found)) => tll = found,
            _ => {}
        }
        if len == 0 {
            break;
        }
        option_at += u32::from(len) * 8;
    }
    Some(format!(",nd(target={target},sll={},tll={})", mac(sll), mac(tll)))
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
        text(&Place { in_port: Port::Number(8), ..Place::default() }, &unhex(frame), None)
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
        let key = text(&place, &frame, Some(beside)).unwrap();
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
            assert_eq!(text(&Place::default(), &frame[..cut], None), None, "{cut}");
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
        let key = text(&place, &unhex(&format!("{ETH}{SYN}")), None).unwrap();
        let begin = "recirc_id(0x1a),ct_state(0x21),ct_zone(0xa6),ct_mark(0x2),ct_label(0x3),\
                     in_port(8),eth(";
        assert!(key.starts_with(begin), "{key}");
    }
}
