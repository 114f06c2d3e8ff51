//! What the kernel side has counted.

use std::collections::VecDeque;

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray};
use tracer_common::abi::{Counter, IDENTITIES, TUPLES};

use super::load::Loaded;
use tracer_core::record::Lost;

/// The per-CPU counters.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
}

impl Counters {
    /// Takes the counters out of the loaded object; they outlive the programs.
    pub fn take(loaded: &mut Loaded) -> anyhow::Result<Self> {
        let map = loaded.ebpf.take_map("COUNTS").context("no map COUNTS inside")?;
        Ok(Self { map: PerCpuArray::try_from(map)? })
    }

    /// Events written so far, over all processors.
    pub fn written(&self) -> u64 {
        self.of(Counter::Written)
    }

    /// Drops that no map had room for, over all processors.
    pub fn not_held(&self) -> u64 {
        self.of(Counter::NotHeld)
    }

    fn of(&self, counter: Counter) -> u64 {
        self.map.get(&(counter as u32), 0).map_or(0, |v| v.iter().sum())
    }
}

/// The maps that forget their oldest entries when they are full, which the kernel does not tell.
pub struct Rooms {
    lives: PerCpuArray<MapData, u64>,
    identities: Room,
    tuples: Room,
    /// Tuples that were refused by the last call, and when that was.
    unlearned: (u64, u64),
}

impl Rooms {
    /// Takes what tells of them out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> anyhow::Result<Self> {
        let lives = loaded.ebpf.take_map("LIVES").context("no map LIVES inside")?;
        Ok(Self {
            lives: PerCpuArray::try_from(lives)?,
            identities: Room::new("identity-evicted", IDENTITIES),
            tuples: Room::new("learned-evicted", TUPLES),
            unlearned: (0, 0),
        })
    }

    /// What may have been forgotten since the last call. `ts`: nanoseconds since the trace began.
    pub fn lost(&mut self, counters: &Counters, ts: u64) -> Vec<Lost> {
        let lives: u64 = self.lives.get(&0, 0).map_or(0, |v| v.iter().sum());
        let held = lives.saturating_sub(counters.of(Counter::Forgotten));
        let learned = counters.of(Counter::Learned);
        let unlearned = self.refused(counters.of(Counter::Unlearned), ts);
        let evicted = [self.identities.add(ts, held), self.tuples.add(ts, learned)];
        evicted.into_iter().chain([unlearned]).flatten().collect()
    }

    /// So many tuples were refused by now.
    fn refused(&mut self, all: u64, now: u64) -> Option<Lost> {
        let (before, since) = std::mem::replace(&mut self.unlearned, (all, now));
        (all > before).then(|| Lost {
            count: all - before,
            what: Some("identity-full".to_owned()),
            since: Some(since),
            until: Some(now),
            ..Lost::at(now)
        })
    }
}

/// How long a packet is waited for at most, and so for how long its entry matters, nanoseconds.
const MEMORY: u64 = 60_000_000_000;

/// A map with room for so many entries, the least recently used of which make room for new ones.
///
/// Not exactly those: the kernel looks for one that has not been used for a while
/// (`kernel/bpf/bpf_lru_list.c`), and processors hold some back for themselves. Half of the room is
/// certain.
struct Room {
    what: &'static str,
    certain: u64,
    /// How many entries were added in all by then, taking off those that were taken out.
    history: VecDeque<(u64, u64)>,
    /// Until when entries may be forgotten, and how many that may be.
    told: (u64, u64),
}

impl Room {
    fn new(what: &'static str, room: u32) -> Self {
        Self { what, certain: u64::from(room / 2), history: VecDeque::new(), told: (0, 0) }
    }

    /// So many were added by now: what was used last at the time that is told of may be forgotten.
    fn add(&mut self, now: u64, all: u64) -> Option<Lost> {
        self.history.push_back((now, all));
        while self.history.front().is_some_and(|(then, _)| then + MEMORY < now) {
            self.history.pop_front();
        }
        let is_old = |(_, before): &&(u64, u64)| all.saturating_sub(*before) >= self.certain;
        let (until, before) = self.history.iter().rev().find(is_old).copied()?;
        let (since, told) = self.told;
        if until <= since {
            return None;
        }
        self.told = (until, before);
        Some(Lost {
            count: before.saturating_sub(told).max(1),
            what: Some(self.what.to_owned()),
            since: Some(since),
            until: Some(until),
            ..Lost::at(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_was_used_before_half_the_room_was_filled_anew_may_be_forgotten() {
        let mut room = Room::new("full", 200);
        assert_eq!(room.add(S, 0), None);
        assert_eq!(room.add(2 * S, 99), None);
        let lost = room.add(3 * S, 150).unwrap();
        assert_eq!((lost.since, lost.until), (Some(0), Some(S)));
        assert_eq!(room.add(4 * S, 150), None);
        let lost = room.add(5 * S, 250).unwrap();
        assert_eq!((lost.since, lost.until), (Some(S), Some(4 * S)));
    }

    #[test]
    fn what_fills_it_within_an_hour_pushes_nothing_out_that_is_waited_for() {
        let mut room = Room::new("full", 200);
        assert!((0..3600).all(|n| room.add(n * S, n).is_none()));
        assert!(room.history.len() <= 62);
    }
}
