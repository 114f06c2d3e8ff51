//! The live picture of the node's links: which namespaces, which devices, who is whose peer.
//!
//! [`Watch`] follows the namespaces of a [`Scope`] with one netlink socket in each and tells of
//! changes as [`LinkEvent`]s; [`Topology`] is the look-up table made of those events, which still
//! knows a device for a while after it has gone, since packets report it later than netlink.
//! [`enter`] runs code inside a namespace.
//!
//! ```text
//! /run/netns, /proc ─ scan ─┐
//! netlink, one a netns ─ monitor ─ inventory ─ LinkEvents ─ Topology
//! ```

pub(crate) mod fuzzing;
mod inventory;
mod message;
mod monitor;
mod neighbours;
mod netns;
mod scan;
mod scope;
mod table;
mod watch;

use std::sync::Arc;

pub use netns::{Netns, enter};
pub use scope::Scope;
pub use table::Topology;
pub use watch::Watch;

/// A device, as netlink shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub netns: Arc<Netns>,
    /// Index in that namespace.
    pub ifindex: u32,
    /// Name at the time of the event.
    pub name: String,
    /// `IFLA_INFO_KIND`, or `loopback`; `None` for most hardware.
    pub kind: Option<String>,
    /// Link-layer address, where it is a MAC.
    pub mac: Option<[u8; 6]>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// Whether it has a carrier: something at its other end (a cable, a peer that is up, a process
    /// that has the tap open). `None` where it is down, or its driver does not say.
    pub carrier: Option<bool>,
    /// Index of the bridge, bond or switch it belongs to, in the same namespace.
    pub master: Option<u32>,
    /// The other end of a pair: inode of its namespace and index there. `None` too where that
    /// namespace is not among those that are followed.
    pub peer: Option<(u32, u32)>,
    /// `IFF_UP`: switched on, whatever its carrier.
    pub up: bool,
}

/// A change of the topology. A device that moves is `Gone` there and `Appeared` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A device that was not known.
    Appeared(Link),
    /// A known device, by namespace and index, of which something is different now: its name, say.
    Changed(Link),
    /// A device was deleted or has moved away.
    Gone {
        /// inode of the namespace.
        netns: u32,
        /// Index it had there.
        ifindex: u32,
    },
    /// A namespace is not followed any more, and with it all its devices, for which no `Gone`
    /// comes. Its descriptor is closed, so that the kernel can destroy it.
    NetnsGone {
        /// Its inode, which the kernel may give to the next one.
        inode: u32,
    },
    /// Which namespace is that of process 1, whatever its name.
    Host {
        /// Its inode.
        inode: u32,
    },
    /// The name of a namespace, followed or not; `None` when it has lost it.
    NetnsNamed {
        /// Its inode.
        inode: u32,
        /// Name under `/run/netns`, or `host`.
        name: Option<String>,
    },
}
