//! Questions to a namespace's conntrack, over netlink.
//!
//! Message layouts: `include/uapi/linux/netfilter/nfnetlink.h` and `nfnetlink_conntrack.h`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nfnetlink::{
    NESTED, NLMSG_ERROR, Nfnetlink, attribute, attributes, be16, be32, error, nested,
};
use tracer_core::record::{CtEntry, Tuple};

/// `NFNL_SUBSYS_CTNETLINK << 8`.
const SUBSYSTEM: u16 = 1 << 8;
const CT_NEW: u16 = 0;
const CT_GET: u16 = 1;
const CT_GET_STATS: u16 = 5;
/// `nfgenmsg.nfgen_family`.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Attributes of an entry, `enum ctattr_type`.
mod cta {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const TIMEOUT: u16 = 7;
    pub const MARK: u16 = 8;
    pub const ZONE: u16 = 18;
}

/// A socket to the conntrack of the namespace that it was opened in.
pub struct Conntrack {
    socket: Nfnetlink,
}

/// What is asked for: a tuple as its packets look, with the ICMP identifier where that is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The tuple.
    pub tuple: Tuple,
    /// Of ICMP.
    pub icmp_id: Option<u16>,
    /// Zone; 0 is that of whoever sets none.
    pub zone: u16,
}

impl Conntrack {
    /// In the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no `nfnetlink`.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Nfnetlink::open()? })
    }

    /// The entry that has this tuple, in either direction; `None` when there is none.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer.
    pub fn holder(&self, wanted: &Wanted) -> io::Result<Option<CtEntry>> {
        let Some(tuple) = encode_tuple(wanted) else {
            return Ok(None);
        };
        let mut body = attribute(cta::TUPLE_ORIG | NESTED, &tuple);
        body.extend(attribute(cta::ZONE, &wanted.zone.to_be_bytes()));
        let family = if wanted.tuple.src.is_ipv4() { AF_INET } else { AF_INET6 };
        let (kind, answer) = self.socket.ask(SUBSYSTEM | CT_GET, family, &body)?;
        match (kind, error(&answer)) {
            (NLMSG_ERROR, Some(e)) if e == libc::ENOENT => Ok(None),
            (NLMSG_ERROR, Some(e)) => Err(io::Error::from_raw_os_error(e)),
            (kind, _) if kind == SUBSYSTEM | CT_NEW => Ok(Some(decode_entry(&answer))),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// How many entries there are, and how many there may be.
    ///
    /// # Errors
    /// As [`Conntrack::holder`].
    pub fn size(&self) -> io::Result<(Option<u32>, Option<u32>)> {
        const ENTRIES: u16 = 1;
        const MAX_ENTRIES: u16 = 2;
        let (kind, answer) = self.socket.ask(SUBSYSTEM | CT_GET_STATS, 0, &[])?;
        if kind == NLMSG_ERROR {
            return Err(io::Error::from_raw_os_error(error(&answer).unwrap_or(libc::EPROTO)));
        }
        let find = |wanted| {
            let (_, value) = attributes(&answer).find(|(kind, _)| *kind == wanted)?;
            be32(value)
        };
        Ok((find(ENTRIES), find(MAX_ENTRIES)))
    }
}

/// `CTA_TUPLE_IP` and `CTA_TUPLE_PROTO`; `None` for a protocol whose tuples are not known here.
fn encode_tuple(wanted: &Wanted) -> Option<Vec<u8>> {
    let t = &wanted.tuple;
    let ip = match (t.src, t.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            [attribute(1, &src.octets()), attribute(2, &dst.octets())].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            [attribute(3, &src.octets()), attribute(4, &dst.octets())].concat()
        }
        _ => return None,
    };
    let number = t.proto.number()?;
    let mut proto = attribute(1, &[number]);
    if let (Some(sport), Some(dport)) = (t.sport, t.dport) {
        proto.extend(attribute(2, &sport.to_be_bytes()));
        proto.extend(attribute(3, &dport.to_be_bytes()));
    } else if let Some(id) = wanted.icmp_id {
        // Identifier, type and code; an echo request is what opens a connection.
        let (base, request) = if t.src.is_ipv4() { (4, 8) } else { (7, 128) };
        proto.extend(attribute(base, &id.to_be_bytes()));
        proto.extend(attribute(base + 1, &[request]));
        proto.extend(attribute(base + 2, &[0]));
    } else {
        return None;
    }
    Some([attribute(1 | NESTED, &ip), attribute(2 | NESTED, &proto)].concat())
}

pub(super) fn decode_entry(answer: &[u8]) -> CtEntry {
    let mut entry = CtEntry::default();
    for (kind, value) in attributes(answer) {
        match kind {
            cta::TUPLE_ORIG => entry.orig = decode_tuple(value),
            cta::TUPLE_REPLY => entry.reply = decode_tuple(value),
            cta::STATUS => entry.status = be32(value).unwrap_or(0),
            cta::TIMEOUT => entry.timeout = be32(value),
            cta::MARK => entry.mark = be32(value),
            cta::ZONE => entry.zone = be16(value),
            _ => {}
        }
    }
    // The kernel leaves zone 0 out.
    entry.zone = entry.zone.or(Some(0));
    entry
}

fn decode_tuple(value: &[u8]) -> Option<Tuple> {
    let (mut src, mut dst, mut proto) = (None, None, None);
    let (mut sport, mut dport) = (None, None);
    for (kind, value) in nested(value) {
        for (inner, value) in nested(value) {
            match (kind, inner) {
                (1, 1) => src = v4(value),
                (1, 2) => dst = v4(value),
                (1, 3) => src = v6(value),
                (1, 4) => dst = v6(value),
                (2, 1) => proto = value.first().copied(),
                (2, 2) => sport = be16(value),
                (2, 3) => dport = be16(value),
                _ => {}
            }
        }
    }
    let proto = tracer_core::record::Proto::from_number(proto?);
    Some(Tuple { proto, src: src?, sport, dst: dst?, dport })
}

fn v4(value: &[u8]) -> Option<IpAddr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into())
}

fn v6(value: &[u8]) -> Option<IpAddr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::record::Proto;

    fn wanted(proto: &str, src: &str, dst: &str, ports: Option<(u16, u16)>) -> Wanted {
        let tuple = Tuple {
            proto: Proto::parse(proto).unwrap(),
            src: src.parse().unwrap(),
            sport: ports.map(|p| p.0),
            dst: dst.parse().unwrap(),
            dport: ports.map(|p| p.1),
        };
        Wanted { tuple, icmp_id: Some(7), zone: 0 }
    }

    #[test]
    fn a_tuple_is_read_as_it_is_written() {
        for w in [
            wanted("tcp", "10.0.0.1", "10.0.0.2", Some((1000, 443))),
            wanted("udp", "fd00::1", "fd00::2", Some((5, 6))),
            wanted("icmp", "10.0.0.1", "10.0.0.2", None),
        ] {
            assert_eq!(decode_tuple(&encode_tuple(&w).unwrap()), Some(w.tuple));
        }
    }
}
