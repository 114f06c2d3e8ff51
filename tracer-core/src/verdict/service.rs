//! A packet to an address that is translated for others, and was not for it.

use crate::reconstruct::flow::Flow;
use crate::reconstruct::tracked::State;
use crate::verdict::words;

/// What is to be said of it; empty where there is nothing.
pub fn passed_by(flow: &Flow) -> String {
    let Some(passed) = &flow.passed else { return String::new() };
    let step = &passed.step;
    let how = match passed.tracked {
        None => ": it carried no conntrack entry",
        Some(t) if t.state == Some(State::Untracked) => {
            ": it was untracked, and what conntrack is kept off is not translated"
        }
        Some(t) if t.confirmed && t.translation().is_none() => {
            ": its conntrack entry was made without a translation, which rules decide for a connection\'s \
             first packet only"
        }
        Some(_) => "",
    };
    format!(
        " It was not translated{}, where other packets to {} are, to {}{how}.",
        words::in_netns(step.at.site.netns.as_deref()),
        words::end(step.from.dst, step.from.dport),
        words::end(step.to.dst, step.to.dport),
    )
}
