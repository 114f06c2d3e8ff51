//! Packets whose fate is told, kept for a while in case the kernel has more to say: a socket that
//! is read late frees its skb late, and a fragment's missing sibling is given up after 30 s.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::reconstruct::everyday;
use crate::reconstruct::flow::Direction;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::{Map, Way};
use crate::record::{HookName, Outcome};

/// How many are kept: less than half of what a table of 2^14 places holds at most (7 of 8), so that it
/// is cleaned up where it is, and never grows, as some go and others come.
const MAX_SETTLED: usize = 7_000;

/// A packet whose fate is told.
#[derive(Debug)]
pub struct Settled {
    /// Its flow.
    pub flow: u64,
    /// Which way it went.
    pub direction: Direction,
    /// What became of it.
    pub outcome: Outcome,
    /// Hops so far.
    pub hops: u32,
    /// Where it was seen first.
    pub first: Rc<Sight>,
    /// The hop that told its fate.
    pub last: Rc<Sight>,
    /// Its copies.
    pub lives: Box<[u64]>,
    /// See [`Packet::aliases`](crate::reconstruct::packet::Packet::aliases).
    pub aliases: Vec<u64>,
    /// Its journey is still to be told: what Open vSwitch answers may change the outcome.
    pub untold: bool,
}

impl Settled {
    /// What is told of it, the packet with this number.
    pub fn way(&self, number: u64) -> Way {
        Way {
            packet: number,
            flow: self.flow,
            outcome: self.outcome,
            hops: self.hops,
            first: self.first.clone(),
            last: self.last.clone(),
        }
    }

    /// One more copy of it was seen, late: it is forgotten when the packet is.
    pub fn remember(&mut self, life: u64) {
        if life != 0 && !self.lives.contains(&life) && !self.aliases.contains(&life) {
            self.aliases.push(life);
        }
    }

    /// Whether a late hop says something else than what was told.
    pub fn is_contradicted_by(&self, late: &Sight) -> bool {
        match self.outcome {
            Outcome::Vanished | Outcome::InFlight | Outcome::UpcallLost | Outcome::Unknown => true,
            Outcome::Delivered | Outcome::Forwarded => {
                late.hook == HookName::Drop
                    && !everyday::is_socket_handling(&self.last, late)
                    && !everyday::is_time_wait(late)
                    && !everyday::is_unwanted_copy(late)
                    && !everyday::is_otherhost(late)
                    && !everyday::is_stray_reset(late)
            }
            _ => late.hook == HookName::Deliver,
        }
    }
}

/// The settled packets, by number.
#[derive(Debug, Default)]
pub struct Memory {
    packets: Map<u64, Settled>,
    order: VecDeque<u64>,
}

impl Memory {
    /// Remembers one more; gives back the one that is forgotten for it.
    pub fn put(&mut self, number: u64, settled: Settled) -> Option<(u64, Settled)> {
        if self.packets.insert(number, settled).is_none() {
            self.order.push_back(number);
        }
        // A packet that was reopened is still in `order`; one more turn finds the next.
        while self.order.len() > MAX_SETTLED {
            let oldest = self.order.pop_front()?;
            if let Some(forgotten) = self.packets.remove(&oldest) {
                return Some((oldest, forgotten));
            }
        }
        None
    }

    /// Whether the packet with this number is one of them.
    pub fn has(&self, number: u64) -> bool {
        self.packets.contains_key(&number)
    }

    /// The packet with this number.
    pub fn find(&mut self, number: u64) -> Option<&mut Settled> {
        self.packets.get_mut(&number)
    }

    /// Its outcome turns out to be another; its journey, if it is told, stands.
    pub fn correct(&mut self, number: u64, outcome: Outcome) {
        if let Some(settled) = self.packets.get_mut(&number) {
            settled.outcome = outcome;
        }
    }

    /// Its outcome turns out to be another; what is told of it then.
    pub fn retell(&mut self, number: u64, outcome: Outcome) -> Option<Way> {
        let settled = self.packets.get_mut(&number)?;
        settled.outcome = outcome;
        settled.untold = false;
        Some(settled.way(number))
    }

    /// The journeys that were not told yet, by the packets' numbers.
    pub fn tell_rest(&mut self) -> Vec<Way> {
        let untold = self.packets.iter_mut().filter(|(_, settled)| settled.untold);
        let mut ways: Vec<_> = untold
            .map(|(number, settled)| {
                settled.untold = false;
                settled.way(*number)
            })
            .collect();
        ways.sort_unstable_by_key(|way| way.packet);
        ways
    }

    /// Takes the packet out: it is not settled after all.
    pub fn take(&mut self, number: u64) -> Option<Settled> {
        self.packets.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconstruct::sight::Catalog;
    use crate::reconstruct::testing::hop;

    #[test]
    fn the_table_does_not_grow_as_packets_come_and_go() {
        let mut memory = Memory::default();
        let sight = Rc::new(Catalog::default().sight(&hop(HookName::Drop, 1, 1)));
        for number in 0..20 * MAX_SETTLED as u64 {
            let settled = Settled {
                flow: 1,
                direction: Direction::Forward,
                outcome: Outcome::Dropped,
                hops: 1,
                first: sight.clone(),
                last: sight.clone(),
                lives: Box::default(),
                aliases: Vec::new(),
                untold: false,
            };
            memory.put(number, settled);
        }
        assert_eq!(memory.packets.len(), MAX_SETTLED);
        assert!(memory.packets.capacity() <= (1 << 14) / 8 * 7, "{}", memory.packets.capacity());
    }
}
