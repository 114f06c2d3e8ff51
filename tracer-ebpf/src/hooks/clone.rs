//! An skb that is followed was cloned or copied: the new one is followed too.
//!
//! Tiers: fexit, kprobe with kretprobe. Where neither attaches the copies are joined to their
//! packet afterwards, by what NAT and routing leave alone of its bytes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use tracer_common::abi::{Blindness, FLAG_FIRST_SIGHT, Hook};

use crate::emit::{Sighting, cpu, emit};
use crate::judge::Match;
use crate::kernel::address;
use crate::maps;

#[inline(always)]
fn cloned(old: u64, new: u64) {
    if new == 0 || new == old {
        return;
    }
    let Some(known) = maps::identity(old) else {
        return;
    };
    let life = maps::follow(new, known.mark, cpu());
    let found = Match { life, flags: FLAG_FIRST_SIGHT, alone: false };
    let mut sighting = Sighting::new(Hook::Clone, new, found);
    sighting.parent = known.life;
    emit(&sighting);
}

/// Programs for the return of `struct sk_buff *FUNCTION(struct sk_buff *skb, …)`. Behind its
/// arguments an fexit context holds the value returned, so the number of arguments is its index.
macro_rules! on_return {
    ($($program:ident: $function:literal, $arguments:literal arguments;)*) => {$(
        #[doc = concat!("Return of `", $function, "`.")]
        #[fexit(function = $function)]
        pub fn $program(ctx: FExitContext) -> i32 {
            let (old, new) = (ctx.arg::<*const u8>(0), ctx.arg::<*const u8>($arguments));
            cloned(address(old), address(new));
            0
        }
    )*};
}

on_return! {
    skb_clone_fexit: "skb_clone", 2 arguments; // skb, gfp_mask
    skb_copy_fexit: "skb_copy", 2 arguments; // skb, gfp_mask
    pskb_copy_fexit: "__pskb_copy_fclone", 4 arguments; // skb, headroom, gfp_mask, fclone
    skb_copy_expand_fexit: "skb_copy_expand", 4 arguments; // skb, newheadroom, newtailroom, gfp_mask
}

/// Entry of any of the functions above: remembers the skb until they return.
#[kprobe]
pub fn copy_enter_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg::<*const u8>(0)
        && maps::identity(skb as u64).is_some()
        && maps::COPYING.insert(bpf_get_current_pid_tgid(), skb as u64, 0).is_err()
    {
        maps::lose(Blindness::MapFull, Hook::Clone as u32);
    }
    0
}

/// Return of any of the functions above.
#[kretprobe]
pub fn copy_return_kprobe(ctx: RetProbeContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    // SAFETY: copied at once.
    let Some(old) = (unsafe { maps::COPYING.get(task).copied() }) else {
        return 0;
    };
    let _ = maps::COPYING.remove(task);
    cloned(old, ctx.ret::<*const u8>() as u64);
    0
}
