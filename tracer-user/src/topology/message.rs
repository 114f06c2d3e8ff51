//! The netlink messages that are needed: links asked for and read, namespace ids looked up.
//!
//! Attributes are read one by one, and only those of interest: a link must not become invisible
//! because a newer kernel describes something else about it in a way not known here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NlaBuffer, NlasIterator, parse_i32, parse_string, parse_u32,
};
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// `struct ifinfomsg`, bytes.
const LINK_HEADER_BYTES: usize = 16;
/// Attributes of `include/uapi/linux/if_link.h`.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_WIRELESS: u16 = 11;
const IFLA_LINKINFO: u16 = 18;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
/// Inside `IFLA_LINKINFO`.
const IFLA_INFO_KIND: u16 = 1;

/// A link as one message describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawLink {
    pub ifindex: u32,
    pub name: String,
    pub kind: Option<String>,
    pub mac: Option<[u8; 6]>,
    pub mtu: Option<u32>,
    /// `IFLA_CARRIER`.
    pub carrier: Option<bool>,
    pub master: Option<u32>,
    /// `IFLA_LINK`: the peer, or the device beneath.
    pub link: Option<u32>,
    /// The namespace that `link` is in, as this namespace numbers it; `None`: this one.
    pub link_nsid: Option<i32>,
    pub up: bool,
}

impl RawLink {
    /// Reads the payload of `RTM_NEWLINK` or `RTM_DELLINK`. `None` when it is not about a link as
    /// such: a bridge tells of its ports in messages of its own family (a port that leaves it is
    /// "deleted" in one), and wireless events carry nothing but themselves.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let header = LinkHeader::parse(payload).ok()?;
        if header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let mut link = Self {
            ifindex: header.index,
            up: header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in NlasIterator::new(payload.get(LINK_HEADER_BYTES..)?).flatten() {
            let value = attribute.value();
            match attribute.kind() {
                IFLA_WIRELESS => return None,
                IFLA_IFNAME => link.name = device_name(value),
                IFLA_ADDRESS => link.mac = value.try_into().ok(),
                IFLA_MTU => link.mtu = parse_u32(value).ok(),
                IFLA_CARRIER => link.carrier = value.first().map(|n| *n != 0),
                IFLA_MASTER => link.master = parse_u32(value).ok().filter(|n| *n != 0),
                IFLA_LINK => link.link = parse_u32(value).ok().filter(|n| *n != 0),
                IFLA_LINK_NETNSID => link.link_nsid = parse_i32(value).ok(),
                IFLA_LINKINFO => link.kind = info_kind(value),
                _ => {}
            }
        }
        if link.kind.is_none() && header.flags.contains(LinkFlags::Loopback) {
            link.kind = Some("loopback".to_owned());
        }
        Some(link)
    }

    /// Whether `IFLA_LINK` is the other end of a pair, not a device beneath.
    pub fn is_paired(&self) -> bool {
        matches!(self.kind.as_deref(), Some("veth" | "netkit" | "vxcan"))
    }
}

/// A device's name may be no UTF-8 (`dev_valid_name`, net/core/dev.c); what of it is none is shown
/// by U+FFFD, as in the name that a packet's event carries.
fn device_name(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

fn info_kind(info: &[u8]) -> Option<String> {
    let kind = |nla: &NlaBuffer<&[u8]>| nla.kind() == IFLA_INFO_KIND;
    NlasIterator::new(info).flatten().find(kind).and_then(|nla| parse_string(nla.value()).ok())
}

/// A request for all links of the socket's namespace, without their counters.
pub(super) fn dump_links(seq: u32) -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    request(RouteNetlinkMessage::GetLink(message), seq, NLM_F_REQUEST | NLM_F_DUMP)
}

/// The messages of a datagram.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        // Messages begin at multiples of four (`NLMSG_ALIGN`).
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(message)
    })
}

pub(super) fn request(message: RouteNetlinkMessage, seq: u32, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.sequence_number = seq;
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Asks how the namespace that the calling thread is in numbers another.
pub(super) struct NsidQuery {
    socket: Socket,
    seq: u32,
}

impl NsidQuery {
    /// In the namespace of the calling thread.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // The kernel answers while the request is sent, so there is never anything to wait for.
        socket.set_non_blocking(true)?;
        Ok(Self { socket, seq: 0 })
    }

    /// Its number, or `None` where it has none: no device of this namespace leads there.
    pub fn ask(&mut self, other: BorrowedFd) -> io::Result<Option<i32>> {
        self.seq += 1;
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(other.as_raw_fd().cast_unsigned()));
        let bytes = request(RouteNetlinkMessage::GetNsId(message), self.seq, NLM_F_REQUEST);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                let id = message.attributes.iter().find_map(|attribute| match attribute {
                    NsidAttribute::Id(id) => Some(*id),
                    _ => None,
                });
                Ok(id.filter(|id| *id >= 0))
            }
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Ok(None),
        }
    }
}
