//! Which packet a hop is of: one that is known, or a new one.

use std::sync::Arc;

use super::Story;
use crate::reconstruct::identity::{self, SAME_WITHIN};
use crate::reconstruct::listeners;
use crate::reconstruct::packet::Position;
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Hop, Netns};

impl Story {
    /// The number of the hop's packet, which is remembered by all marks of the hop.
    pub(super) fn identify(&mut self, hop: &Hop, sight: &Sight) -> u64 {
        let known = self.known(hop, sight);
        let number = known.unwrap_or_else(|| {
            // A hostile recording may have used the last number; 0 means unknown.
            self.latest = self.latest.checked_add(1).unwrap_or(1);
            self.latest
        });
        if hop.life != 0 {
            self.lives.insert(hop.life, number);
        }
        self.asked.see(hop, number);
        let marks = [self.marks.fingerprint(hop), self.marks.datagram(hop)];
        for mark in marks.into_iter().flatten() {
            self.marks.put(mark, number);
        }
        let may_be_new =
            hop.hook == HookName::Deliver || (hop.hook == HookName::TcIngress && hop.tcp.is_some());
        if may_be_new && let Some(mark) = self.marks.held(hop) {
            self.marks.put(mark, number);
        }
        number
    }

    fn known(&self, hop: &Hop, sight: &Sight) -> Option<u64> {
        if let Some(number) = self.lives.get(&hop.life) {
            return Some(*number);
        }
        let cloned = hop.parent.and_then(|parent| self.lives.get(&parent));
        if let Some(number) = cloned
            && self.open.get(number).is_some_and(|packet| packet.has_room())
        {
            return Some(*number);
        }
        if let Some(number) = self.taken_by_socket(hop, sight) {
            return Some(number);
        }
        if let Some(number) = self.renumbered(hop) {
            return Some(number);
        }
        let Some(number) = self.marked(hop) else {
            return self.asked.whole_of(hop, &self.open);
        };
        // Nothing begins there: it is of a packet that came before.
        let is_late = listeners::is_let_go_of_by_socket(sight);
        let Some(packet) = self.open.get(&number) else {
            return (is_late && self.settled.has(number)).then_some(number);
        };
        let fresh = is_late || hop.ts.saturating_sub(packet.last_ts) < SAME_WITHIN;
        let handed_back = identity::is_handed_in(hop) && packet.awaits_answer();
        let repeated = identity::repeats(hop, sight, packet)
            && packet.was_at(Position::of(hop))
            && !handed_back;
        let answer =
            identity::answers(hop, packet.first.tuple) || identity::answers(hop, packet.last.tuple);
        let own = identity::is_untranslatable(hop, packet) || identity::is_sent_here(hop, packet);
        (fresh && !repeated && !answer && !own && packet.has_room()).then_some(number)
    }

    /// The packet that carried one of the hop's marks. The fragments of a datagram that was put together
    /// for its translation are of other addresses: its first one has the words of the one before.
    fn marked(&self, hop: &Hop) -> Option<u64> {
        let fingerprint = || self.marks.packet(self.marks.fingerprint(hop)?);
        if !identity::is_fragment(hop) {
            return fingerprint();
        }
        let is_first = hop.ip.is_some_and(|ip| ip.frag_offset.is_none_or(|at| at == 0));
        let known = self.marks.datagram(hop).and_then(|mark| self.marks.packet(mark));
        known.or_else(|| is_first.then(fingerprint).flatten())
    }

    /// The packet whose skb a socket took before this end of it. Its bytes need not be what
    /// they were: `tcp_add_to_backlog` merges segments that wait for their socket.
    fn taken_by_socket(&self, hop: &Hop, sight: &Sight) -> Option<u64> {
        if !matches!(hop.hook, HookName::Drop | HookName::Consume) {
            return None;
        }
        let number = self.marks.packet(self.marks.held(hop)?)?;
        let packet = self.open.get(&number)?;
        packet.lives.iter().find(|life| life.ends_with(sight))?;
        let same_flow = packet.last.tuple == hop.tuple;
        let fresh = hop.ts.saturating_sub(packet.last_ts) < SAME_WITHIN;
        (same_flow && fresh && packet.has_room()).then_some(number)
    }
}

impl Story {
    /// The packet whose skb a host holds that has changed the sequence numbers since it came in: a proxy
    /// for handshakes does (`nf_synproxy_core`), and whatever rewrites what a connection says
    /// (`nf_ct_seqadj`). The kernel side takes it for a new one at the same address.
    fn renumbered(&self, hop: &Hop) -> Option<u64> {
        if hop.hook == HookName::TcIngress || hop.hook == HookName::Deliver {
            return None;
        }
        let tcp = hop.tcp.as_ref()?;
        let number = self.marks.packet(self.marks.held(hop)?)?;
        let packet = self.open.get(&number)?;
        let life = packet.lives.iter().find(|life| life.is_held_at(hop.skb))?;
        let last = &life.last;
        let netns = |netns: Option<&Arc<Netns>>| netns.map(|n| n.inode);
        let is_same = last.hook == HookName::TcIngress
            && netns(last.site.netns.as_ref()) == netns(hop.netns.as_ref())
            && last.ip_id == hop.ip.and_then(|ip| ip.id)
            && last.tcp == Some(tcp.flags)
            && last.tuple.zip(hop.tuple).is_some_and(|(was, now)| was == now)
            && last.len == hop.len
            && hop.ts.saturating_sub(last.ts) < SAME_WITHIN;
        (is_same && packet.has_room()).then_some(number)
    }
}
