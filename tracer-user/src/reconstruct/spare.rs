//! Memory of packets that are over, for those to come.
//!
//! In a flood as many go as come, each long after it came. An allocator joins such pieces with their
//! neighbours and cuts them anew: that took as long as half of all that is made of a hop.

use std::sync::Arc;

use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;

/// How many pieces of each kind are kept.
const MAX_SPARE: usize = 1024;

/// What is kept.
#[derive(Debug, Default)]
pub struct Spare {
    /// Nobody else has them.
    sights: Vec<Arc<Sight>>,
    /// They are empty.
    #[expect(clippy::vec_box, reason = "it is their boxes that are kept")]
    packets: Vec<Box<Packet>>,
}

impl Spare {
    /// A sight, to be shared.
    pub fn sight(&mut self, sight: Sight) -> Arc<Sight> {
        let Some(mut spare) = self.sights.pop() else { return Arc::new(sight) };
        let Some(place) = Arc::get_mut(&mut spare) else { return Arc::new(sight) };
        *place = sight;
        spare
    }

    /// A packet at its first hop; see [`Packet::new`].
    pub fn packet(&mut self, number: u64, first: Arc<Sight>) -> Box<Packet> {
        let Some(mut packet) = self.packets.pop() else {
            return Box::new(Packet::new(number, first));
        };
        packet.renew(number, first);
        packet
    }

    /// Takes back what nobody else has.
    pub fn take_sight(&mut self, mut sight: Arc<Sight>) {
        if self.sights.len() < MAX_SPARE && Arc::get_mut(&mut sight).is_some() {
            self.sights.push(sight);
        }
    }

    /// Takes back a packet, unless it has grown.
    pub fn take_packet(&mut self, mut packet: Box<Packet>) {
        let is_small = packet.empty(|sight| self.take_sight(sight));
        if is_small && self.packets.len() < MAX_SPARE {
            self.packets.push(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HookName;
    use crate::reconstruct::packet::Position;
    use crate::reconstruct::sight::Catalog;
    use crate::reconstruct::testing::hop;

    #[test]
    fn what_comes_has_nothing_of_what_was_there() {
        let (mut spare, mut catalog) = (Spare::default(), Catalog::default());
        let first = hop(HookName::TcIngress, 1, 7);
        let sight = spare.sight(catalog.sight(&first));
        let mut packet = spare.packet(1, sight.clone());
        packet.see(7, Position::of(&first), sight);
        (packet.flow, packet.counted) = (Some(3), true);
        spare.take_packet(packet);
        let second = hop(HookName::Drop, 2, 8);
        let sight = Arc::new(catalog.sight(&second));
        let next = spare.packet(2, sight);
        assert_eq!((next.number, next.hops, next.flow, next.counted), (2, 0, None, false));
        assert!(next.lives.is_empty() && !next.was_at(Position::of(&first)));
        let sight = spare.sight(catalog.sight(&second));
        assert_eq!(sight.ts, second.ts);
        spare.take_sight(sight.clone());
        assert!(spare.sights.is_empty(), "somebody has it");
        spare.take_sight(sight);
        assert_eq!(spare.sights.len(), 1);
    }

    #[test]
    fn it_is_bounded() {
        let (mut spare, mut catalog) = (Spare::default(), Catalog::default());
        for number in 0..2 * MAX_SPARE as u64 {
            let sight = Arc::new(catalog.sight(&hop(HookName::Drop, 1, 1)));
            spare.take_sight(sight.clone());
            spare.take_packet(Box::new(Packet::new(number, sight)));
        }
        assert!(spare.sights.len() <= MAX_SPARE && spare.packets.len() == MAX_SPARE);
    }
}
