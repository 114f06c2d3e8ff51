//! Whether a packet belongs to the flow that is traced.

use tracer_common::abi::{Counter, FLAG_BY_FILTER, FLAG_BY_LEARNED, FLAG_FIRST_SIGHT};
use tracer_common::flow::{Addr, Filter, Tuple};
use tracer_common::glance;
use tracer_common::packet::{ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6};
use tracer_common::source::Source;
use tracer_common::transport::{fragment, mark};
use tracer_common::tunnel::{quotation, walk};

use crate::emit::cpu;
use crate::kernel::{Linear, Packet, SocketPacket, opaque, zero};
use crate::{conntrack, log, maps};

/// The flow asked for; the collector writes it before the load.
#[unsafe(no_mangle)]
static FILTER: Filter = Filter::ANY;

/// A packet that belongs to the flow.
#[derive(Clone, Copy)]
pub struct Match {
    /// The skb's identity.
    pub life: u64,
    /// `FLAG_BY_FILTER`, `FLAG_BY_LEARNED`, `FLAG_FIRST_SIGHT`.
    pub flags: u8,
    /// It is the packet's only flow: then its conntrack entry is about that, and not about a
    /// tunnel around it.
    pub alone: bool,
}

impl Match {
    /// Itself, with nothing known of it: see [`Source::opaque`].
    #[inline(always)]
    pub fn opaque(self) -> Self {
        Self {
            life: opaque(self.life),
            flags: opaque(self.flags.into()) as u8,
            alone: opaque(self.alone.into()) & 1 != 0,
        }
    }
}

/// Smaller numbers are no Ethernet types (`ETH_P_802_3_MIN`).
const MIN_ETHERTYPE: u16 = 0x0600;

/// Whether the parser knows what follows an Ethernet type.
#[inline(always)]
pub fn is_parsed(ethertype: u16) -> bool {
    matches!(ethertype, ETH_P_IP | ETH_P_IPV6 | ETH_P_ARP | ETH_P_8021Q | ETH_P_8021AD)
}

/// Judges the skb at address `skb`, whose bytes from the network header on are at `at` in `bytes`.
///
/// By its headers, or because it is followed since they last matched: then its present tuple is
/// learned, so that the replies to it match too.
#[inline(always)]
pub fn judge<S: Judged>(skb: u64, bytes: &S, ethertype: u16, at: u32) -> Option<Match> {
    decide(skb, bytes, ethertype, at, || 0, || true).map(Match::opaque)
}

/// As [`judge`], where a packet may be seen first after this host has translated it: what leaves is
/// translated before it comes to a device. `nfct` reads the packet's `skb->_nfct`, by which it is asked
/// for as it looked before, too; only packets that are not followed yet cost that.
#[inline(always)]
pub fn judge_translated<S: Judged>(
    skb: u64,
    bytes: &S,
    ethertype: u16,
    at: u32,
    nfct: impl FnOnce() -> u64,
) -> Option<Match> {
    decide(skb, bytes, ethertype, at, || conntrack::asked_for(nfct()), || true).map(Match::opaque)
}

/// Facts about the device that a packet is at, which only packets cost that may be of interest.
pub struct Place<N, C> {
    /// Reads the packet's `skb->_nfct`: see [`judge_translated`].
    pub nfct: N,
    /// Whether what is seen there is recorded.
    pub is_chosen: C,
}

/// As [`judge_translated`], at a device, where packets may be none of the trace's. The bytes begin with
/// the network header.
#[inline(always)]
pub fn judge_at<S: Judged, N: FnOnce() -> u64, C: FnOnce() -> bool>(
    skb: u64,
    bytes: &S,
    ethertype: u16,
    place: Place<N, C>,
) -> Option<Match> {
    let by_entry = || conntrack::asked_for((place.nfct)());
    decide(skb, bytes, ethertype, 0, by_entry, place.is_chosen).map(Match::opaque)
}

#[inline(always)]
fn decide<S: Judged>(
    skb: u64,
    bytes: &S,
    ethertype: u16,
    at: u32,
    by_entry: impl FnOnce() -> u8,
    is_chosen: impl FnOnce() -> bool,
) -> Option<Match> {
    let known = maps::identity(skb);
    let mut asked = 0;
    if known.is_none() {
        let is_other = bytes.is_plainly_other(ethertype, at);
        // Opaque: a packet goes on alike for either.
        asked = opaque(by_entry().into()) as u8;
        if is_other && asked == 0 {
            return None;
        }
    }
    if !is_chosen() {
        return None;
    }
    // Opaque, so that the verifier walks what follows once.
    let ethertype = opaque(ethertype.into()) as u16;
    // 0 where the skb is not followed.
    let known_life = opaque(known.map_or(0, |k| k.life));
    let known_mark = opaque(known.map_or(0, |k| k.mark.into())) as u32;
    let mut innermost = Sight::none();
    let layers = look(bytes, ethertype, at, known_life, &mut innermost);
    let flags = innermost.flags | asked;
    if layers == 0 {
        // A netlink message, say, has taken the place of a packet whose end was not seen.
        if ethertype < MIN_ETHERTYPE && known_life != 0 {
            maps::forget(skb);
            maps::count(Counter::Stale);
            return None;
        }
        // Nothing that can be read contradicts the skb's identity.
        return (known_life != 0).then_some(Match { life: known_life, flags: 0, alone: false });
    }
    // An entry by which the packet was found is about what was looked for.
    let alone = layers == 1 || asked != 0;
    if flags == 0 && known_life == 0 {
        return None;
    }
    if known_life != 0 {
        if known_mark == innermost.mark {
            if flags == 0 {
                let tuple = &innermost.tuple;
                maps::learn(tuple);
                log::learned(tuple.proto, tuple.sport, tuple.dport);
            }
            return Some(Match { life: known_life, flags, alone });
        }
        maps::forget(skb);
        maps::count(Counter::Stale);
        log::stale(skb, known_life);
        if flags == 0 {
            return None;
        }
    }
    let life = maps::follow(skb, innermost.mark, cpu());
    log::followed(skb, life);
    Some(Match { life, flags: flags | FLAG_FIRST_SIGHT, alone })
}

