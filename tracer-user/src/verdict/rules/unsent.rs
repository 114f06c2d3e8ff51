//! A host could not send it, and told itself so.

use crate::model::Outcome;
use crate::reconstruct::flow::Flow;
use crate::verdict::matter::Matter;
use crate::verdict::{Finding, next, words};

/// No packet of the flow was seen, only the ICMP error by which a host told its own socket what became of
/// one: it never got as far as a device.
pub fn unsent(flow: &Flow) -> Option<Finding> {
    let told = flow.related.first().filter(|_| flow.packets() == 0)?;
    let tuple = flow.forward?;
    let text = format!(
        "A packet of {} {} was lost{} before it came to a device.",
        words::proto(&tuple),
        words::ends(&tuple),
        words::in_netns(told.first.netns.as_deref()),
    );
    let spot = next::Spot::about(&told.first, tuple);
    Some(Finding {
        outcome: Outcome::Dropped,
        due: None,
        place: told.first.place(),
        reason: None,
        text,
        next: next::commands(Matter::Neighbour, &spot),
        evidence: told.evidence.clone(),
        rule: None,
    })
}
