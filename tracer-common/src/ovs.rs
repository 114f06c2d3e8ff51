//! What an event of an Open vSwitch hook says besides: the parts [`PART_OVS`], [`PART_OVS_LIST`]
//! and [`PART_OVS_LONG_LIST`] of an event, and where the module keeps it.
//!
//! [`PART_OVS`]: crate::abi::PART_OVS
//! [`PART_OVS_LIST`]: crate::abi::PART_OVS_LIST
//! [`PART_OVS_LONG_LIST`]: crate::abi::PART_OVS_LONG_LIST

use crate::abi::DEV_NAME_BYTES;

/// What is recorded of most action lists, bytes.
pub const LIST_BYTES: usize = 128;
/// What is recorded at most of an action list, bytes.
pub const LONG_LIST_BYTES: usize = 2048;
/// No port has this number (`DP_MAX_PORTS` is `USHRT_MAX`).
pub const NO_PORT: u32 = u32::MAX;

/// `OvsFacts::known`: the packet has a flow key, so what is taken from it is valid.
pub const KNOWS_KEY: u8 = 1;
/// `OvsFacts::known`: `list_len` is valid.
pub const KNOWS_LIST: u8 = 2;
/// `OvsFacts::known`: `cmd` is valid.
pub const KNOWS_CMD: u8 = 4;
/// `OvsFacts::known`: `result` is valid.
pub const KNOWS_RESULT: u8 = 8;
/// `OvsFacts::known`: the packet was handed to the datapath by `ovs-vswitchd`.
pub const FROM_USERSPACE: u8 = 16;

/// What the datapath was doing with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct OvsFacts {
    /// Number of the vport through which the packet entered the datapath; [`NO_PORT`] unknown.
    pub in_port_no: u32,
    /// Number of this vport, at a receive and an output; [`NO_PORT`] elsewhere.
    pub port_no: u32,
    /// Recirculation that the flow key is of.
    pub recirc_id: u32,
    /// Connection mark in the flow key.
    pub ct_mark: u32,
    /// Connection label in the flow key, in the order of memory.
    pub ct_label: [u8; 16],
    /// Bytes of the whole action list; the parts hold as many of them as there is room for.
    pub list_len: u32,
    /// What `ovs_dp_upcall` returned: 0, or a negated errno.
    pub result: i32,
    /// Connection tracking zone in the flow key.
    pub ct_zone: u16,
    /// `OVS_CS_F_*` in the flow key.
    pub ct_state: u8,
    /// `OVS_PACKET_CMD_*` of an upcall.
    pub cmd: u8,
    /// `KNOWS_*`.
    pub known: u8,
    /// Zero.
    pub pad: [u8; 3],
    /// Name of the datapath's local port, NUL-terminated.
    pub dp: [u8; DEV_NAME_BYTES],
    /// Name of the vport through which the packet entered, NUL-terminated.
    pub in_port: [u8; DEV_NAME_BYTES],
    /// Name of this vport, NUL-terminated.
    pub port: [u8; DEV_NAME_BYTES],
}

impl OvsFacts {
    /// Nothing is known.
    pub const NONE: Self = Self {
        in_port_no: NO_PORT,
        port_no: NO_PORT,
        recirc_id: 0,
        ct_mark: 0,
        ct_label: [0; 16],
        list_len: 0,
        result: 0,
        ct_zone: 0,
        ct_state: 0,
        cmd: 0,
        known: 0,
        pad: [0; 3],
        dp: [0; DEV_NAME_BYTES],
        in_port: [0; DEV_NAME_BYTES],
        port: [0; DEV_NAME_BYTES],
    };
}

/// The facts, and `N` bytes of the action list that is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OvsRun<const N: usize> {
    /// The facts.
    pub facts: OvsFacts,
    /// The list's first bytes: netlink attributes.
    pub list: [u8; N],
}

const _: () = assert!(size_of::<OvsFacts>() == 96);
const _: () = assert!(size_of::<OvsFacts>().is_multiple_of(8));
const _: () = assert!(size_of::<OvsRun<LIST_BYTES>>() == 96 + LIST_BYTES);

/// Where the openvswitch module keeps what the programs read: byte offsets from its BTF, each plus
/// one, so that 0 says that this kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "STRUCT_FIELD is the offset of that field, in bytes, plus one")]
pub struct OvsLayout {
    /// `sk_buff.cb`, and `ovs_skb_cb.input_vport` in it.
    pub skb_input_vport: u32,
    pub vport_dev: u32,
    pub vport_dp: u32,
    pub vport_port_no: u32,
    pub vport_dp_hash_node: u32,
    pub datapath_ports: u32,
    /// `sizeof(struct sw_flow_key)`. No offset.
    pub key_size: u32,
    pub key_in_port: u32,
    pub key_recirc_id: u32,
    pub key_ct_state: u32,
    pub key_ct_zone: u32,
    pub key_ct_mark: u32,
    pub key_ct_labels: u32,
    pub flow_key: u32,
    pub flow_acts: u32,
    pub mask_key: u32,
    pub acts_actions_len: u32,
    pub acts_actions: u32,
    pub upcall_cmd: u32,
}
