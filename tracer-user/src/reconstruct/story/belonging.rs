//! Which packet a hop is of: one that is known, or a new one.

use super::Story;
use crate::model::{HookName, Hop};
use crate::reconstruct::identity::{self, SAME_WITHIN};
use crate::reconstruct::packet::Position;
use crate::reconstruct::sight::Sight;

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
        if hop.hook == HookName::Deliver
            && let Some(mark) = self.marks.taken(hop)
        {
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
        let mark = if identity::is_fragment(hop) {
            self.marks.datagram(hop)
        } else {
            self.marks.fingerprint(hop)
        };
        let Some(number) = self.marks.packet(mark?) else {
            return self.asked.whole_of(hop, &self.open);
        };
        let packet = self.open.get(&number)?;
        let fresh = hop.ts.saturating_sub(packet.last_ts) < SAME_WITHIN;
        let handed_back = identity::is_handed_in(hop) && packet.awaits_answer();
        let repeated = identity::repeats(hop) && packet.was_at(Position::of(hop)) && !handed_back;
        let answer =
            identity::answers(hop, packet.first.tuple) || identity::answers(hop, packet.last.tuple);
        (fresh && !repeated && !answer && packet.has_room()).then_some(number)
    }

    /// The packet whose skb a socket took before this end of it. Its bytes need not be what
    /// they were: `tcp_add_to_backlog` merges segments that wait for their socket.
    fn taken_by_socket(&self, hop: &Hop, sight: &Sight) -> Option<u64> {
        if !matches!(hop.hook, HookName::Drop | HookName::Consume) {
            return None;
        }
        let number = self.marks.packet(self.marks.taken(hop)?)?;
        let packet = self.open.get(&number)?;
        packet.lives.iter().find(|life| life.ends_with(sight))?;
        let same_flow = packet.last.tuple == hop.tuple;
        let fresh = hop.ts.saturating_sub(packet.last_ts) < SAME_WITHIN;
        (same_flow && fresh && packet.has_room()).then_some(number)
    }
}
