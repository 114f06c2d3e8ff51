//! The layout of what crosses the ring buffer, and of the constants handed to the kernel programs.
//!
//! Integers only, explicit padding, sizes asserted at compile time. Both sides are always the same
//! byte order (the programs run on the machine that reads them), so fields are native-endian
//! unless their docs say otherwise.

/// Bytes of packet copied into an event, from the link-layer header on. Enough for
/// Ethernet + 2 VLAN tags + IPv6 + UDP + VXLAN + Ethernet + IPv6 + TCP with options.
pub const HEADER_BYTES: usize = 192;
/// Kernel return addresses recorded with a drop or a consume.
pub const STACK_DEPTH: usize = 12;
/// `IFNAMSIZ` of `include/uapi/linux/if.h`.
pub const DEV_NAME_BYTES: usize = 16;

/// Where in the kernel an event was taken; the numbers are `Event::hook`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// A device handed the packet to the stack, where its tc ingress is.
    TcIngress = 1,
    /// The stack handed the packet to a device, right after its tc egress and before its qdisc.
    TcEgress = 2,
    /// `kfree_skb`: the last reference was given up as a drop.
    Drop = 3,
    /// `consume_skb`: the last reference was given up after use.
    Consume = 4,
    /// A socket was found for the packet.
    Deliver = 5,
    /// `skb_clone` or `skb_copy` returned a new skb.
    Clone = 6,
    /// An Open vSwitch vport received the packet.
    OvsReceive = 7,
    /// Open vSwitch sent the packet up to `ovs-vswitchd`.
    OvsUpcall = 8,
    /// Open vSwitch runs an action list on the packet.
    OvsActions = 9,
    /// Open vSwitch sends the packet out of a vport.
    OvsOutput = 10,
    /// The packet passed through connection tracking.
    Ct = 11,
    /// `ovs-vswitchd` installed the flow that a packet which it was sent asked for. There is no skb.
    OvsAnswer = 12,
}

impl Hook {
    /// The hook numbered `n`, or `None` for a number this version does not know.
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::TcIngress,
            2 => Self::TcEgress,
            3 => Self::Drop,
            4 => Self::Consume,
            5 => Self::Deliver,
            6 => Self::Clone,
            7 => Self::OvsReceive,
            8 => Self::OvsUpcall,
            9 => Self::OvsActions,
            10 => Self::OvsOutput,
            11 => Self::Ct,
            12 => Self::OvsAnswer,
            _ => return None,
        })
    }
}

/// `Event::flags`: the headers matched the filter (otherwise the skb's identity did).
pub const FLAG_BY_FILTER: u8 = 1;
/// `Event::flags`: `headers` starts with the link-layer header; otherwise with the network header.
pub const FLAG_LINK_HEADER: u8 = 2;
/// `Event::flags`: this skb was seen for the first time.
pub const FLAG_FIRST_SIGHT: u8 = 4;
/// `Event::flags`: headers continue in page fragments that could not be read here.
pub const FLAG_TRUNCATED: u8 = 8;
/// `Event::flags`: a matched tuple was learned from an earlier translation of the same skb.
pub const FLAG_BY_LEARNED: u8 = 16;

/// `Event::ip_summed`: nobody has looked at the checksum (`CHECKSUM_NONE`); what leaves has it
/// filled in.
pub const CHECKSUM_NONE: u8 = 0;

