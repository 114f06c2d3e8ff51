//! Which packet a hop belongs to.
//!
//! The kernel side follows an skb by its address, as one life. A copy starts a new life; where the
//! kernel offers no hook on cloning, and for whatever becomes a new skb, the packet is found again
//! by its fingerprint: what NAT, routing and encapsulation leave alone.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::reconstruct::Map;
use crate::reconstruct::listeners;
use crate::reconstruct::packet::{Packet, Position};
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{HookName, Hop, PktType};

/// How long after a packet's last sighting a new skb with its fingerprint is the same packet,
/// nanoseconds. TCP's first retransmission of a SYN comes after 1 s, but with a hop at a place
/// where the packet has been already.
pub const SAME_WITHIN: u64 = 2_000_000_000;
/// How many fingerprints and datagrams are remembered: less than half of what a table of 2^16 places
/// holds at most (7 of 8), so that it is cleaned up where it is, and never grows, as some go and others
/// come.
const MAX_RECENT: usize = 28_000;

/// One of the marks by which a packet's copies are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(u64);

/// Where to look for the packet of an skb that was never seen before.
#[derive(Debug, Default)]
pub struct Marks {
    hasher: foldhash::fast::RandomState,
    recent: Map<Mark, u64>,
    order: VecDeque<Mark>,
}

impl Marks {
    /// By what else a copy of this packet may be known: its fingerprint.
    pub fn fingerprint(&self, hop: &Hop) -> Option<Mark> {
        hop.fingerprint.map(|f| Mark(self.hasher.hash_one(f)))
    }

    /// The datagram that this packet is, or is a fragment of: source, destination, protocol and
    /// identification (RFC 791). `None` for what is never fragmented on its way.
    pub fn datagram(&self, hop: &Hop) -> Option<Mark> {
        let (ip, tuple) = (hop.ip?, hop.tuple?);
        let id = ip.id.filter(|id| *id != 0 && (!ip.df || is_fragment(hop)))?;
        Some(Mark(self.hasher.hash_one((tuple.proto, tuple.src, tuple.dst, id))))
    }

    /// The skb of a packet that a socket has taken, which the kernel side follows no further, or of a
    /// segment that came to a host which may give it other numbers: what becomes of it then comes as a
    /// new life.
    pub fn held(&self, hop: &Hop) -> Option<Mark> {
        hop.skb.map(|skb| Mark(self.hasher.hash_one(("held", skb))))
    }

    /// The packet that carried this mark last.
    pub fn packet(&self, mark: Mark) -> Option<u64> {
        self.recent.get(&mark).copied()
    }

    /// `packet` carries this mark now.
    pub fn put(&mut self, mark: Mark, packet: u64) {
        if self.recent.insert(mark, packet).is_some() {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }
}

/// Whether the hop shows the answer to what was seen: it is another packet, however alike (IPv6
/// has no identification, and an echo sends back what it got).
pub fn answers(hop: &Hop, seen: Option<FlowTuple>) -> bool {
    let Some(seen) = seen else { return false };
    let answer = seen.reversed();
    answer != seen && hop.tuple == Some(answer)
}

/// Whether the hop shows a fragment of a datagram.
pub fn is_fragment(hop: &Hop) -> bool {
    hop.ip.as_ref().is_some_and(|ip| ip.more_fragments || ip.frag_offset.is_some_and(|o| o > 0))
}

/// Whether `ovs-vswitchd` handed this skb to the datapath: what went up comes back as a new one.
pub fn is_handed_in(hop: &Hop) -> bool {
    hop.ovs.as_ref().is_some_and(|ovs| ovs.from_userspace)
}

/// Whether a second skb at a place where the packet has been is a repetition of it. Several listeners at
/// one place (raw and packet sockets; any that have joined a group) get a copy each, which they take,
/// consume or refuse: that repeats nothing. A repetition comes in by the device.
pub fn repeats(hop: &Hop, sight: &Sight, packet: &Packet) -> bool {
    let came_in = || packet.was_at(Position::of(hop).at(HookName::TcIngress));
    match hop.hook {
        HookName::Consume => false,
        HookName::Deliver => !came_in(),
        HookName::Drop if listeners::is_let_go_of_by_socket(sight) => false,
        HookName::Drop => !(came_in() && (listeners::is_raw_copy(sight) || sight.is_group())),
        _ => true,
    }
}

/// Whether the hop shows another tuple than the packet did, of which nothing is translated: what is
/// addressed to a link (RFC 4291, 2.5.6 and 2.7; RFC 3927; RFC 5771) is nobody's to translate. Two hosts
/// say the same words there, each in its own name.
pub fn is_untranslatable(hop: &Hop, packet: &Packet) -> bool {
    let Some(tuple) = hop.tuple else { return false };
    let known = || [packet.first.tuple, packet.last.tuple].into_iter().flatten();
    let is_local = |t: FlowTuple| is_of_link(t.src) || is_of_link(t.dst);
    known().all(|seen| seen != tuple) && (is_local(tuple) || known().any(is_local))
}

/// An address that means something on one link only.
fn is_of_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_unspecified()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.octets().starts_with(&[224, 0, 0])
        }
        IpAddr::V6(v6) => {
            let [scope, ..] = v6.segments();
            v6.is_unspecified() || scope & 0xffc0 == 0xfe80 || scope & 0xff0f == 0xff02
        }
    }
}

/// Whether the hop shows what this host itself sends, in the very words of the packet: who sends on what
/// others have sent lowers its TTL (RFC 1812, 5.3.1), or is a switch. Told only where the packet was
/// not seen to come to this host, or came by the same device. A host's own copy of what it sends to a group
/// (`dev_loopback_xmit`) is at the device before the packet leaves by it.
pub fn is_sent_here(hop: &Hop, packet: &Packet) -> bool {
    let (Some(dev), Some(netns)) = (&hop.dev, &hop.netns) else { return false };
    let is_host = hop.hook == HookName::TcEgress
        && dev.kind.as_deref() == Some("veth")
        && dev.master.is_none()
        && dev.bridge.is_none();
    let lowered = hop.ip.zip(packet.first.ttl).is_none_or(|(ip, ttl)| ip.ttl < ttl);
    let is_own_copy = packet.first.pkt_type == Some(PktType::Loopback);
    let arrived = || !is_own_copy && packet.was_at(Position::of(hop).at(HookName::TcIngress));
    is_host && !lowered && (packet.namespaces().all(|n| n != netns.inode) || arrived())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_does_not_grow_as_marks_come_and_go() {
        let mut marks = Marks::default();
        (0..20 * MAX_RECENT as u64).for_each(|n| marks.put(Mark(n), n));
        assert_eq!(marks.recent.len(), MAX_RECENT);
        assert!(marks.recent.capacity() <= (1 << 16) / 8 * 7, "{}", marks.recent.capacity());
    }
}
