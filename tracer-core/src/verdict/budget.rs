//! How many verdicts are told one by one while a trace goes on, and what the others come to.
//!
//! Flows that have to make room for others are judged as they go: in a flood of ever new ones, tens of
//! thousands a second. What is worth reading is told, the rest is counted.

use std::collections::{BTreeMap, HashSet};

use crate::record::{Outcome, Summary, Verdict, Where};

/// How many may be told at once, having been saved up.
const BURST: u64 = 16_384;
/// How many a second on the average.
const A_SECOND: u64 = 500;
/// What flows that came to no harm leave for others: they are told as long as there is more.
const FOR_LOSSES: u64 = BURST - 4096;
/// How many kinds of harm there may be of which the first is told in any case.
const MAX_KINDS: usize = 256;
const SECOND: u64 = 1_000_000_000;

/// What tells harm from other harm.
type Kind = (Outcome, Option<Where>, Option<String>);

/// Which verdicts are told.
#[derive(Debug)]
pub struct Budget {
    /// How many may be told at the moment, in parts of a nanosecond's worth.
    saved: u64,
    /// Until when that was reckoned, nanoseconds since the trace began.
    until: u64,
    kinds: HashSet<Kind>,
    untold: Summary,
    /// When those before were summed up.
    summed_up: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            saved: BURST * SECOND,
            until: 0,
            kinds: HashSet::new(),
            untold: Summary::default(),
            summed_up: 0,
        }
    }
}

impl Budget {
    /// Whether the verdict on a flow that made room for others is to be told; it is counted where not.
    /// `now`: nanoseconds since the trace began.
    pub fn tells(&mut self, verdict: &Verdict, now: u64) -> bool {
        let passed = now.saturating_sub(self.until);
        self.until = self.until.max(now);
        self.saved =
            (BURST * SECOND).min(self.saved.saturating_add(passed.saturating_mul(A_SECOND)));
        let is_harm = is_harm(verdict.outcome);
        let reserve = if is_harm { 0 } else { FOR_LOSSES };
        if self.saved >= (reserve + 1) * SECOND {
            self.saved -= SECOND;
            if is_harm {
                self.is_new(verdict);
            }
            return true;
        }
        if is_harm && self.is_new(verdict) {
            return true;
        }
        self.count(verdict);
        false
    }

    /// Counts one that is not told.
    pub fn count(&mut self, verdict: &Verdict) {
        self.untold.add(verdict);
    }

    /// Whether it is the first of its kind.
    fn is_new(&mut self, verdict: &Verdict) -> bool {
        self.kinds.len() < MAX_KINDS
            && self.kinds.insert((verdict.outcome, verdict.r#where.clone(), verdict.reason.clone()))
    }

    /// What was not told since the last call, once a second at the most; `None` where all was.
    pub fn sum_up(&mut self, now: u64) -> Option<Summary> {
        if now < self.summed_up.saturating_add(SECOND) {
            return None;
        }
        self.rest(now)
    }

    /// What was not told since the last call; `None` where all was.
    pub fn rest(&mut self, now: u64) -> Option<Summary> {
        if self.untold.flows == 0 {
            return None;
        }
        self.summed_up = now;
        let untold = std::mem::take(&mut self.untold);
        Some(Summary { ts: now, ..untold })
    }
}

/// What is proven to have gone wrong.
pub fn is_harm(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Vanished
            | Outcome::UpcallLost
            | Outcome::Misaddressed
            | Outcome::Dropped
            | Outcome::DroppedByOvs
            | Outcome::ReplyNotTranslated
    )
}

impl Summary {
    fn add(&mut self, verdict: &Verdict) {
        self.flows += 1;
        self.packets += verdict.packets;
        self.delivered += verdict.delivered;
        *self.outcomes.entry(verdict.outcome).or_default() += 1;
    }

    /// Counts those of another, too.
    pub fn join(&mut self, other: &Self) {
        self.ts = self.ts.max(other.ts);
        self.flows += other.flows;
        self.packets += other.packets;
        self.delivered += other.delivered;
        let add = |all: &mut BTreeMap<_, u64>, (outcome, flows): (&Outcome, &u64)| {
            *all.entry(*outcome).or_default() += flows;
        };
        other.outcomes.iter().for_each(|counted| add(&mut self.outcomes, counted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(flow: u64, outcome: Outcome, reason: &str) -> Verdict {
        let text = format!(
            r#"{{"flow":{flow},"outcome":"dropped","packets":2,"delivered":1,"reason":"{reason}","text":""}}"#
        );
        Verdict { outcome, ..serde_json::from_str(&text).unwrap() }
    }

    #[test]
    fn a_flood_has_a_bounded_number_told_and_all_counted() {
        let mut budget = Budget::default();
        let (mut told, mut sum, flows) = (0, Summary::default(), 600_000_u64);
        for flow in 0..flows {
            // 30,000 a second.
            let now = flow * SECOND / 30_000;
            told += u64::from(budget.tells(&verdict(flow, Outcome::Dropped, "NO_SOCKET"), now));
            budget.sum_up(now).iter().for_each(|more| sum.join(more));
        }
        budget.rest(20 * SECOND).iter().for_each(|more| sum.join(more));
        assert!((BURST..BURST + 21 * A_SECOND).contains(&told), "{told}");
        assert_eq!(told + sum.flows, flows);
        assert_eq!((sum.packets, sum.delivered), (2 * sum.flows, sum.flows));
        assert_eq!(sum.outcomes, BTreeMap::from([(Outcome::Dropped, sum.flows)]));
        assert_eq!(budget.rest(21 * SECOND), None);
    }

    #[test]
    fn harm_is_told_when_what_is_well_is_only_counted() {
        let mut budget = Budget::default();
        let well = (0..10_000).filter(|n| budget.tells(&verdict(*n, Outcome::Delivered, ""), 0));
        assert_eq!(well.count() as u64, BURST - FOR_LOSSES);
        assert!((0..10_000).all(|n| budget.tells(&verdict(n, Outcome::Dropped, "NO_SOCKET"), 0)));
    }

    #[test]
    fn harm_of_a_new_kind_is_told_in_a_flood_of_another() {
        let mut budget = Budget::default();
        let told =
            |budget: &mut Budget, reason| budget.tells(&verdict(1, Outcome::Dropped, reason), 0);
        while told(&mut budget, "NO_SOCKET") {}
        assert!(told(&mut budget, "NETFILTER_DROP"));
        assert!(!told(&mut budget, "NETFILTER_DROP") && !told(&mut budget, "NO_SOCKET"));
    }

    #[test]
    fn it_is_summed_up_once_a_second() {
        let mut budget = Budget { saved: 0, until: u64::MAX, ..Budget::default() };
        budget.kinds.insert((Outcome::Dropped, None, Some("X".to_owned())));
        assert!(!budget.tells(&verdict(1, Outcome::Dropped, "X"), 0));
        assert_eq!(budget.sum_up(SECOND).map(|sum| (sum.ts, sum.flows)), Some((SECOND, 1)));
        assert!(!budget.tells(&verdict(1, Outcome::Dropped, "X"), SECOND));
        assert_eq!(budget.sum_up(SECOND + 1), None);
        assert_eq!(budget.sum_up(2 * SECOND).map(|sum| sum.flows), Some(1));
    }
}
