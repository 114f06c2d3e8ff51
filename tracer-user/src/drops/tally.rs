//! Counts over the whole time, in bounded memory.

use std::collections::HashMap;

use tracer_common::drops::{DropCount, DropDetail, DropKey};

/// One line of the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub detail: DropDetail,
    /// Details were asked for, and these drops have lost theirs for want of room.
    pub rest: bool,
    /// How many.
    pub count: DropCount,
}

/// Counts since the beginning.
#[derive(Debug, Default)]
pub struct Tally {
    /// As the kernel's map has them: from the beginning on.
    places: HashMap<DropKey, DropCount>,
    details: HashMap<DropDetail, DropCount>,
    /// What lost its details here.
    pruned: HashMap<DropKey, DropCount>,
    detailed: bool,
    /// How many details are kept apart. Past that the rarest lose theirs: they are counted on under
    /// what every drop is counted by.
    limit: usize,
}

impl Tally {
    /// `detailed`: more was asked for than what every drop is counted by. `limit`: how many details
    /// are kept apart.
    pub fn new(detailed: bool, limit: usize) -> Self {
        Self { detailed, limit, ..Self::default() }
    }

    /// Takes in how often each place has dropped since the beginning: the sum, where it is there
    /// more than once.
    pub fn places(&mut self, places: impl IntoIterator<Item = (DropKey, DropCount)>) {
        self.places.clear();
        for (key, count) in places {
            add(self.places.entry(key).or_default(), count);
        }
    }

    /// Takes in what was counted in detail since the last call.
    pub fn details(&mut self, details: impl IntoIterator<Item = (DropDetail, DropCount)>) {
        for (detail, count) in details {
            add(self.details.entry(detail).or_default(), count);
        }
        if self.details.len() > self.limit {
            self.prune();
        }
    }

    /// Keeps the more frequent half.
    fn prune(&mut self) {
        let mut all: Vec<_> = self.details.drain().collect();
        all.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(count.packets));
        for (detail, count) in all.split_off(self.limit / 2) {
            add(self.pruned.entry(detail.key).or_default(), count);
        }
        self.details.extend(all);
    }

    /// All lines, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut rest = self.pruned.clone();
        for (key, count) in &self.places {
            add(rest.entry(*key).or_default(), *count);
        }
        let rest = rest.into_iter().map(|(key, count)| Entry {
            detail: DropDetail { key, ..DropDetail::default() },
            rest: self.detailed,
            count,
        });
        let details = self.details.iter();
        rest.chain(details.map(|(detail, count)| Entry {
            detail: *detail,
            rest: false,
            count: *count,
        }))
    }
}

/// Counts these, too.
pub fn add(to: &mut DropCount, count: DropCount) {
    to.packets = to.packets.saturating_add(count.packets);
    to.bytes = to.bytes.saturating_add(count.bytes);
}

#[cfg(test)]
mod tests {
    use tracer_common::flow::Addr;

    use super::*;

    fn detail(n: u64) -> DropDetail {
        let key = DropKey { location: 1, reason: 2, ..DropKey::default() };
        DropDetail { key, src: Addr::v6(n, 0), ..DropDetail::default() }
    }

    fn count(packets: u64) -> DropCount {
        DropCount { packets, bytes: packets * 100 }
    }

    #[test]
    fn a_place_that_was_counted_in_two_ways_is_one_line() {
        let mut tally = Tally::new(false, 10);
        let key = detail(0).key;
        for _ in 0..2 {
            tally.places([(key, count(3)), (key, count(4))]);
        }
        let entries: Vec<_> = tally.entries().collect();
        assert_eq!(entries.iter().map(|entry| entry.count).collect::<Vec<_>>(), [count(7)]);
    }

    #[test]
    fn a_flood_of_addresses_keeps_the_frequent_ones_and_loses_no_drop() {
        let mut tally = Tally::new(true, 1000);
        let mut sent = 0;
        for round in 0..50 {
            let rare = (0..900).map(|n| (detail(1_000_000 + round * 900 + n), count(1)));
            let frequent = (0..10).map(|n| (detail(n), count(50 + n)));
            let all: Vec<_> = rare.chain(frequent).collect();
            sent += all.iter().map(|(_, c)| c.packets).sum::<u64>();
            tally.details(all);
            assert!(tally.details.len() <= 1000);
        }
        let mut entries: Vec<_> = tally.entries().collect();
        assert_eq!(entries.iter().map(|e| e.count.packets).sum::<u64>(), sent);
        entries.retain(|e| !e.rest);
        entries.sort_by_key(|e| std::cmp::Reverse(e.count.packets));
        let top: Vec<_> = entries.iter().take(10).map(|e| (e.detail, e.count)).collect();
        let want: Vec<_> = (0..10).rev().map(|n| (detail(n), count((50 + n) * 50))).collect();
        assert_eq!(top, want);
    }

    #[test]
    fn places_are_totals_and_details_are_news() {
        let mut tally = Tally::new(false, 10);
        let key = detail(0).key;
        tally.places([(key, count(3))]);
        tally.places([(key, count(5))]);
        let entries: Vec<_> = tally.entries().collect();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].count, entries[0].rest), (count(5), false));

        let mut tally = Tally::new(true, 10);
        tally.details([(detail(1), count(3))]);
        tally.details([(detail(1), count(5))]);
        tally.places([(key, count(7))]);
        let counts: HashMap<_, _> = tally.entries().map(|e| (e.rest, e.count)).collect();
        assert_eq!(counts, HashMap::from([(false, count(8)), (true, count(7))]));
    }
}
