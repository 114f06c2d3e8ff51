//! Gaps in the record: events that lasthop itself lost, by hook and time, and hooks that it could not attach.
//!
//! What is on the record stays true whatever is missing. What follows from something *not* being on it
//! does not, where that may have been lost: such a conclusion names the hooks and the time on which it
//! depends ([`Doubt`]), and is held against the gaps.

use crate::record::{HookName, Lost};

/// Some of the hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u16);

impl Hooks {
    /// Every hook.
    pub const ALL: Self = Self((1 << HookName::ALL.len()) - 1);

    /// These.
    pub fn of(hooks: &[HookName]) -> Self {
        Self(hooks.iter().fold(0, |bits, hook| bits | 1 << *hook as u16))
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, hook: HookName) -> bool {
        self.0 & (1 << hook as u16) != 0
    }
}

/// What a conclusion depends on: that no event of these hooks was lost in that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Events of which hooks would say otherwise.
    pub hooks: Hooks,
    /// From when on, nanoseconds since the trace began.
    pub since: u64,
    /// Until when; `u64::MAX`: for as long as is waited.
    pub until: u64,
}

/// How long before a packet's first hop on the record one of its own may have been that was lost,
/// nanoseconds: it passes a node within microseconds, unless it is queued.
pub const LEAD: u64 = 10_000_000;

impl Doubt {
    /// No event whatever from `since` on.
    pub fn any_from(since: u64) -> Self {
        Self { hooks: Hooks::ALL, since, until: u64::MAX }
    }

    /// As [`Doubt::any_from`], of a packet that was seen first at `first`: what was seen of it may not be
    /// all that there was.
    pub fn any_of_packet(first: u64) -> Self {
        Self::any_from(first.saturating_sub(LEAD))
    }

    /// What depends on both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            hooks: self.hooks.and(other.hooks),
            since: self.since.min(other.since),
            until: self.until.max(other.until),
        }
    }
}

/// Events that were lost in some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    since: u64,
    until: u64,
    count: u64,
}

/// How many gaps of one hook are told apart; past that neighbours are one.
const MAX_GAPS: usize = 1024;
/// How many processors' losses are told apart, of a recording without times.
const MAX_CPUS: usize = 8192;
/// Losses that are not further apart are one gap, nanoseconds. (An event is given its time a moment
/// after it was given its room.)
const APART: u64 = 20_000;

/// The gaps of one hook; they do not meet, and are in order.
#[derive(Debug, Default)]
struct Row(Vec<Gap>);

impl Row {
    fn add(&mut self, mut new: Gap) {
        let first = self.0.partition_point(|gap| gap.until.saturating_add(APART) < new.since);
        let met = self.0[first..].iter();
        let met = met.take_while(|gap| gap.since <= new.until.saturating_add(APART)).count();
        for gap in self.0.drain(first..first + met) {
            new.since = new.since.min(gap.since);
            new.until = new.until.max(gap.until);
            new.count = new.count.saturating_add(gap.count);
        }
        self.0.insert(first, new);
        if self.0.len() > MAX_GAPS {
            let merged = self.0.chunks(2).map(|pair| Gap {
                since: pair[0].since,
                until: pair[pair.len() - 1].until,
                count: pair.iter().map(|gap| gap.count).sum(),
            });
            self.0 = merged.collect();
        }
    }

    /// Those that were in this time.
    fn within(&self, since: u64, until: u64) -> &[Gap] {
        let until = until.saturating_add(APART);
        let first = self.0.partition_point(|gap| gap.until.saturating_add(APART) < since);
        let last = self.0.partition_point(|gap| gap.since <= until);
        self.0.get(first..last).unwrap_or_default()
    }
}

/// All gaps in the record so far.
#[derive(Debug, Default)]
pub struct Gaps {
    /// By hook.
    rows: [Row; HookName::ALL.len()],
    /// Of events whose hook is not known: it may be any.
    any: Row,
    /// Why they were lost, in the words of the record.
    causes: Vec<String>,
    /// By processor: when it was last told of losses without their times.
    told: std::collections::HashMap<u32, u64>,
    is_any: bool,
    /// Hooks that found no way to attach.
    unseen: Hooks,
}

