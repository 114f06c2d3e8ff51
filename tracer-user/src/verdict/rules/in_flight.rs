//! The trace ended first.

use crate::model::Outcome;
use crate::reconstruct::flow::Flow;
use crate::verdict::Finding;
use crate::verdict::rules::{sentence, vanished};
use crate::verdict::words;

/// No packet of one direction arrived, and some were still on their way when the trace ended. Where
/// others of that direction arrived, the last one's fate is not worth a verdict.
pub fn in_flight(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst(flow, Outcome::InFlight)?;
    if flow.side(loss.direction).good > 0 {
        return None;
    }
    let at = &*loss.at;
    let text = format!(
        "{} {}, seen last{}{}.{}",
        sentence::subject(flow, loss),
        if loss.is_early {
            "not seen to end, having come before all probes were attached"
        } else {
            "still on the way when the trace ended"
        },
        words::place(at),
        sentence::translation(&loss.first, at),
        sentence::rest(flow, loss),
    );
    Some(Finding {
        outcome: loss.outcome,
        due: None,
        place: at.place(),
        reason: None,
        text,
        next: vanished::commands(at, loss.before.as_deref()),
        evidence: loss.evidence.clone(),
        rule: None,
    })
}
