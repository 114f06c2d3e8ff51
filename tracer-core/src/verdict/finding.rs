//! What the rules give.

use crate::record::{Outcome, OvsTrace, Where};

/// What a rule found.
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
    /// What Open vSwitch's tables do with it.
    pub rule: Option<Box<OvsTrace>>,
}