/// Looks at every layer and keeps what matters of the innermost. `known_life`: 0 where the skb is
/// not followed.
///
/// A function of its own in the kernel too: its locals need most of the 512 bytes of stack, which
/// those of the program that calls it, and of what that calls next, would not fit beside.
#[inline(never)]
fn look<S: Source>(
    bytes: &S,
    ethertype: u16,
    at: u32,
    known_life: u64,
    innermost: &mut Sight,
) -> u32 {
    let mut quoted = false;
    walk(bytes, ethertype, at, |layer| {
        let n = &layer.network;
        innermost.tuple = layer.transport.tuple;
        // What an ICMP error quotes is another packet, and NAT's to change.
        if !quoted {
            innermost.mark = mark(n, &layer.transport);
        }
        quoted = bytes.opaque_bool(quoted || quotation(n, &layer.transport).is_some());
        innermost.flags |= bytes.opaque(wanted(&innermost.tuple).into()) as u8;
        // Later fragments have no ports: they follow the first.
        if n.frag_offset != 0 {
            if maps::learned(&fragment(n)) {
                innermost.flags |= FLAG_BY_LEARNED;
            }
        } else if n.more_fragments && (known_life != 0 || innermost.flags != 0) {
            maps::learn_way(&fragment(n));
        }
    })
}

/// Settles nearly all packets: those whose headers are plain, and of another flow.
#[inline(always)]
fn is_plainly_other<S: Source>(bytes: &S, ethertype: u16, at: u32) -> bool {
    if is_parsed(ethertype) {
        plain(bytes, ethertype, at).is_some_and(|tuple| wanted(&tuple) == 0)
    } else {
        true
    }
}

/// The tuple of a packet whose headers are plain: no tunnel, no extension header, no fragment.
#[inline(always)]
fn plain<S: Source>(bytes: &S, ethertype: u16, at: u32) -> Option<Tuple> {
    match ethertype {
        ETH_P_IP => bytes.words(at).and_then(glance::ipv4),
        ETH_P_IPV6 => bytes.words(at).and_then(glance::ipv6),
        _ => None,
    }
}

/// As [`wanted`], with a stack of its own.
#[inline(never)]
fn is_wanted(tuple: &Tuple) -> bool {
    wanted(tuple) != 0
}

/// As [`plain`], with a copy of the bytes on a stack of its own, as [`look`].
#[inline(never)]
fn plain_linear(bytes: &Linear, ethertype: u16, tuple: &mut Tuple) -> bool {
    plain(bytes, ethertype, 0).map(|found| *tuple = found).is_some()
}

/// The innermost tuple of a packet, and whether the filter asks for it or for one around it.
#[inline(always)]
pub fn headers(bytes: &Linear, ethertype: u16, tuple: &mut Tuple) -> bool {
    if plain_linear(bytes, ethertype, tuple) {
        return is_wanted(tuple);
    }
    let mut innermost = Sight::none();
    look(bytes, ethertype, 0, 0, &mut innermost);
    *tuple = innermost.tuple;
    innermost.flags != 0
}

/// Where packets are judged: see [`is_plainly_other`].
pub trait Judged: Source {
    /// Whether its headers are plain, and of another flow.
    fn is_plainly_other(&self, ethertype: u16, at: u32) -> bool;
}

impl Judged for Packet {
    #[inline(always)]
    fn is_plainly_other(&self, ethertype: u16, at: u32) -> bool {
        is_plainly_other(self, ethertype, at)
    }
}

impl Judged for SocketPacket {
    /// Copies what it looks at to the stack: a function of its own, as [`look`].
    #[inline(never)]
    fn is_plainly_other(&self, ethertype: u16, at: u32) -> bool {
        is_plainly_other(self, ethertype, at)
    }
}

impl Judged for Linear {
    /// Copies what it looks at to the stack: a function of its own, as [`look`].
    #[inline(never)]
    fn is_plainly_other(&self, ethertype: u16, at: u32) -> bool {
        is_plainly_other(self, ethertype, at)
    }
}

/// What is kept of the layers seen so far.
struct Sight {
    tuple: Tuple,
    mark: u32,
    flags: u8,
}

impl Sight {
    /// Nothing was seen.
    #[inline(always)]
    fn none() -> Self {
        let zero = zero();
        Self { tuple: no_tuple(), mark: zero as u32, flags: zero as u8 }
    }
}

/// Of a packet that shows none.
#[inline(always)]
pub fn no_tuple() -> Tuple {
    let zero = zero();
    let (none, short) = (Addr([zero; 2]), zero as u16);
    Tuple { src: none, dst: none, sport: short, dport: short, proto: short, has_ports: short }
}

/// Whether the filter or a translation asks for this tuple, as a flag.
#[inline(always)]
pub fn wanted(tuple: &Tuple) -> u8 {
    // SAFETY: a static of this program, behind a black box so that its values stay loads from
    // `.rodata`, where the collector has written others than the compiler saw.
    let filter = unsafe { &*core::hint::black_box(&raw const FILTER) };
    if filter.matches(tuple) {
        FLAG_BY_FILTER
    } else if maps::learned(tuple) {
        FLAG_BY_LEARNED
    } else {
        0
    }
}
