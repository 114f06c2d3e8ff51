//! Neighbours that are being looked for (ARP, RFC 826; neighbour discovery, RFC 4861).
//!
//! A packet to one waits in the neighbour's own queue, before the first hook that could see it, until
//! an answer comes or the kernel gives up and drops it (`neigh_invalidate`, `net/core/neighbour.c`).

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourMessage, NeighbourState};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::message::request;

/// Whether the namespace of the calling thread looks for any.
///
/// # Errors
/// The kernel does not list the neighbours.
pub(super) fn are_looked_for() -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // The kernel fills in the next part of a dump while one is read: there is nothing to wait for.
    socket.set_non_blocking(true)?;
    let dump = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let dump = request(dump, 1, NLM_F_REQUEST | NLM_F_DUMP);
    socket.send_to(&dump, &SocketAddr::new(0, 0), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(neighbour))
                    if neighbour.header.state == NeighbourState::Incomplete =>
                {
                    return Ok(true);
                }
                NetlinkPayload::Done(_) => return Ok(false),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Messages begin at multiples of four (`NLMSG_ALIGN`).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
