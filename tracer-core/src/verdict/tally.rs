//! From verdicts to the exit status.

use crate::record::{Outcome, Verdict};

/// What all verdicts of a trace come to, kept without keeping them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Flows judged.
    pub flows: u64,
    /// Packets seen in them.
    pub packets: u64,
    /// Packets delivered or forwarded.
    pub delivered: u64,
    /// Flows of which a packet died (or was lost from sight).
    pub lost: u64,
    /// Flows of which a reply came back untranslated.
    pub untranslated: u64,
    /// Flows whose packets were still on their way when the trace ended.
    pub in_flight: u64,
    /// Flows of which it is not known what became of a packet.
    pub unknown: u64,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, verdict: &Verdict) {
        self.flows += 1;
        self.packets += verdict.packets;
        self.delivered += verdict.delivered;
        match verdict.outcome {
            Outcome::Delivered | Outcome::Forwarded => {}
            Outcome::InFlight => self.in_flight += 1,
            Outcome::Unknown => self.unknown += 1,
            Outcome::ReplyNotTranslated => self.untranslated += 1,
            Outcome::Vanished
            | Outcome::UpcallLost
            | Outcome::Misaddressed
            | Outcome::Dropped
            | Outcome::DroppedByOvs => self.lost += 1,
        }
    }

    /// The exit status that tells the outcome. `matched`: any packet matched the filter.
    /// `incomplete`: events were lost. A packet still on its way is no loss, and one whose end is not
    /// known is none that was proven.
    pub fn exit_code(&self, matched: bool, incomplete: bool) -> u8 {
        if self.untranslated > 0 {
            11
        } else if self.lost > 0 {
            10
        } else if incomplete || self.unknown > 0 {
            13
        } else if matched {
            0
        } else {
            12
        }
    }
}

/// The exit status that tells the outcome of these verdicts; see [`Tally::exit_code`].
pub fn exit_code(verdicts: &[Verdict], matched: bool, incomplete: bool) -> u8 {
    let mut tally = Tally::default();
    for verdict in verdicts {
        tally.add(verdict);
    }
    tally.exit_code(matched, incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome) -> Verdict {
        Verdict {
            ts: 0,
            flow: 1,
            outcome,
            packets: 1,
            delivered: 0,
            related: 0,
            forward: None,
            translated: None,
            r#where: None,
            due: None,
            reason: None,
            text: String::new(),
            next: Vec::new(),
            evidence: Vec::new(),
            also: Vec::new(),
            rule: None,
            incomplete: false,
        }
    }

    #[test]
    fn the_gravest_outcome_wins() {
        let (good, bad) = (verdict(Outcome::Forwarded), verdict(Outcome::Dropped));
        let worst = verdict(Outcome::ReplyNotTranslated);
        assert_eq!(exit_code(std::slice::from_ref(&good), true, false), 0);
        assert_eq!(exit_code(std::slice::from_ref(&good), true, true), 13);
        assert_eq!(exit_code(&[good.clone(), bad.clone()], true, true), 10);
        assert_eq!(exit_code(&[worst, bad, good], true, true), 11);
        assert_eq!(exit_code(&[], false, false), 12);
        assert_eq!(exit_code(&[], false, true), 13);
    }

    #[test]
    fn what_is_lost_from_sight_is_a_loss_and_what_is_on_its_way_is_not() {
        for outcome in [Outcome::Vanished, Outcome::Misaddressed, Outcome::DroppedByOvs] {
            assert_eq!(exit_code(&[verdict(outcome)], true, false), 10, "{outcome:?}");
        }
        assert_eq!(exit_code(&[verdict(Outcome::InFlight)], true, false), 0);
    }

    #[test]
    fn what_is_not_known_is_neither_a_loss_nor_an_all_clear() {
        let unknown = || verdict(Outcome::Unknown);
        assert_eq!(exit_code(&[unknown()], true, true), 13);
        assert_eq!(exit_code(&[unknown(), verdict(Outcome::Delivered)], true, false), 13);
        assert_eq!(exit_code(&[unknown(), verdict(Outcome::Dropped)], true, true), 10);
    }
}
