//! Which flow a packet belongs to, as more of it is seen.

use std::rc::Rc;

use super::Flows;
use crate::reconstruct::flow::Direction;
use crate::reconstruct::nat::Nat;
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tracked::State;

/// How many packets of a flow may have been seen before it is known that they are replies.
const FIRST: u64 = 8;

impl Flows {
    /// A packet was seen once more: it is given its flow, or one that fits it better.
    pub fn place(&mut self, packet: &mut Packet, sight: &Rc<Sight>) {
        match packet.flow {
            None if sight.tuple.is_some() => {
                let flow = self.of(sight);
                self.take_in(packet, flow, sight);
            }
            Some(flow) if sight.tuple.is_some() && sight.tuple != packet.first.tuple => {
                self.join(flow, packet.first.tuple.as_ref(), sight);
            }
            _ => {}
        }
        if let Some(flow) = packet.flow.filter(|_| sight.ct.is_some()) {
            self.turn(flow, sight);
            match self.of_entry(flow, sight) {
                Some(own) => self.rehome(packet, flow, own),
                None => self.join_entry(flow, sight),
            }
        }
        if let Some(flow) = packet.flow
            && let Some(own) = self.beside_later(flow, sight)
        {
            self.rehome(packet, flow, own);
        }
        if let Some(own) = packet.flow.and_then(|flow| self.visit(flow, sight)) {
            let first = packet.first.clone();
            self.take_in(packet, own, &first);
        }
    }

    /// The entry of one of the flow's first packets tells that they are replies of a connection that is
    /// translated: the trace began in its midst, and what the far end sent was seen first.
    fn turn(&mut self, number: u64, sight: &Sight) {
        let tracked = sight.ct.as_ref().filter(|ct| ct.state == Some(State::Reply));
        let translation = tracked.and_then(|ct| ct.translation());
        let Some(((from, to), tuple)) = translation.zip(sight.tuple) else { return };
        let Some(flow) = self.by_number.get_mut(&number) else { return };
        let is_reply = tuple == from.reversed() || tuple == to.reversed();
        let is_new = flow.begun <= FIRST && flow.packets() == 0 && flow.related.is_empty();
        if is_reply && is_new && flow.direction(Some(&tuple)) == Direction::Forward {
            (flow.forward, flow.translated) = (Some(from), Some(to));
            flow.numbers.turn();
            *flow.nat = Nat::default();
        }
    }

    /// A packet that was seen first at `first` is one of flow `number`.
    fn take_in(&mut self, packet: &mut Packet, number: u64, first: &Rc<Sight>) {
        packet.flow = Some(number);
        if let Some(flow) = self.by_number.get_mut(&number) {
            flow.open += 1;
            flow.begun += 1;
            // What told of it before it was seen is not its first packet.
            if flow.opening.about().is_some() && first.tuple == flow.forward {
                flow.opening = first.clone();
            }
            packet.misfit = flow.numbers.see(flow.direction_of(packet), first);
        }
    }

    /// An open packet was taken for one of `from`, and is one of `to`.
    fn rehome(&mut self, packet: &mut Packet, from: u64, to: u64) {
        packet.flow = Some(to);
        if let Some(flow) = self.by_number.get_mut(&from) {
            flow.open = flow.open.saturating_sub(1);
        }
        if let Some(flow) = self.by_number.get_mut(&to) {
            flow.open += 1;
            flow.begun += 1;
        }
    }
}