impl Gaps {
    /// These hooks are not attached: nothing of them is on the record at any time.
    pub fn never_see(&mut self, hooks: &[HookName]) {
        self.unseen = Hooks::of(hooks);
    }

    /// Whether what this depends on cannot be seen on this node at all.
    ///
    /// A copy that no hook shows is found by its bytes, and Open vSwitch is asked where it is not seen:
    /// nothing depends on those two alone.
    pub fn hide(&self, doubt: &Doubt) -> bool {
        self.hidden(doubt).next().is_some()
    }

    /// The hooks that would have told, and are not attached.
    fn hidden(&self, doubt: &Doubt) -> impl Iterator<Item = HookName> {
        use HookName::{Consume, Deliver, TcEgress, TcIngress};
        let (hooks, unseen) = (doubt.hooks, self.unseen);
        let telling = [TcIngress, TcEgress, Consume, Deliver].into_iter();
        telling.filter(move |hook| hooks.has(*hook) && unseen.has(*hook))
    }

    /// Takes in that events were lost.
    pub fn add(&mut self, lost: &Lost) {
        // What is counted is another matter.
        if lost.count == 0 || lost.what.as_deref() == Some("drops-not-held") {
            return;
        }
        self.is_any = true;
        let cause = lost.what.as_deref().unwrap_or("ring-full");
        if self.causes.len() < 8 && !self.causes.iter().any(|known| known == cause) {
            self.causes.push(cause.to_owned());
        }
        let (since, until) = if let (Some(since), Some(until)) = (lost.since, lost.until) {
            (since.min(until), until.max(since))
        } else {
            // A recording of an earlier lasthop: after the last that is told of, and who knows until when.
            if self.told.len() >= MAX_CPUS {
                self.told.clear();
            }
            (self.told.insert(lost.cpu, lost.ts).unwrap_or(0), u64::MAX)
        };
        let row = lost.hook.map_or(&mut self.any, |hook| &mut self.rows[hook as usize]);
        row.add(Gap { since, until, count: lost.count });
    }

    /// Whether any event was lost.
    pub fn are_any(&self) -> bool {
        self.is_any
    }

    /// Whether what this depends on may have been lost.
    pub fn meet(&self, doubt: &Doubt) -> bool {
        self.is_any
            && self
                .rows_of(doubt.hooks)
                .any(|(_, row)| !row.within(doubt.since, doubt.until).is_empty())
    }

    /// What was lost of what this depends on; `None` where nothing was.
    pub fn told(&self, doubt: &Doubt) -> Option<Missing> {
        let mut missing = Missing {
            counts: Vec::new(),
            since: u64::MAX,
            until: 0,
            causes: self.causes.clone(),
            unseen: Vec::new(),
        };
        for (hook, row) in self.rows_of(doubt.hooks) {
            let gaps = row.within(doubt.since, doubt.until);
            if let (Some(first), Some(last)) = (gaps.first(), gaps.last()) {
                missing.since = missing.since.min(first.since);
                missing.until = missing.until.max(last.until);
                missing.counts.push((hook, gaps.iter().map(|gap| gap.count).sum()));
            }
        }
        if missing.counts.is_empty() {
            missing.unseen = self.hidden(doubt).collect();
        }
        (!missing.counts.is_empty() || !missing.unseen.is_empty()).then_some(missing)
    }

    fn rows_of(&self, hooks: Hooks) -> impl Iterator<Item = (Option<HookName>, &Row)> {
        let own = HookName::ALL.iter().zip(&self.rows).filter(move |(hook, _)| hooks.has(**hook));
        own.map(|(hook, row)| (Some(*hook), row)).chain([(None, &self.any)])
    }
}

