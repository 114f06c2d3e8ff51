//! Open vSwitch's datapath: what a vport receives, the actions that are run, what goes up to
//! `ovs-vswitchd`, what goes out of a vport.
//!
//! On functions of the openvswitch module. What every packet passes has two tiers, fentry and, where
//! the module has no BTF, kprobe: the way into a program and out of it is several times as long by
//! kprobe. What few packets pass is kprobes alone. Nearly all packets are of no concern and cost a
//! look at the identity hint alone: a packet was seen at a device before it gets here. Two kinds
//! were not, and are judged by their headers: those that `ovs-vswitchd` hands in (a new skb), and,
//! where not every device has hooks, those that a vport receives.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fentry, kprobe, kretprobe, map};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::{FEntryContext, ProbeContext, RetProbeContext};
use tracer_common::abi::{Blindness, Hook};
use tracer_common::ovs::{FROM_USERSPACE, KNOWS_CMD, KNOWS_LIST, KNOWS_RESULT, OvsLayout};

use super::ovs_answer;
use crate::emit::{NO_DEVICE, Sighting};
use crate::judge::{Match, judge};
use crate::kernel::{Geometry, Memory, Probed, address, at, opaque};
use crate::maps::{self, Word};
use crate::ovs::{Place, emit_facts, emit_run, layout, load};

/// An upcall between entry and return of `ovs_dp_upcall`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Upcall {
    skb: u64,
    dp: u64,
    key: u64,
    life: u64,
    flags: u8,
    /// `OVS_PACKET_CMD_*`; 0 unknown.
    cmd: u8,
    pad: [u8; 2],
    /// Where its question is kept.
    slot: u32,
}

/// Upcalls under way, by task.
#[map]
static OVS_UPCALLS: LruHashMap<u64, Upcall> = LruHashMap::with_max_entries(1 << 10, 0);

/// Tasks that hand a packet to the datapath.
#[map]
static OVS_HANDING: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1 << 10, 0);

/// How many there are, at least: spares the look-up where there are none.
static HANDING: Word = Word::zero();

/// Judges a packet by identity and headers.
#[inline(always)]
fn judged(skb: u64) -> Option<Match> {
    let protocol = u16::from_be(Probed::load::<u16>(skb, at!(skb_protocol))?);
    judge(skb, &Geometry::probed(skb)?.network_bytes(), protocol, 0)
}

/// A packet that is followed, by its identity alone: it was judged at the device that it came by, and
/// will be at the one that it leaves by. That spares these programs the parser, with which the
/// verifier spends most of the time that the start takes.
#[inline(always)]
fn followed(skb: u64) -> Option<Match> {
    // What enters a datapath has no tunnel around it: the conntrack entry is about the packet.
    maps::identity(skb).map(|known| Match { life: known.life, flags: 0, alone: true }.opaque())
}

/// The arguments of the function that a program is attached to, each looked at when it is asked for.
trait Arguments {
    /// The `n`th, the address of something.
    fn pointer(&self, n: usize) -> u64;
}

impl Arguments for FEntryContext {
    #[inline(always)]
    fn pointer(&self, n: usize) -> u64 {
        address(self.arg(n))
    }
}

impl Arguments for ProbeContext {
    #[inline(always)]
    fn pointer(&self, n: usize) -> u64 {
        self.arg(n).unwrap_or(0)
    }
}

/// The tiers of hooks: programs that do the same, by a function that is given the arguments.
macro_rules! tiers {
    ($($function:literal: $fentry:ident, $kprobe:ident => $does:ident;)*) => {$(
        #[doc = concat!("Entry of `", $function, "`.")]
        #[fentry(function = $function)]
        pub fn $fentry(ctx: FEntryContext) -> i32 {
            $does(&ctx);
            0
        }

        #[doc = concat!("As [`", stringify!($fentry), "`].")]
        #[kprobe]
        pub fn $kprobe(ctx: ProbeContext) -> u32 {
            $does(&ctx);
            0
        }
    )*};
}

tiers! {
    "ovs_vport_receive": ovs_receive_fentry, ovs_receive_kprobe => received;
    "ovs_vport_receive": ovs_receive_judge_fentry, ovs_receive_judge_kprobe => received_and_judged;
    "ovs_vport_send": ovs_output_fentry, ovs_output_kprobe => sent;
    "ovs_execute_actions": ovs_actions_fentry, ovs_actions_kprobe => executed;
}

/// `void/int ovs_vport_receive(struct vport *vport, struct sk_buff *skb, const struct
/// ip_tunnel_info *tun_info)`, `net/openvswitch/vport.c`.
#[inline(always)]
fn received(ctx: &impl Arguments) {
    let skb = ctx.pointer(1);
    tell_received(ctx, skb, followed(skb));
}

/// As [`received`], where there are devices that are not seen: every packet is judged.
#[inline(always)]
fn received_and_judged(ctx: &impl Arguments) {
    let skb = ctx.pointer(1);
    tell_received(ctx, skb, judged(skb));
}

#[inline(always)]
fn tell_received(ctx: &impl Arguments, skb: u64, found: Option<Match>) {
    if let Some(found) = found {
        let place = Place { vport: ctx.pointer(0), ..Place::unknown() };
        emit_facts(&Sighting::new(Hook::OvsReceive, skb, found), &place);
    }
}

