//! The conntrack entry that a matched skb carries: recorded, and its tuples learned.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::abi::Blindness;
use tracer_common::conntrack::{CT_LABELS, CT_MARK, CT_READ, CT_ZONE, Ct, CtLayout, INFO_MASK};
use tracer_common::flow::{Addr, Tuple, proto};

use crate::emit::Sighting;
use crate::judge::wanted;
use crate::kernel::{Direct, Memory, Probed, constant, is_kernel_address, opaque};
use crate::maps;

/// Where the fields of this kernel's conntrack structures are.
#[unsafe(no_mangle)]
pub static CT_LAYOUT: CtLayout = CtLayout::UNKNOWN;

macro_rules! at_ct {
    ($field:ident) => {
        constant(&CT_LAYOUT.$field)
    };
}

/// `AF_INET`.
const AF_INET: u16 = 2;

/// `skb->_nfct`: the entry's address and, in the low bits, how the packet relates to it. 0: none.
#[inline(always)]
pub fn of(skb: u64) -> u64 {
    if at_ct!(known) == 0 {
        return 0;
    }
    Probed::or_zero(skb, at_ct!(skb_nfct))
}

/// As [`of`], of a BTF-typed skb.
#[inline(always)]
pub fn of_typed(skb: *const u8) -> u64 {
    if at_ct!(known) == 0 {
        return 0;
    }
    // SAFETY: a tracepoint's argument.
    unsafe { Direct::field(skb, at_ct!(skb_nfct)) }
}

/// `IPS_NAT_MASK` of `include/uapi/linux/netfilter/nf_conntrack_common.h`: the entry translates.
const TRANSLATES: u32 = 0x30;
/// `IP_CT_IS_REPLY` there, of `enum ip_conntrack_info`: the packet is a reply from here on.
const IS_REPLY: u64 = 3;

/// Whether a packet with this `skb->_nfct` is asked for as it looked before this host translated it,
/// as a flag: [`wanted`].
///
/// Nearly all packets have no entry, or one that does not translate: that costs one read or two.
#[inline(always)]
pub fn asked_for(nfct: u64) -> u8 {
    let entry = nfct & !INFO_MASK;
    if !is_kernel_address(entry) || Probed::or_zero::<u32>(entry, at_ct!(status)) & TRANSLATES == 0
    {
        return 0;
    }
    asked_before(entry, nfct & INFO_MASK >= IS_REPLY)
}

/// As [`learn`], a function of its own in the kernel too.
#[inline(never)]
fn asked_before(entry: u64, is_reply: bool) -> u8 {
    let at = if is_reply { at_ct!(reply) } else { at_ct!(orig) };
    tuple(entry, at).map_or(0, |(before, _)| wanted(&before))
}

/// Fills in the part `ct` from the entry that `nfct` stands for.
#[inline(always)]
pub fn fill(ct: *mut Ct, nfct: u64) {
    let entry = nfct & !INFO_MASK;
    // SAFETY: `ct` is reserved memory of its type, written in full here before it is read.
    unsafe {
        ptr::write_volatile(ct, Ct::NONE);
        if nfct != 0 {
            (*ct).info = (nfct & INFO_MASK) as u8;
        }
        (*ct).entry = entry;
    }
    if is_kernel_address(entry) {
        fill_entry(ct, entry);
    }
}

#[inline(always)]
fn fill_entry(ct: *mut Ct, entry: u64) {
    let status = Probed::load::<u32>(entry, at_ct!(status));
    let (orig, reply) = (tuple(entry, at_ct!(orig)), tuple(entry, at_ct!(reply)));
    let (Some(status), Some((orig, orig_id)), Some((reply, reply_id))) = (status, orig, reply)
    else {
        maps::lose(Blindness::Unreadable, 0);
        return;
    };
    let mut flags = CT_READ;
    // SAFETY: as in `fill`.
    unsafe {
        (*ct).status = status;
        (*ct).orig = orig;
        (*ct).reply = reply;
        (*ct).orig_id = orig_id;
        (*ct).reply_id = reply_id;
        if at_ct!(has_mark) != 0 {
            (*ct).mark = Probed::or_zero(entry, at_ct!(mark));
            flags |= CT_MARK;
        }
        if at_ct!(has_zone) != 0 {
            (*ct).zone = Probed::or_zero(entry, at_ct!(zone));
            flags |= CT_ZONE;
        }
        if fill_labels(ct, entry) {
            flags |= CT_LABELS;
        }
        (*ct).flags = flags;
    }
}

