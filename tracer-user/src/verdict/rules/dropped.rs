//! The kernel dropped it.

use crate::model::{Outcome, Where};
use crate::reconstruct::flow::{Flow, Loss};
use crate::verdict::rules::sentence;
use crate::verdict::{Finding, matter, next, words};

/// A packet of the flow was dropped by the kernel.
pub fn dropped(flow: &Flow) -> Option<Finding> {
    sentence::worst(flow, Outcome::Dropped).map(|loss| finding(flow, loss))
}

fn finding(flow: &Flow, loss: &Loss) -> Finding {
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let (matter, meaning) = matter::of(at, before);
    let reason = at.raw_reason();
    let why = match (meaning, reason) {
        (Some(words), _) => format!(": {words}"),
        (None, Some("NOT_SPECIFIED")) => "; the kernel gives no reason".to_owned(),
        (None, Some(_)) => String::new(),
        (None, None) => "; this kernel gives no reasons".to_owned(),
    };
    let named = reason.map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let by = words::symbol(at).map(|s| format!(" by {s}")).unwrap_or_default();
    let text = format!(
        "{} dropped{}{by}{}{why}{named}.{}{}",
        sentence::subject(flow, loss),
        words::place(at),
        sentence::translation(&loss.first, at),
        sentence::way(at, before),
        sentence::rest(flow, loss),
    );
    let spot = next::Spot::new(at, before);
    Finding {
        outcome: loss.outcome,
        place: Where { bridge: None, ..at.place() },
        reason: reason.map(str::to_owned),
        text,
        next: next::commands(matter, &spot),
        evidence: loss.evidence.clone(),
        rule: None,
    }
}
