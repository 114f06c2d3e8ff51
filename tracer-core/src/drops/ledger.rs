//! The rows as numbers. A flood makes very many of them, and only a few are shown: what they have in
//! common is kept once, and a row with names and words is made where it is printed.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use tracer_common::drops::{BY_ADDRESS, BY_PORT, BY_SOURCE_PORT, DropCount, DropKey};
use tracer_common::flow::Addr;

use crate::drops::row::{Names, kind};
use crate::drops::tally::{Entry, add};
use crate::record::Drops;

/// What tells a row from the others, as numbers of a [`Ledger`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// Number of the kind.
    kind: u32,
    /// Number of the stack.
    stack: u32,
    src: Addr,
    dst: Addr,
    sport: u16,
    dport: u16,
}

/// A row that is not made yet, and how many drops it is of.
pub type Counted = (Line, DropCount);

/// What the numbers of lines stand for: once known, always the same.
#[derive(Debug, Default)]
pub struct Ledger {
    kinds: Numbered<KindKey>,
    /// Of each kind a row without what tells its lines apart.
    rows: Vec<Drops>,
    stacks: Numbered<Vec<String>>,
    /// `BY_*`.
    by: u32,
    by_ovs_port: bool,
}

impl Ledger {
    /// `by`: what more was asked for, `BY_*`.
    pub fn new(by: u32, by_ovs_port: bool) -> Self {
        Self { by, by_ovs_port, ..Self::default() }
    }

    /// Takes in what was counted: the lines, most frequent first. Entries that differ in nothing that
    /// is shown are one line.
    pub fn lines(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        names: &dyn Names,
    ) -> Vec<Counted> {
        let (mut kinds, mut stacks) = (HashMap::new(), HashMap::new());
        let mut lines: HashMap<Line, DropCount> = HashMap::new();
        for Entry { detail, rest, count } in entries.filter(|entry| entry.count.packets != 0) {
            let kind = *kinds
                .entry((detail.key, rest))
                .or_insert_with(|| self.number(&detail.key, rest, names));
            let stack = *stacks.entry(detail.stack).or_insert_with(|| match detail.stack {
                0 => 0,
                stack => self.stacks.number(names.stack(stack - 1)) + 1,
            });
            let by = |bits: u32| !rest && self.by & bits != 0;
            let (src, dst) =
                if by(BY_ADDRESS) { (detail.src, detail.dst) } else { Default::default() };
            let sport = if by(BY_SOURCE_PORT) { detail.sport } else { 0 };
            let dport = if by(BY_PORT) { detail.dport } else { 0 };
            add(lines.entry(Line { kind, stack, src, dst, sport, dport }).or_default(), count);
        }
        let mut lines: Vec<Counted> = lines.into_iter().collect();
        let ranks = self.kinds.ranks();
        let rank = |line: &Line| ranks.get(line.kind as usize);
        lines.sort_unstable_by(|(a, a_count), (b, b_count)| {
            let by_count = b_count.packets.cmp(&a_count.packets);
            by_count.then_with(|| rank(a).cmp(&rank(b))).then_with(|| a.cmp(b))
        });
        lines
    }

    fn number(&mut self, key: &DropKey, rest: bool, names: &dyn Names) -> u32 {
        let row = kind(key, rest, names, self.by, self.by_ovs_port);
        let number = self.kinds.number(KindKey::of(&row));
        match self.rows.get_mut(number as usize) {
            None => self.rows.push(row),
            // The function dropped them in more than one place.
            Some(known) if known.offset != row.offset => known.offset = None,
            Some(_) => {}
        }
        number
    }

    /// Whether a line is everyday life.
    pub fn is_everyday(&self, line: &Line) -> bool {
        self.rows.get(line.kind as usize).is_some_and(|row| row.everyday.is_some())
    }

    /// What these lines come to, without what tells lines of one kind apart.
    pub fn rest(&self, lines: &[Counted]) -> Vec<Drops> {
        let mut kinds: BTreeMap<u32, DropCount> = BTreeMap::new();
        for (line, count) in lines {
            add(kinds.entry(line.kind).or_default(), *count);
        }
        let row = |(kind, count): (u32, DropCount)| Drops {
            count: count.packets,
            bytes: count.bytes,
            rest: true,
            ..self.rows.get(kind as usize).cloned().unwrap_or_default()
        };
        kinds.into_iter().map(row).collect()
    }

    /// The row of a line.
    pub fn row(&self, (line, count): &Counted) -> Drops {
        let row = self.rows.get(line.kind as usize).cloned().unwrap_or_default();
        // Of what is no IP packet there are no addresses.
        let addressed = (line.src, line.dst) != Default::default();
        let stack = line.stack.checked_sub(1).and_then(|number| self.stacks.get(number));
        Drops {
            count: count.packets,
            bytes: count.bytes,
            src: addressed.then(|| ip(line.src)),
            dst: addressed.then(|| ip(line.dst)),
            sport: (line.sport != 0).then_some(line.sport),
            dport: (line.dport != 0).then_some(line.dport),
            stack: stack.cloned().unwrap_or_default(),
            ..row
        }
    }
}

/// Values numbered from 0 in the order they came in.
#[derive(Debug)]
struct Numbered<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash + Ord> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            next
        })
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)
    }

    /// Which place each value has in their own order.
    fn ranks(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_unstable_by_key(|number| self.values.get(*number));
        let mut ranks = vec![0; order.len()];
        for (rank, number) in order.into_iter().enumerate() {
            if let Some(place) = ranks.get_mut(number) {
                *place = rank;
            }
        }
        ranks
    }
}

/// What tells kinds apart: all that is shown, but for where in its function a drop was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct KindKey([Option<String>; 7], [bool; 2], Option<String>);

impl KindKey {
    fn of(row: &Drops) -> Self {
        let names = [
            &row.reason,
            &row.subsystem,
            &row.symbol,
            &row.netns,
            &row.dev,
            &row.ovs_port,
            &row.proto,
        ];
        Self(names.map(Clone::clone), [row.rest, row.silent], row.everyday.clone())
    }
}

fn ip(addr: Addr) -> IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}
