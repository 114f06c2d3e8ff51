//! Where a packet that found no way was to go.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::Netns;

/// What a namespace said, right after, of the destination of a packet that it did not send on.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// Nanoseconds since the trace began: when it was asked.
    pub ts: u64,
    /// The namespace.
    pub netns: Netns,
    /// The device that the packet was on.
    pub dev: String,
    /// The packet's destination.
    pub dst: IpAddr,
    /// Whether what comes in by the device is forwarded: `net.ipv4.conf.DEV.forwarding`, of IPv6
    /// `net.ipv6.conf.all.forwarding`.
    pub forwarding: Option<bool>,
    /// The device that has the destination as an address of this host.
    pub holder: Option<String>,
    /// Why the host does not use that address yet, or ever: `tentative` `dadfailed` (RFC 4862).
    pub state: Option<String>,
    /// The device by which the way to the destination leads on.
    pub out: Option<String>,
    /// The other end of the tunnel that the device is, for this packet.
    pub far_end: Option<IpAddr>,
    /// Why it could not be found out.
    pub failed: Option<String>,
}
