//! What Open vSwitch's datapath was doing with a packet.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// What Open vSwitch's datapath was doing with the packet.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ovs {
    /// Name of the datapath: that of its local port, `ovs-system`.
    pub dp: Option<String>,
    /// Name of the vport through which the packet entered the datapath.
    pub in_port: Option<String>,
    /// Its number in the datapath (`ovs-dpctl show`; not the `OpenFlow` port).
    pub in_port_no: Option<u32>,
    /// Name of the vport at this hop: the one that received it, or that sends it out.
    pub port: Option<String>,
    /// Its number in the datapath.
    pub port_no: Option<u32>,
    /// The recirculation that the flow key is of; 0 on the first pass through the datapath.
    pub recirc_id: Option<u32>,
    /// `ovs-actions` hops: the actions, as `ovs-dpctl dump-flows` prints them (`drop` when there
    /// are none). With `cut`, only the first of them.
    pub actions: Option<String>,
    /// `ovs-actions` hops: the list is empty, which drops the packet.
    pub empty: Option<bool>,
    /// The list of actions is longer than what was recorded of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Connection tracking state in the flow key, as OVS prints it: `new|trk`; absent when the
    /// packet has not been through `ct` yet.
    pub ct_state: Option<String>,
    /// Connection tracking zone in the flow key, where there is a state.
    pub ct_zone: Option<u16>,
    /// Connection mark in the flow key; absent when 0.
    pub ct_mark: Option<u32>,
    /// Connection label in the flow key, as OVS prints it (`0x…`); absent when 0.
    pub ct_label: Option<String>,
    /// The packet was handed to the datapath by `ovs-vswitchd`, as a new skb.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_userspace: bool,
    /// The flow key, in the form that `ofproto/trace` takes: port, recirculation and connection
    /// tracking as above, and the packet's headers.
    pub key: Option<String>,
    /// `ovs-upcall` hops.
    pub upcall: Option<Upcall>,
}

/// The packet was sent up to `ovs-vswitchd`.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcall {
    /// Why: `miss` (no flow in the datapath matched), `action` (an action said so: `userspace`).
    pub cmd: Option<String>,
    /// The error with which it failed, as text (`EAGAIN`, `ENOTCONN`); absent when it was queued.
    pub result: Option<String>,
}