/// `void ovs_vport_send(struct vport *vport, struct sk_buff *skb, u8 mac_proto)`,
/// `net/openvswitch/vport.c`: before it looks whether the packet fits.
#[inline(always)]
fn sent(ctx: &impl Arguments) {
    let skb = ctx.pointer(1);
    if let Some(found) = followed(skb) {
        let vport = ctx.pointer(0);
        let mut sighting = Sighting::new(Hook::OvsOutput, skb, found);
        // The skb still has the device that it came by.
        let dev = layout().and_then(|l| load::<u64>(vport, l.vport_dev));
        sighting.dev = Some(dev.unwrap_or(NO_DEVICE));
        emit_facts(&sighting, &Place { vport, skb, ..Place::unknown() });
    }
}

/// `int ovs_execute_actions(struct datapath *dp, struct sk_buff *skb, const struct sw_flow_actions
/// *acts, struct sw_flow_key *key)`, `net/openvswitch/actions.c`.
#[inline(always)]
fn executed(ctx: &impl Arguments) {
    let skb = ctx.pointer(1);
    let mut known = 0;
    let mut found = followed(skb);
    if found.is_none() && is_handed_in() {
        known = FROM_USERSPACE;
        found = judged(skb);
    }
    if let Some(found) = found {
        run(ctx, skb, found, known);
    }
}

#[inline(always)]
fn is_handed_in() -> bool {
    // SAFETY: only the entry's presence matters.
    HANDING.load() != 0 && unsafe { OVS_HANDING.get(bpf_get_current_pid_tgid()) }.is_some()
}

#[inline(always)]
fn run(ctx: &impl Arguments, skb: u64, found: Match, known: u8) {
    let mut place =
        Place { dp: ctx.pointer(0), skb, key: ctx.pointer(3), known, ..Place::unknown() };
    let acts = ctx.pointer(2);
    if let Some(OvsLayout { acts_actions, acts_actions_len, .. }) = layout()
        && let Some(len) = load::<u32>(acts, *acts_actions_len)
        && *acts_actions != 0
    {
        place.list = acts.wrapping_add(u64::from(*acts_actions - 1));
        place.list_len = len;
        place.known |= KNOWS_LIST;
    }
    // By whatever way it came here: see `Source::opaque`.
    place.known = opaque(place.known.into()) as u8;
    place.list = opaque(place.list);
    place.list_len = opaque(place.list_len.into()) as u32;
    let sighting = Sighting::new(Hook::OvsActions, skb, found);
    emit_run(&sighting, &place);
}

/// `int ovs_dp_upcall(struct datapath *dp, struct sk_buff *skb, const struct sw_flow_key *key, const
/// struct dp_upcall_info *upcall_info, uint32_t cutlen)`, `net/openvswitch/datapath.c`.
#[kprobe]
pub fn ovs_upcall_kprobe(ctx: ProbeContext) -> u32 {
    let skb = ctx.pointer(1);
    if let Some(found) = followed(skb) {
        let cmd = layout().and_then(|l| load::<u8>(ctx.pointer(3), l.upcall_cmd)).unwrap_or(0);
        let upcall = Upcall {
            skb,
            dp: ctx.pointer(0),
            key: ctx.pointer(2),
            life: found.life,
            flags: found.flags,
            cmd,
            pad: [0; 2],
            slot: ovs_answer::ask(found.life, ctx.pointer(2)),
        };
        if OVS_UPCALLS.insert(bpf_get_current_pid_tgid(), upcall, 0).is_err() {
            maps::lose(Blindness::MapFull, Hook::OvsUpcall as u32);
        }
    }
    0
}

/// Return of `ovs_dp_upcall`: the packet is not freed yet.
#[kretprobe]
pub fn ovs_upcall_return_kprobe(ctx: RetProbeContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    // SAFETY: copied at once.
    let Some(upcall) = (unsafe { OVS_UPCALLS.get(task).copied() }) else {
        return 0;
    };
    let _ = OVS_UPCALLS.remove(task);
    let found = Match { life: upcall.life, flags: upcall.flags, alone: false };
    let result = ctx.ret::<i32>();
    if result != 0 {
        ovs_answer::take_back(upcall.slot, upcall.life);
    }
    let place = Place {
        dp: upcall.dp,
        skb: upcall.skb,
        key: upcall.key,
        cmd: upcall.cmd,
        result,
        known: KNOWS_RESULT | if upcall.cmd != 0 { KNOWS_CMD } else { 0 },
        ..Place::unknown()
    };
    emit_facts(&Sighting::new(Hook::OvsUpcall, upcall.skb, found), &place);
    0
}

/// `int ovs_packet_cmd_execute(struct sk_buff *skb, struct genl_info *info)`,
/// `net/openvswitch/datapath.c`: `ovs-vswitchd` hands in a packet, in its own task.
#[kprobe]
pub fn ovs_execute_kprobe(_ctx: ProbeContext) -> u32 {
    /// `BPF_NOEXIST`.
    const NEW: u64 = 1;
    if OVS_HANDING.insert(bpf_get_current_pid_tgid(), 1, NEW).is_ok() {
        HANDING.add(1);
    }
    0
}

/// Return of `ovs_packet_cmd_execute`.
#[kretprobe]
pub fn ovs_execute_return_kprobe(_ctx: RetProbeContext) -> u32 {
    if OVS_HANDING.remove(bpf_get_current_pid_tgid()).is_ok() {
        HANDING.add(-1);
    }
    0
}
