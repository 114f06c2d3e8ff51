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
    /// How many details are kept apart. Past half as many more the rarest lose theirs: they are counted
    /// on under what every drop is counted by.
    keep: usize,
}

impl Tally {
    /// `detailed`: more was asked for than what every drop is counted by. `keep`: how many details
    /// are kept apart at least.
    pub fn new(detailed: bool, keep: usize) -> Self {
        Self { detailed, keep, ..Self::default() }
    }

    /// How many details there are at the most.
    pub const fn limit(keep: usize) -> usize {
        keep.saturating_add(keep / 2)
    }

    /// How much memory so many details take, bytes: a table of a power of two of places, of which seven in
    /// eight may be taken, each with a byte beside.
    pub fn bytes(keep: usize) -> u64 {
        let places = (Self::limit(keep) as u64).saturating_mul(8).div_ceil(7);
        let place = size_of::<(DropDetail, DropCount)>() as u64 + 1;
        places.checked_next_power_of_two().unwrap_or(u64::MAX).saturating_mul(place)
    }

    /// Takes in how often each place has dropped since the beginning: the sum, where it is there
    /// more than once.
    pub fn places(&mut self, places: impl IntoIterator<Item = (DropKey, DropCount)>) {
        self.places.clear();
        for (key, count) in places {
            add(self.places.entry(key).or_default(), count);
        }
    }

    /// Takes in what was counted in detail since the last call, one of it.
    pub fn detail(&mut self, detail: DropDetail, count: DropCount) {
        add(self.details.entry(detail).or_default(), count);
        if self.details.len() > Self::limit(self.keep) {
            self.prune();
        }
    }

    /// Keeps the most frequent, where they are.
    fn prune(&mut self) {
        let Self { details, pruned, keep, .. } = self;
        let mut most = Most::of(details.values(), *keep);
        details.retain(|detail, count| {
            let kept = most.takes(*count);
            if !kept {
                add(pruned.entry(detail.key).or_default(), *count);
            }
            kept
        });
    }

    /// What drops are counted by, each at least once.
    pub fn keys(&self) -> impl Iterator<Item = &DropKey> {
        let details = self.details.keys().map(|detail| &detail.key);
        self.places.keys().chain(self.pruned.keys()).chain(details)
    }

    /// All lines that are wanted, in no order. `most`: how many have details at the most, the most
    /// frequent.
    pub fn entries(&self, most: usize, wanted: impl Fn(&DropKey) -> bool) -> Vec<Entry> {
        let mut rest = self.pruned.clone();
        for (key, count) in &self.places {
            add(rest.entry(*key).or_default(), *count);
        }
        let details = || self.details.iter().filter(|(detail, _)| wanted(&detail.key));
        let mut kept = Most::of(details().map(|(_, count)| count), most);
        let mut lines = Vec::with_capacity(self.details.len().min(most));
        for (detail, count) in details() {
            if kept.takes(*count) {
                lines.push(Entry { detail: *detail, rest: false, count: *count });
            } else {
                add(rest.entry(detail.key).or_default(), *count);
            }
        }
        let rest = rest.into_iter().filter(|(key, _)| wanted(key));
        lines.extend(rest.map(|(key, count)| Entry {
            detail: DropDetail { key, ..DropDetail::default() },
            rest: self.detailed,
            count,
        }));
        lines
    }
}

/// Which are the most frequent.
struct Most {
    /// As many packets as the rarest of them has.
    least: u64,
    /// How many of just as many there is room for.
    room: usize,
}

impl Most {
    fn of<'a>(counts: impl Iterator<Item = &'a DropCount>, most: usize) -> Self {
        let mut counts: Vec<u64> = counts.map(|count| count.packets).collect();
        let Some(place) = most.checked_sub(1).filter(|place| *place < counts.len()) else {
            let least = if most == 0 { u64::MAX } else { 0 };
            return Self { least, room: if most == 0 { 0 } else { usize::MAX } };
        };
        let (more, least, _) = counts.select_nth_unstable_by_key(place, |n| std::cmp::Reverse(*n));
        let least = *least;
        let above = more.iter().filter(|n| **n > least).count();
        Self { least, room: most - above }
    }

    fn takes(&mut self, count: DropCount) -> bool {
        match count.packets.cmp(&self.least) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => {
                let has_room = self.room > 0;
                self.room = self.room.saturating_sub(1);
                has_room
            }
        }
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
        let entries: Vec<_> = tally.entries(usize::MAX, |_| true);
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
            for (detail, count) in all {
                tally.detail(detail, count);
            }
            assert!(tally.details.len() <= Tally::limit(1000));
        }
        let mut entries: Vec<_> = tally.entries(usize::MAX, |_| true);
        assert_eq!(entries.iter().map(|e| e.count.packets).sum::<u64>(), sent);
        entries.retain(|e| !e.rest);
        entries.sort_by_key(|e| std::cmp::Reverse(e.count.packets));
        let top: Vec<_> = entries.iter().take(10).map(|e| (e.detail, e.count)).collect();
        let want: Vec<_> = (0..10).rev().map(|n| (detail(n), count((50 + n) * 50))).collect();
        assert_eq!(top, want);
    }

    #[test]
    fn the_most_frequent_lines_are_told_and_the_others_are_counted_with_their_place() {
        let mut tally = Tally::new(true, 100);
        (0..100).for_each(|n| tally.detail(detail(n), count(1 + n % 10)));
        for most in [0, 1, 5, 10, 15, 99, 100, 1000] {
            let entries = tally.entries(most, |_| true);
            assert_eq!(entries.iter().map(|e| e.count.packets).sum::<u64>(), 550, "{most}");
            let told: Vec<_> =
                entries.iter().filter(|e| !e.rest).map(|e| e.count.packets).collect();
            assert_eq!(told.len(), most.min(100));
            let least = told.iter().min().copied().unwrap_or(10);
            let more = (0..100).filter(|n| 1 + n % 10 > least).count();
            assert!(more < most.max(1), "{most}: {told:?}");
        }
    }

    #[test]
    fn what_is_not_wanted_takes_no_room_from_what_is() {
        let mut tally = Tally::new(true, 100);
        let elsewhere = |n| DropDetail { key: DropKey { netns: 9, ..detail(n).key }, ..detail(n) };
        (0..40).for_each(|n| tally.detail(detail(n), count(1)));
        (0..40).for_each(|n| tally.detail(elsewhere(n), count(2)));
        let entries = tally.entries(40, |key| key.netns != 9);
        assert_eq!(entries.len(), 40);
        assert!(entries.iter().all(|entry| !entry.rest && entry.detail.key.netns != 9));
    }

    #[test]
    fn places_are_totals_and_details_are_news() {
        let mut tally = Tally::new(false, 10);
        let key = detail(0).key;
        tally.places([(key, count(3))]);
        tally.places([(key, count(5))]);
        let entries: Vec<_> = tally.entries(usize::MAX, |_| true);
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].count, entries[0].rest), (count(5), false));

        let mut tally = Tally::new(true, 10);
        tally.detail(detail(1), count(3));
        tally.detail(detail(1), count(5));
        tally.places([(key, count(7))]);
        let counts: HashMap<_, _> =
            tally.entries(usize::MAX, |_| true).iter().map(|e| (e.rest, e.count)).collect();
        assert_eq!(counts, HashMap::from([(false, count(8)), (true, count(7))]));
    }
}
