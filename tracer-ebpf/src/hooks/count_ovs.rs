//! Open vSwitch's silent drops, counted (`lasthop drops`): those for which the running kernel fires no
//! `kfree_skb`. Which of these programs are attached depends on what the kernel tells by itself.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{kprobe, kretprobe, map};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use tracer_common::drops::{TRAIT_OVS_EMPTY, TRAIT_OVS_METER, TRAIT_OVS_UPCALL};

use super::count::{count, fill_stack, fill_tuple, no_detail};
use crate::kernel::{Geometry, Memory as _, Probed, at};
use crate::ovs::{layout, load};

/// Calls between their entry and their return, by task: the skb that they are about.
#[map]
static OVS_CALLS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1 << 10, 0);

/// Counts the skb at an address.
#[inline(always)]
fn count_silent(ctx: &impl aya_ebpf::EbpfContext, skb: u64, traits: u16) -> Option<()> {
    let mut detail = no_detail();
    detail.key.traits = traits;
    let read = || Some((Probed::load(skb, at!(skb_protocol))?, Geometry::probed(skb)?));
    fill_tuple(read, &mut detail)?;
    let dev = Probed::load::<u64>(skb, at!(skb_dev)).filter(|dev| *dev != 0);
    if let Some(dev) = dev {
        detail.key.ifindex = Probed::load(dev, at!(dev_ifindex))?;
        let net = Probed::load::<u64>(dev, at!(dev_net))?;
        detail.key.netns = Probed::load(net, at!(net_inum))?;
    }
    fill_stack(ctx, &mut detail);
    count(&detail, u64::from(Probed::load::<u32>(skb, at!(skb_len))?));
    Some(())
}

/// `int ovs_execute_actions(struct datapath *dp, struct sk_buff *skb, const struct sw_flow_actions
/// *acts, struct sw_flow_key *key)`, `net/openvswitch/actions.c`.
#[kprobe]
pub fn count_ovs_empty_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(skb), Some(acts)) = (ctx.arg::<*const u8>(1), ctx.arg::<*const u8>(2))
        && let Some(layout) = layout()
        && load::<u32>(acts as u64, layout.acts_actions_len) == Some(0)
    {
        let _ = count_silent(&ctx, skb as u64, TRAIT_OVS_EMPTY);
    }
    0
}

/// Remembers which skb a call is about, its second argument.
#[inline(always)]
fn entered(ctx: &ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg::<*const u8>(1) {
        let _ = OVS_CALLS.insert(bpf_get_current_pid_tgid(), skb as u64, 0);
    }
    0
}

/// The skb that the call which returns is about.
#[inline(always)]
fn left() -> Option<u64> {
    let task = bpf_get_current_pid_tgid();
    // SAFETY: copied at once.
    let skb = unsafe { OVS_CALLS.get(task).copied() };
    let _ = OVS_CALLS.remove(task);
    skb
}

/// `bool ovs_meter_execute(struct datapath *dp, struct sk_buff *skb, struct sw_flow_key *key, u32
/// meter_id)`, `net/openvswitch/meter.c`.
#[kprobe]
pub fn count_ovs_meter_kprobe(ctx: ProbeContext) -> u32 {
    entered(&ctx)
}

/// Its return: whether the packet is to be dropped. The skb is not freed yet.
#[kretprobe]
pub fn count_ovs_meter_return_kprobe(ctx: RetProbeContext) -> u32 {
    // Of a `bool` only the low byte is returned.
    if let Some(skb) = left()
        && ctx.ret::<u64>() & 0xff != 0
    {
        let _ = count_silent(&ctx, skb, TRAIT_OVS_METER);
    }
    0
}

/// `int ovs_dp_upcall(struct datapath *dp, struct sk_buff *skb, const struct sw_flow_key *key, const
/// struct dp_upcall_info *upcall_info, uint32_t cutlen)`, `net/openvswitch/datapath.c`.
#[kprobe]
pub fn count_ovs_upcall_kprobe(ctx: ProbeContext) -> u32 {
    /// `OVS_PACKET_CMD_MISS`: the packet has nobody else. An action's upcall takes a copy.
    const MISS: u8 = 1;
    let info = ctx.arg::<*const u8>(3).map_or(0, |info| info as u64);
    if layout().and_then(|layout| load::<u8>(info, layout.upcall_cmd)).is_none_or(|cmd| cmd == MISS)
    {
        return entered(&ctx);
    }
    0
}

/// Its return. The skb is not freed yet; `ovs_dp_process_packet` consumes it after these errors, and
/// drops it after all others.
#[kretprobe]
pub fn count_ovs_upcall_return_kprobe(ctx: RetProbeContext) -> u32 {
    const EINTR: i32 = 4;
    const EAGAIN: i32 = 11;
    const ERESTARTSYS: i32 = 512;
    if let Some(skb) = left()
        && matches!(-ctx.ret::<i32>(), EINTR | EAGAIN | ERESTARTSYS)
    {
        let _ = count_silent(&ctx, skb, TRAIT_OVS_UPCALL);
    }
    0
}