/// One sighting of one packet at one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ts: u64,
    /// Identity of the skb for as long as it lives, unique in one trace; 0 is never used.
    pub life: u64,
    /// Kernel address of the `sk_buff`.
    pub skb: u64,
    /// [`Hook::Clone`]: the life that was cloned. Otherwise 0.
    pub parent: u64,
    /// [`Hook::Drop`], [`Hook::Consume`]: the code address that gave the skb up; 0 where the
    /// kernel's tracepoint does not say (`consume_skb` before 6.10).
    pub location: u64,
    /// inode of the network namespace; 0 unknown.
    pub netns: u32,
    /// Index of the device in that namespace; 0 unknown.
    pub ifindex: u32,
    /// Processor that ran the hook.
    pub cpu: u32,
    /// `skb->len`, bytes.
    pub len: u32,
    /// `enum skb_drop_reason` as this kernel numbers it; 0 where there is none.
    pub reason: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->protocol`, host byte order (`ETH_P_*`).
    pub protocol: u16,
    /// `skb->vlan_tci` of the tag kept beside the packet; see `vlan_proto`.
    pub vlan_tci: u16,
    /// `skb->vlan_proto`, host byte order; 0 when no tag is kept beside the packet.
    pub vlan_proto: u16,
    /// How many bytes of `headers` were filled.
    pub header_len: u16,
    /// Offset of the network header in `headers`.
    pub l3_offset: u16,
    /// [`Hook`] by number.
    pub hook: u8,
    /// `FLAG_*`.
    pub flags: u8,
    /// `skb->pkt_type` (`PACKET_*` of `include/uapi/linux/if_packet.h`); 255 unknown.
    pub pkt_type: u8,
    /// `PART_*`: what follows the event, in the order of the bits.
    pub parts: u8,
    /// `skb->ip_summed` (`CHECKSUM_*` of `include/linux/skbuff.h`); 255 unknown.
    pub ip_summed: u8,
    /// Zero.
    pub pad: u8,
    /// Device name, NUL-terminated.
    pub dev_name: [u8; DEV_NAME_BYTES],
    /// The packet's own bytes.
    pub headers: [u8; HEADER_BYTES],
}

/// `Event::parts`: a [`Stack`] follows.
pub const PART_STACK: u8 = 1;
/// `Event::parts`: [`OvsFacts`](crate::ovs::OvsFacts) follow.
pub const PART_OVS: u8 = 4;
/// `Event::parts`: [`LIST_BYTES`](crate::ovs::LIST_BYTES) of an action list follow the facts.
pub const PART_OVS_LIST: u8 = 8;
/// `Event::parts`: [`LONG_LIST_BYTES`](crate::ovs::LONG_LIST_BYTES) of an action list follow the
/// facts.
pub const PART_OVS_LONG_LIST: u8 = 16;
/// `Event::parts`: a [`Ct`](crate::conntrack::Ct) follows.
pub const PART_CT: u8 = 2;

/// The kernel stack that led to a drop or a consume: return addresses, innermost first; 0 ends the
/// list.
pub type Stack = [u64; STACK_DEPTH];

/// What the ring buffer holds: an event and the parts that it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Record<P> {
    /// The event.
    pub event: Event,
    /// What follows it.
    pub parts: P,
}

const _: () = assert!(size_of::<Event>() == 288);
const _: () = assert!(size_of::<Record<Stack>>() == 288 + 96);
const _: () = assert!(align_of::<Event>() == 8);

/// Indexes of the per-CPU counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Events written.
    Written = 0,
    /// An entry of the identity map turned out to belong to an skb long gone.
    Stale = 1,
    /// `lasthop drops`: drops that no map had room for.
    NotHeld = 2,
    /// Entries that were taken out of the identity map: those that were not are there yet, or had to
    /// make room.
    Forgotten = 3,
    /// Tuples that were learned.
    Learned = 4,
    /// Tuples that were to be learned, for which the map had no room.
    Unlearned = 5,
}
/// How many [`Counter`]s there are.
pub const COUNTERS: u32 = 6;

/// For how many followed skbs the identity map has room; past that the oldest are forgotten.
pub const IDENTITIES: u32 = 1 << 16;
/// For how many learned tuples there is room; past that the oldest are forgotten.
pub const TUPLES: u32 = 1 << 14;

/// Ways in which the programs do not see what they should, or cannot tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Blindness {
    /// The ring buffer had no room: an event was lost.
    RingFull = 0,
    /// A kernel read failed: an event lacks a field.
    Unreadable = 1,
    /// A map refused an entry: the packet can only be followed by its headers.
    MapFull = 2,
}

/// What was lost on one processor at one hook in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Losses {
    /// How many events, since the load.
    pub count: u64,
    /// The first of `round`, `CLOCK_MONOTONIC`, nanoseconds.
    pub since: u64,
    /// The latest.
    pub until: u64,
    /// In which round it was lost: the collector begins a new one each time that it has read this.
    pub round: u64,
}

const _: () = assert!(size_of::<Losses>() == 32);

/// How many [`Losses`] a processor has: one for each hook (0: unknown) of each [`Blindness`].
pub const LOSSES: usize = 64;
/// How many of them one [`Blindness`] has.
const HOOKS: usize = 16;

impl Blindness {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RingFull, Self::Unreadable, Self::MapFull];

    /// Where the losses are counted of the hook with this number; 0 where the hook is not known.
    #[inline(always)]
    pub const fn slot(self, hook: u32) -> usize {
        (self as usize * HOOKS + (hook as usize & (HOOKS - 1))) & (LOSSES - 1)
    }
}

/// Index in the map of what both sides write: how many losses there were, of any kind.
pub const LOST_ANY: u32 = 0;
/// Index in the map of what both sides write: the round; see [`Losses::round`].
pub const ROUND: u32 = 1;

/// How many bytes of an `sk_buff` are read at once: from `_nfct` to `head` it is some 110 on Linux 5.10 to
/// 7.2. A field that is not among them is read by itself.
pub const SKB_BLOCK_BYTES: usize = 128;

/// Where the kernel keeps what the programs read: byte offsets from the running kernel's BTF, and
/// what its hooks hand over. Written into the programs' `.rodata` before they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "STRUCT_FIELD is the offset of that field, in bytes")]
pub struct Layout {
    /// Where the [`SKB_BLOCK_BYTES`] begin that hold nearly all fields below, a multiple of 8.
    pub skb_block: u32,
    pub skb_head: u32,
    pub skb_data: u32,
    pub skb_tail: u32,
    pub skb_len: u32,
    pub skb_mac_header: u32,
    pub skb_network_header: u32,
    pub skb_transport_header: u32,
    pub skb_protocol: u32,
    pub skb_dev: u32,
    pub skb_sk: u32,
    pub skb_mark: u32,
    pub skb_vlan_tci: u32,
    pub skb_vlan_proto: u32,
    /// The byte that holds the bit that says a tag is kept beside the packet.
    pub skb_vlan_present: u32,
    /// That bit; 0 on kernels that have none (6.2 and later): a set `vlan_proto` says it.
    pub vlan_present_mask: u32,
    /// The byte that holds `pkt_type`.
    pub skb_pkt_type: u32,
    /// How far `pkt_type` is from that byte's low bit.
    pub pkt_type_shift: u32,
    /// The byte that holds `ip_summed`.
    pub skb_ip_summed: u32,
    /// How far `ip_summed` is from that byte's low bit.
    pub ip_summed_shift: u32,
    pub dev_ifindex: u32,
    pub dev_addr_len: u32,
    pub dev_promiscuity: u32,
    pub dev_name: u32,
    /// `net_device.nd_net.net`.
    pub dev_net: u32,
    /// `net.ns.inum`.
    pub net_inum: u32,
    /// `sock.__sk_common.skc_net.net`.
    pub sk_net: u32,
    /// 1: the `kfree_skb` tracepoint hands over a reason (5.17 and later).
    pub kfree_has_reason: u32,
    /// 1: it hands over the receiving socket, last (6.11 and later).
    pub kfree_has_socket: u32,
    /// 1: the `consume_skb` tracepoint hands over a location.
    pub consume_has_location: u32,
}

impl Layout {
    /// Before the running kernel was asked.
    pub const UNKNOWN: Self = Self {
        skb_block: 0,
        skb_head: 0,
        skb_data: 0,
        skb_tail: 0,
        skb_len: 0,
        skb_mac_header: 0,
        skb_network_header: 0,
        skb_transport_header: 0,
        skb_protocol: 0,
        skb_dev: 0,
        skb_sk: 0,
        skb_mark: 0,
        skb_vlan_tci: 0,
        skb_vlan_proto: 0,
        skb_vlan_present: 0,
        vlan_present_mask: 0,
        skb_pkt_type: 0,
        pkt_type_shift: 0,
        skb_ip_summed: 0,
        ip_summed_shift: 0,
        dev_ifindex: 0,
        dev_addr_len: 0,
        dev_promiscuity: 0,
        dev_name: 0,
        dev_net: 0,
        net_inum: 0,
        sk_net: 0,
        kfree_has_reason: 0,
        kfree_has_socket: 0,
        consume_has_location: 0,
    };
}
