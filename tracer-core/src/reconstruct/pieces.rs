//! The fragments of one datagram that wait for each other where it is to be put together: at its
//! destination, or before, where conntrack looks at whole datagrams only.
//!
//! Until the last has come the kernel holds them, and nothing is seen of it. It gives up after a time
//! (`net.ipv4.ipfrag_time`, 30 s; `net.ipv6.ip6frag_time` and `nf_conntrack_frag6_timeout`, 60 s), and
//! drops what it has.

use crate::reconstruct::packet::{Life, Packet};
use crate::reconstruct::sight::Sight;
use crate::record::HookName;

/// How long the kernel waits at most, where it is set as it comes, nanoseconds; the sweep is a little late.
pub const LONGEST_WAIT: u64 = 65_000_000_000;

/// One fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where its bytes belong in the datagram.
    pub offset: u32,
    /// How many they are.
    pub bytes: u32,
    /// It is not the last.
    pub more: bool,
}

/// What came of a datagram of which something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Bytes that came.
    pub came: u32,
    /// Bytes of the datagram; `None` where the fragment that would tell, the last, is missing.
    pub whole: Option<u32>,
    /// The first fragment is missing, without which there are no ports.
    pub lacks_first: bool,
}

impl Pieces {
    /// Of a packet whose fragment `one` waits for others, or was given up; `None` where nothing is missing.
    pub fn of(packet: &Packet, one: &Life) -> Option<Self> {
        let netns = |s: &Sight| s.site.netns.as_ref().map(|n| n.inode);
        // Where one is given up the kernel no longer knows by which device it came.
        let there = netns(one.port.as_deref()?);
        let ports = packet.lives.iter().filter_map(|life| life.port.as_deref());
        let mut pieces: Vec<_> =
            ports.filter(|port| netns(port) == there).filter_map(|port| port.piece).collect();
        pieces.sort_unstable_by_key(|piece| piece.offset);
        if pieces.is_empty() {
            return None;
        }
        let (mut came, mut end, mut has_gap) = (0, 0, false);
        for piece in &pieces {
            has_gap |= piece.offset > end;
            let upto = piece.offset.saturating_add(piece.bytes);
            came += upto.saturating_sub(piece.offset.max(end));
            end = end.max(upto);
        }
        let last = pieces.iter().find(|piece| !piece.more);
        let whole = last.map(|last| last.offset.saturating_add(last.bytes));
        let lacks_first = pieces.first().is_some_and(|piece| piece.offset > 0);
        (has_gap || whole.is_none()).then_some(Self { came, whole, lacks_first })
    }

    /// Of a packet whose `life` is a fragment that came in, and of which nothing was seen since.
    pub fn waiting(packet: &Packet, life: &Life) -> Option<Self> {
        let waits = life.is_fragment && life.freed.is_none() && life.delivered.is_none();
        let last = &life.last;
        let is_held = match last.hook {
            HookName::TcIngress | HookName::OvsReceive => true,
            HookName::OvsActions => {
                let actions = last.ovs.as_deref().and_then(|ovs| ovs.actions.as_deref());
                actions.is_some_and(|actions| actions.contains("ct("))
            }
            _ => false,
        };
        (waits && is_held).then(|| Self::of(packet, life)).flatten()
    }

    /// Whether the packet's fragments wait for others.
    pub fn are_waiting(packet: &Packet) -> bool {
        packet.lives.iter().any(|life| Self::waiting(packet, life).is_some())
    }
}

/// The kernel gave a datagram up that others of its fragments never came for.
pub fn is_given_up(drop: &Sight) -> bool {
    /// Where it does, without a reason before Linux 6.3.
    const EXPIRE: &[&str] =
        &["ip_expire", "ip6frag_expire_frag_queue", "ip6_frag_expire", "nf_ct_frag6_expire"];
    drop.hook == HookName::Drop
        && (drop.raw_reason() == Some("FRAG_REASM_TIMEOUT")
            || drop.cause.as_deref().is_some_and(|cause| {
                cause.symbols().take(3).any(|symbol| EXPIRE.contains(&symbol))
            }))
}

#[cfg(test)]
mod tests;