/// `nf_ct_labels_find`: the extensions lie behind one another, each at an offset of its own, 0 for
/// one that the entry does not have (`include/net/netfilter/nf_conntrack_extend.h`).
#[inline(always)]
fn fill_labels(ct: *mut Ct, entry: u64) -> bool {
    if at_ct!(has_labels) == 0 {
        return false;
    }
    let ext = Probed::or_zero::<u64>(entry, at_ct!(ext));
    if !is_kernel_address(ext) {
        return false;
    }
    let offset = if at_ct!(ext_width) == 2 {
        u32::from(Probed::or_zero::<u16>(ext, at_ct!(ext_labels)))
    } else {
        u32::from(Probed::or_zero::<u8>(ext, at_ct!(ext_labels)))
    };
    if offset == 0 {
        return false;
    }
    let from = ext.wrapping_add(u64::from(offset));
    // SAFETY: the helper writes the two words, or fails.
    unsafe { bpf_probe_read_kernel((&raw mut (*ct).labels).cast(), 16, from as *const _) == 0 }
}

/// One tuple of an entry, and its ICMP identifier.
#[inline(always)]
fn tuple(entry: u64, at: u32) -> Option<(Tuple, u16)> {
    let base = entry.wrapping_add(u64::from(at));
    let is_v4 = Probed::load::<u16>(base, at_ct!(family))? == AF_INET;
    // What is left of it can be read as well.
    let src = addr(Probed::or_zero(base, at_ct!(src_addr)), is_v4);
    let dst = addr(Probed::or_zero(base, at_ct!(dst_addr)), is_v4);
    let sport = u16::from_be(Probed::or_zero(base, at_ct!(src_port)));
    let dport = u16::from_be(Probed::or_zero(base, at_ct!(dst_port)));
    let number = u16::from(Probed::or_zero::<u8>(base, at_ct!(proto)));
    let has_ports = matches!(number, proto::TCP | proto::UDP | proto::SCTP);
    let is_icmp = matches!(number, proto::ICMP | proto::ICMP6);
    let tuple = Tuple {
        src,
        dst,
        sport: if has_ports { sport } else { 0 },
        dport: if has_ports { dport } else { 0 },
        proto: number,
        has_ports: u16::from(has_ports),
    };
    Some((tuple, if is_icmp { sport } else { 0 }))
}

/// `union nf_inet_addr`: an IPv4 address is its first four bytes.
#[inline(always)]
fn addr(words: [u64; 2], is_v4: bool) -> Addr {
    let Addr([high, low]) = if is_v4 {
        let [a, b, c, d, ..] = words[0].to_ne_bytes();
        Addr::v4([a, b, c, d])
    } else {
        Addr(words)
    };
    // Here the ways meet: the compiler would go on apart, to words that were read on one of them only,
    // which the verifier of 5.10 takes for uninitialised.
    Addr([opaque(high), opaque(low)])
}

/// As [`learn`], where the entry is about what was looked for. `nfct`: the packet's `skb->_nfct`.
#[inline(always)]
pub fn learn_if(sighting: &Sighting, nfct: u64) {
    let entry = nfct & !INFO_MASK;
    if sighting.found.alone && is_kernel_address(entry) {
        maps::note_learned(learn(entry));
    }
}

/// Makes the four ways in which packets of a translated connection look match from now on, as far
/// as they do not yet: a filter that matches them all needs nothing learned. An entry that does
/// not translate teaches nothing either: what its packets look like, the filter has said.
///
/// A function of its own in the kernel too, and not called by `emit::write`: its locals beside
/// those of the hook need the 512 bytes of stack. It gives back how many it has learned, and so no
/// address of its stack, which the verifier would refuse.
#[inline(never)]
fn learn(entry: u64) -> u64 {
    let (orig, reply) = (tuple(entry, at_ct!(orig)), tuple(entry, at_ct!(reply)));
    let (Some((orig, _)), Some((reply, _))) = (orig, reply) else { return 0 };
    // A template (`nf_ct_tmpl_alloc`) has no tuples yet.
    if orig == reply.reversed() || orig.proto == 0 {
        return 0;
    }
    learn_one(orig) + learn_one(reply)
}

#[inline(always)]
fn learn_one(tuple: Tuple) -> u64 {
    let mut way = tuple;
    let mut learned = 0;
    for _ in 0..2 {
        if wanted(&way) == 0 {
            maps::learn_way(&way);
            learned += 1;
        }
        way = way.reversed();
    }
    learned
}