/// What was lost that might have told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How many events of which hook (`None`: not known).
    pub counts: Vec<(Option<HookName>, u64)>,
    /// When the first of them was lost, nanoseconds since the trace began.
    pub since: u64,
    /// When the last of them was; `u64::MAX`: that is not known.
    pub until: u64,
    /// Why events of the trace were lost, in the words of the record.
    pub causes: Vec<String>,
    /// Nothing was lost, but these hooks are not attached.
    pub unseen: Vec<HookName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(hook: HookName, since: u64, until: u64) -> Lost {
        let (since, until) = (Some(since), Some(until));
        Lost { hook: Some(hook), since, until, count: 3, ..Lost::at(u64::MAX) }
    }

    fn doubt(hooks: &[HookName], since: u64, until: u64) -> Doubt {
        Doubt { hooks: Hooks::of(hooks), since, until }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn only_what_a_conclusion_depends_on_makes_it_doubtful() {
        let mut gaps = Gaps::default();
        assert!(!gaps.meet(&Doubt::any_from(0)));
        gaps.add(&lost(HookName::TcIngress, 10 * MS, 20 * MS));
        assert!(gaps.meet(&Doubt::any_from(15 * MS)));
        assert!(!gaps.meet(&Doubt::any_from(21 * MS)));
        assert!(gaps.meet(&doubt(&[HookName::Drop, HookName::TcIngress], 0, 10 * MS)));
        assert!(!gaps.meet(&doubt(&[HookName::Drop, HookName::TcIngress], 0, 9 * MS)));
        assert!(!gaps.meet(&doubt(&[HookName::Drop], 0, u64::MAX)));
        let told = gaps.told(&Doubt::any_from(0)).unwrap();
        assert_eq!(told.counts, [(Some(HookName::TcIngress), 3)]);
        assert_eq!((told.since, told.until), (10 * MS, 20 * MS));
    }

    #[test]
    fn an_unknown_hook_may_be_any() {
        let mut gaps = Gaps::default();
        gaps.add(&Lost { hook: None, ..lost(HookName::Drop, 10 * MS, 20 * MS) });
        assert!(gaps.meet(&doubt(&[HookName::Deliver], 12 * MS, 13 * MS)));
        assert!(!gaps.meet(&doubt(&[HookName::Deliver], 22 * MS, 23 * MS)));
    }

    #[test]
    fn without_times_all_that_follows_is_doubtful() {
        let mut gaps = Gaps::default();
        gaps.add(&Lost { cpu: 1, ..Lost::at(100) });
        gaps.add(&Lost { cpu: 1, ..Lost::at(200) });
        assert!(gaps.meet(&Doubt::any_from(u64::MAX - 1)));
        assert_eq!(gaps.told(&Doubt::any_from(0)).unwrap().since, 0);
    }

    #[test]
    fn what_is_counted_only_is_no_gap() {
        let mut gaps = Gaps::default();
        gaps.add(&Lost { what: Some("drops-not-held".into()), ..Lost::at(7) });
        gaps.add(&Lost { count: 0, ..Lost::at(7) });
        assert!(!gaps.are_any());
    }

    #[test]
    fn gaps_that_meet_are_one_and_their_number_is_bounded() {
        let mut row = Row::default();
        let gap = |since, until| Gap { since, until, count: 1 };
        for (since, until) in [(50, 60), (10, 20), (30, 40), (15, 35)] {
            row.add(gap(since * MS, until * MS));
        }
        let merged = Gap { count: 3, ..gap(10 * MS, 40 * MS) };
        assert_eq!(row.0, [merged, gap(50 * MS, 60 * MS)]);
        for n in 0..5 * MAX_GAPS as u64 {
            row.add(gap(n * MS, n * MS));
            assert!(row.0.len() <= MAX_GAPS);
        }
        let all: u64 = row.0.iter().map(|gap| gap.count).sum();
        assert_eq!(all, 4 + 5 * MAX_GAPS as u64);
        assert!(row.0.is_sorted_by(|a, b| a.until < b.since));
    }
}
