//! Findings: the results of rules.

use crate::reconstruct::flow::Loss;
use crate::record::{Outcome, OvsTrace, Where};

/// The result of a rule about one flow.
#[derive(Clone, Debug)]
pub struct Finding {
    /// In the terms of a record.
    pub outcome: Outcome,
    /// Where.
    pub place: Where,
    /// The kernel's reason.
    pub reason: Option<String>,
    /// Where a translation was due and not made.
    pub due: Option<Where>,
    /// In plain words.
    pub text: String,
    /// Commands worth running.
    pub next: Vec<String>,
    /// Packets that show it.
    pub evidence: Vec<u64>,
    /// The rule of Open vSwitch's tables, with what they do.
    pub rule: Option<Box<OvsTrace>>,
}

impl Finding {
    /// About packets whose end says no more than where they were last: no reason, no rule.
    pub fn of_unended(loss: &Loss, text: String, next: Vec<String>) -> Self {
        Self {
            outcome: loss.outcome,
            due: None,
            place: loss.at.place(),
            reason: None,
            text,
            next,
            evidence: loss.evidence.clone(),
            rule: None,
        }
    }
}
