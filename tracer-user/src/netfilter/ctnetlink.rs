//! Questions to a namespace's conntrack, over netlink.
//!
//! Message layouts: `include/uapi/linux/netfilter/nfnetlink.h` and `nfnetlink_conntrack.h`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr};

use crate::model::{CtEntry, Tuple};

/// `NETLINK_NETFILTER`.
const NETLINK_NETFILTER: isize = 12;
/// `NFNL_SUBSYS_CTNETLINK << 8`.
const SUBSYSTEM: u16 = 1 << 8;
const CT_NEW: u16 = 0;
const CT_GET: u16 = 1;
const CT_GET_STATS: u16 = 5;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// `nfgenmsg.nfgen_family`.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NESTED: u16 = 0x8000;

/// Attributes of an entry, `enum ctattr_type`.
mod cta {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const TIMEOUT: u16 = 7;
    pub const MARK: u16 = 8;
    pub const ZONE: u16 = 18;
}

/// How long an answer is waited for, milliseconds.
const PATIENCE_MS: u16 = 500;
const HEADER: usize = 20;

/// A socket to the conntrack of the namespace that it was opened in.
pub struct Conntrack {
    socket: Socket,
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
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
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
        let (kind, answer) = self.ask(CT_GET, family, &body)?;
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
        let (_, answer) = self.ask(CT_GET_STATS, 0, &[])?;
        let find = |wanted| {
            let (_, value) = attributes(&answer).find(|(kind, _)| *kind == wanted)?;
            be32(value)
        };
        Ok((find(ENTRIES), find(MAX_ENTRIES)))
    }

    /// One message there and one back: its type, and what is behind its headers.
    fn ask(&self, kind: u16, family: u8, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        let len = u32::try_from(HEADER + body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        message.extend(len.to_ne_bytes());
        message.extend((SUBSYSTEM | kind).to_ne_bytes());
        message.extend(NLM_F_REQUEST.to_ne_bytes());
        message.extend([0; 8]); // sequence number and port id
        message.extend([family, 0, 0, 0]); // struct nfgenmsg
        message.extend(body);
        self.socket.send(&message, 0)?;
        let mut poll = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&self.socket),
            nix::poll::PollFlags::POLLIN,
        )];
        if nix::poll::poll(&mut poll, PATIENCE_MS)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (answer, _) = self.socket.recv_from_full()?;
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
        Ok((u16::from_ne_bytes(kind), answer.get(16..).ok_or_else(short)?.to_vec()))
    }
}

impl AsRawFd for Conntrack {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

/// `struct nlmsgerr`: the error, positive; `None` where it is none.
pub(super) fn error(answer: &[u8]) -> Option<i32> {
    let code = i32::from_ne_bytes(answer.get(..4)?.try_into().ok()?);
    (code != 0).then_some(-code)
}

/// `struct nlattr` and its value, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 7);
    out.extend((value.len() as u16 + 4).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The attributes behind `struct nfgenmsg`.
fn attributes(answer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    nested(answer.get(4..).unwrap_or(&[]))
}

/// Attributes one after the other; ends where one does not fit.
fn nested(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

fn be16(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?))
}

fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
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
    let proto = crate::model::Proto::from_number(proto?);
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
    use crate::model::Proto;

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

    #[test]
    fn attributes_that_do_not_fit_end_the_list() {
        let mut bytes = attribute(1, &[1, 2, 3]);
        bytes.extend([9, 0, 1, 0, 5]);
        assert_eq!(nested(&bytes).collect::<Vec<_>>(), [(1, &[1_u8, 2, 3][..])]);
        assert_eq!(nested(&[0; 8]).count(), 0);
    }
}
