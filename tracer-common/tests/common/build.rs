//! Builds frames from a description, so that what the parser reads can be held against it. Written
//! from the RFCs and apart from the parser: nothing of `tracer_common` is used but its names.

use tracer_common::flow::proto;
use tracer_common::packet::{ETH_P_IP, ETH_P_IPV6, ETH_P_TEB};

/// An Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Up to two tags, outermost first: TPID and TCI.
    pub vlans: Vec<(u16, u16)>,
    pub flow: Flow,
}

/// An IP packet.
#[derive(Clone, Debug)]
pub struct Flow {
    pub ip: Ip,
    pub body: Body,
}

/// An IP header.
#[derive(Clone, Debug)]
pub struct Ip {
    pub version: Version,
    pub ttl: u8,
}

/// What the two versions have of their own.
#[derive(Clone, Debug)]
pub enum Version {
    V4 { src: [u8; 4], dst: [u8; 4], id: u16, df: bool, fragment: Option<(u16, bool)>, options: u8 },
    V6 { src: [u8; 16], dst: [u8; 16], extensions: Vec<Extension> },
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug)]
pub enum Extension {
    /// Hop-by-hop (0), routing (43) or destination options (60), and its length past 8 octets, in
    /// units of 8 octets.
    Plain(u8, u8),
    /// Its length past 8 octets, in units of 4 octets.
    Authentication(u8),
    /// Offset in units of 8 octets, more fragments, identification.
    Fragment(u16, bool, u32),
}

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    Tcp {
        sport: u16,
        dport: u16,
        seq: u32,
        ack: u32,
        flags: u8,
        options: u8,
        load: Vec<u8>,
    },
    Udp {
        sport: u16,
        dport: u16,
        load: Vec<u8>,
    },
    Sctp {
        sport: u16,
        dport: u16,
        tag: u32,
        load: Vec<u8>,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
        load: Vec<u8>,
    },
    Vxlan {
        port: u16,
        vni: u32,
        inner: Box<Frame>,
    },
    Geneve {
        vni: u32,
        options: u8,
        inner: Box<Frame>,
    },
    /// Over IP.
    Gre {
        checksum: bool,
        key: Option<u32>,
        sequence: bool,
        inner: Box<Flow>,
    },
    /// Over IP, with a frame in it.
    Gretap {
        key: Option<u32>,
        inner: Box<Frame>,
    },
    IpIp(Box<Flow>),
}

impl Frame {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for (tpid, tci) in &self.vlans {
            out.extend(tpid.to_be_bytes());
            out.extend(tci.to_be_bytes());
        }
        out.extend(self.flow.ethertype().to_be_bytes());
        out.extend(self.flow.bytes());
        out
    }

    /// Its flows, outermost first.
    pub fn flows(&self) -> Vec<&Flow> {
        let mut flows = vec![&self.flow];
        while let Some(inner) = flows[flows.len() - 1].inner() {
            flows.push(inner);
        }
        flows
    }
}

impl Flow {
    pub fn ethertype(&self) -> u16 {
        match self.ip.version {
            Version::V4 { .. } => ETH_P_IP,
            Version::V6 { .. } => ETH_P_IPV6,
        }
    }

    fn inner(&self) -> Option<&Flow> {
        match &self.body {
            Body::Vxlan { inner, .. } | Body::Geneve { inner, .. } | Body::Gretap { inner, .. } => {
                Some(&inner.flow)
            }
            Body::Gre { inner, .. } | Body::IpIp(inner) => Some(inner),
            _ => None,
        }
    }

    /// It begins in the middle of what was sent, behind the transport header.
    pub fn is_later_fragment(&self) -> bool {
        match &self.ip.version {
            Version::V4 { fragment, .. } => fragment.is_some_and(|(offset, _)| offset != 0),
            Version::V6 { extensions, .. } => extensions
                .iter()
                .any(|e| matches!(e, Extension::Fragment(offset, ..) if *offset != 0)),
        }
    }

