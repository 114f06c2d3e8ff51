//! Messages of rtnetlink about links, for the fuzz target.

use super::message::{RawLink, messages};

/// Index and name of each link that a datagram tells of.
pub fn links(datagram: &[u8]) -> Vec<(u32, String)> {
    let read = messages(datagram).filter_map(|message| RawLink::read(message.payload()));
    read.map(|link| (link.ifindex, link.name)).collect()
}
