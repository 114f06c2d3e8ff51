//! Neighbours that are being looked for (ARP, RFC 826; neighbour discovery, RFC 4861).
//!
//! A packet to one waits in the neighbour's own queue, before the first hook that could see it, until
//! an answer comes or the kernel gives up and drops it (`neigh_invalidate`, `net/core/neighbour.c`).

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourHeader, NeighbourMessage, NeighbourState};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::message::{messages, request};

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
        for message in messages(&datagram) {
            match message.message_type() {
                libc::RTM_NEWNEIGH => {
                    let neighbour = NeighbourHeader::parse(message.payload())
                        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                    if neighbour.state == NeighbourState::Incomplete {
                        return Ok(true);
                    }
                }
                NLMSG_DONE => return Ok(false),
                NLMSG_ERROR => {
                    // `struct nlmsgerr`: the error, negative.
                    let error = message.payload().first_chunk().map(|b| i32::from_ne_bytes(*b));
                    return Err(io::Error::from_raw_os_error(-error.unwrap_or(-libc::EPROTO)));
                }
                _ => {}
            }
        }
    }
}