    /// What it carries, if it is a tunnel's.
    pub fn inner_mut(&mut self) -> Option<&mut Flow> {
        match &mut self.body {
            Body::Vxlan { inner, .. } | Body::Geneve { inner, .. } | Body::Gretap { inner, .. } => {
                Some(&mut inner.flow)
            }
            Body::Gre { inner, .. } | Body::IpIp(inner) => Some(inner),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let body = self.body.bytes();
        let mut out = match &self.ip.version {
            Version::V4 { src, dst, id, df, fragment, options } => {
                let header_len = 20 + 4 * u16::from(*options);
                let (offset, more) = fragment.unwrap_or((0, false));
                let flags = u16::from(*df) << 14 | u16::from(more) << 13 | offset;
                let mut out = vec![0x45 + options, 0];
                out.extend((header_len + body.len() as u16).to_be_bytes());
                out.extend(id.to_be_bytes());
                out.extend(flags.to_be_bytes());
                out.extend([self.ip.ttl, self.protocol(), 0xbe, 0xef]);
                out.extend(src);
                out.extend(dst);
                out.resize(usize::from(header_len), 1); // No Operation
                out
            }
            Version::V6 { src, dst, extensions } => {
                let chain = chain(extensions, self.protocol());
                let mut out = vec![0x60, 0, 0, 0];
                out.extend(((chain.1.len() + body.len()) as u16).to_be_bytes());
                out.extend([chain.0, self.ip.ttl]);
                out.extend(src);
                out.extend(dst);
                out.extend(chain.1);
                out
            }
        };
        out.extend(body);
        out
    }

    /// IANA's number of what the packet carries.
    pub fn protocol(&self) -> u8 {
        let v4 = matches!(self.ip.version, Version::V4 { .. });
        (match &self.body {
            Body::Tcp { .. } => proto::TCP,
            Body::Udp { .. } | Body::Vxlan { .. } | Body::Geneve { .. } => proto::UDP,
            Body::Sctp { .. } => proto::SCTP,
            Body::Icmp { .. } if v4 => proto::ICMP,
            Body::Icmp { .. } => proto::ICMP6,
            Body::Gre { .. } | Body::Gretap { .. } => proto::GRE,
            Body::IpIp(inner) if inner.ethertype() == ETH_P_IP => proto::IPIP,
            Body::IpIp(_) => proto::IPV6,
        }) as u8
    }
}

/// The extension headers, and the number of the first of them (of `last`, if there is none).
fn chain(extensions: &[Extension], last: u8) -> (u8, Vec<u8>) {
    let number = |e: &Extension| match e {
        Extension::Plain(n, _) => *n,
        Extension::Authentication(_) => 51,
        Extension::Fragment(..) => 44,
    };
    let mut out = Vec::new();
    for (i, e) in extensions.iter().enumerate() {
        let start = out.len();
        out.push(extensions.get(i + 1).map_or(last, number));
        match e {
            Extension::Plain(_, len) => {
                out.extend([*len, 1, 4, 0, 0, 0, 0]); // PadN
                out.resize(start + 8 + 8 * usize::from(*len), 0);
            }
            Extension::Authentication(len) => {
                out.push(*len);
                out.resize(start + 8 + 4 * usize::from(*len), 0xaa);
            }
            Extension::Fragment(offset, more, id) => {
                out.push(0);
                out.extend((offset << 3 | u16::from(*more)).to_be_bytes());
                out.extend(id.to_be_bytes());
            }
        }
    }
    (extensions.first().map_or(last, number), out)
}

fn udp(sport: u16, dport: u16, load: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(sport.to_be_bytes());
    out.extend(dport.to_be_bytes());
    out.extend((load.len() as u16 + 8).to_be_bytes());
    out.extend([0xc5, 0x00]);
    out.extend(load);
    out
}

fn gre(checksum: bool, key: Option<u32>, sequence: bool, ethertype: u16, load: &[u8]) -> Vec<u8> {
    let mut out =
        vec![u8::from(checksum) << 7 | u8::from(key.is_some()) << 5 | u8::from(sequence) << 4, 0];
    out.extend(ethertype.to_be_bytes());
    if checksum {
        out.extend([0xc5, 0, 0, 0]);
    }
    out.extend(key.into_iter().flat_map(u32::to_be_bytes));
    if sequence {
        out.extend([0, 0, 0, 9]);
    }
    out.extend(load);
    out
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Body::Tcp { sport, dport, seq, ack, flags, options, load } => {
                let mut out = Vec::new();
                out.extend(sport.to_be_bytes());
                out.extend(dport.to_be_bytes());
                out.extend(seq.to_be_bytes());
                out.extend(ack.to_be_bytes());
                out.extend([(5 + options) << 4, *flags, 0xfa, 0xf0, 0xc5, 0, 0, 0]);
                out.resize(20 + 4 * usize::from(*options), 1); // No Operation
                out.extend(load);
                out
            }
            Body::Udp { sport, dport, load } => udp(*sport, *dport, load),
            Body::Sctp { sport, dport, tag, load } => {
                let mut out = Vec::new();
                out.extend(sport.to_be_bytes());
                out.extend(dport.to_be_bytes());
                out.extend(tag.to_be_bytes());
                out.extend([0xc5; 4]);
                out.extend(load);
                out
            }
            Body::Icmp { kind, code, rest, load } => {
                let mut out = vec![*kind, *code, 0xc5, 0];
                out.extend(rest);
                out.extend(load);
                out
            }
            Body::Vxlan { port, vni, inner } => {
                let mut load = vec![8, 0, 0, 0];
                load.extend((vni << 8).to_be_bytes());
                load.extend(inner.bytes());
                udp(50000, *port, &load)
            }
            Body::Geneve { vni, options, inner } => {
                let mut load = vec![*options, 0];
                load.extend(ETH_P_TEB.to_be_bytes());
                load.extend((vni << 8).to_be_bytes());
                load.resize(8 + 4 * usize::from(*options), 0);
                load.extend(inner.bytes());
                udp(50001, 6081, &load)
            }
            Body::Gre { checksum, key, sequence, inner } => {
                gre(*checksum, *key, *sequence, inner.ethertype(), &inner.bytes())
            }
            Body::Gretap { key, inner } => gre(false, *key, false, ETH_P_TEB, &inner.bytes()),
            Body::IpIp(inner) => inner.bytes(),
        }
    }
}
