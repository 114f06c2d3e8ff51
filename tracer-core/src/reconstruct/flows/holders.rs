//! By which keys flows are known. Networks that do not meet may use the same addresses and ports: then one
//! key is that of several flows, and where a packet is tells which is meant.

use std::collections::hash_map::Entry;

use super::Flows;
use crate::reconstruct::everyday::{self, Taker};
use crate::reconstruct::flow::Direction;
use crate::reconstruct::part::Part;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowKey;
use crate::record::HookName;

/// The flows that are known by one key, oldest first: more than one where networks that do not meet use
/// the same addresses.
#[derive(Debug)]
pub(super) struct Holders {
    first: u64,
    others: Vec<u64>,
}

impl Holders {
    pub(super) fn all(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

impl Flows {
    /// The flow known by this key that a packet belongs to: of several the one whose packets have been
    /// where it is.
    pub(super) fn holder(&self, key: &FlowKey, sight: &Sight) -> Option<u64> {
        let holders = self.by_key.get(key)?;
        if holders.others.is_empty() {
            return Some(holders.first);
        }
        let part = Part::of(sight);
        let has_been = |n: &u64| self.by_number.get(n).is_some_and(|f| f.parts.include(part));
        Some(holders.all().find(has_been).unwrap_or(holders.first))
    }

    /// A packet that looks like one of flow `number` begins in another network: where none of the flow's
    /// packets has been, and a host sends it there, or it goes their way although theirs end elsewhere.
    /// (A reply may enter the node by another device than the flow left it, and what left it may come back
    /// to it as something that nobody knows again.)
    pub(super) fn is_elsewhere(&self, number: u64, sight: &Sight) -> bool {
        let Some(flow) = self.by_number.get(&number) else { return false };
        let is_elsewhere = !flow.parts.include(Part::of(sight));
        let goes_their_way = || flow.direction(sight.tuple.as_ref()) == Direction::Forward;
        is_elsewhere && (Part::is_source(sight) || (flow.ends_here && goes_their_way()))
    }

    /// Flow `number` is known by this key from now on.
    pub(super) fn hold(&mut self, key: FlowKey, number: u64) {
        let Some(flow) = self.by_number.get_mut(&number) else { return };
        flow.keys.push(key);
        match self.by_key.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().others.push(number),
            Entry::Vacant(none) => {
                none.insert(Holders { first: number, others: Vec::new() });
            }
        }
    }

    /// As [`Flows::hold`], unless the key is that of another flow whose packets have been where this one's
    /// have: two connections may collide, and a tuple that is one's already stays that one's.
    pub(super) fn hold_too(&mut self, key: FlowKey, number: u64) {
        let Some(flow) = self.by_number.get(&number).filter(|flow| flow.has_room()) else { return };
        let is_taken = self.by_key.get(&key).is_some_and(|known| {
            known
                .all()
                .filter_map(|n| self.by_number.get(&n))
                .any(|other| other.number == number || other.parts.meet(&flow.parts))
        });
        if !is_taken {
            self.hold(key, number);
        }
    }

    /// Flow `number` is not known by this key any more.
    pub(super) fn release(&mut self, key: FlowKey, number: u64) {
        let Entry::Occupied(mut known) = self.by_key.entry(key) else { return };
        let left: Vec<_> = known.get().all().filter(|n| *n != number).collect();
        match left.split_first() {
            Some((first, others)) => {
                *known.get_mut() = Holders { first: *first, others: others.to_vec() };
            }
            None => {
                known.remove();
            }
        }
    }

    /// A packet of flow `number` was here: the flow that it is one of after all, where it looked like
    /// the first of another network's and has come to where that one's packets have been.
    pub(super) fn visit(&mut self, number: u64, sight: &Sight) -> Option<u64> {
        let part = Part::of(sight);
        let flow = self.by_number.get_mut(&number)?;
        flow.ends_here |= is_end(sight);
        if !flow.parts.add(part) {
            return None;
        }
        let (parts, keys, is_alone) = (flow.parts.clone(), flow.keys.clone(), flow.begun == 1);
        let holders = self.by_key.get(keys.first()?)?;
        let is_met = |n: &u64| self.by_number.get(n).is_some_and(|f| f.parts.include(part));
        let older = holders.all().filter(|n| *n < number).find(is_met)?;
        self.by_number.get_mut(&older)?.parts.take_over(&parts);
        if !is_alone {
            return None;
        }
        self.by_number.remove(&number);
        for key in keys {
            self.release(key, number);
        }
        Some(older)
    }
}

/// A packet ended here, and was not only sent off the node.
fn is_end(sight: &Sight) -> bool {
    match sight.hook {
        HookName::Deliver | HookName::Drop => true,
        HookName::Consume => {
            let taker = sight.cause.as_deref().and_then(everyday::taker);
            matches!(taker, Some(Taker::Host | Taker::Guest))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
