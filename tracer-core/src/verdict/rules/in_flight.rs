//! The trace ended first.

use crate::reconstruct::flow::Flow;
use crate::reconstruct::sight::Sight;
use crate::record::Outcome;
use crate::verdict::rules::{others, sentence, vanished};
use crate::verdict::{Finding, fragments, words};

/// No packet of one direction arrived, and some were still on their way when the trace ended. Where
/// others of that direction arrived, the last one's fate is not worth a verdict.
pub fn in_flight(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst(flow, Outcome::InFlight)?;
    if flow.side(loss.direction).good > 0 || is_piece_of_tunnelled(&flow.opening) {
        return None;
    }
    let at = &*loss.at;
    let text = format!(
        "{} {}, seen last{}{}{}.{}",
        sentence::subject(flow, loss),
        if loss.is_early {
            "not seen to end, having come before all probes were attached"
        } else {
            "still on the way when the trace ended"
        },
        words::place(at),
        sentence::translation(&loss.first, at),
        fragments::waits(loss),
        others::rest(flow, loss),
    );
    let next = vanished::commands(loss);
    Some(Finding::of_unended(loss, text, next))
}

/// A later fragment of what a tunnel has made of a packet: it is followed for its first fragment, whose
/// flow is the one inside, and is put together with it (which frees it unseen).
fn is_piece_of_tunnelled(opening: &Sight) -> bool {
    opening.is_learned && opening.fragment.is_some_and(|offset| offset > 0)
}

#[cfg(test)]
mod tests {
    use crate::reconstruct::Story;
    use crate::reconstruct::testing::{HopExt, hop};
    use crate::record::HookName::TcIngress;
    use crate::record::{Outcome, Via};

    /// The verdicts' outcomes about a fragment that waits for the others of its datagram.
    fn told(offset: u32, via: Via) -> Vec<Outcome> {
        let mut waits = hop(TcIngress, 1, 1).on("server", "u0", Some("veth")).paired();
        waits.via = Some(via);
        let mut story = Story::new();
        story.observe(&mut waits.fragment(offset, false));
        story.finish(2_000_000).1.iter().map(|verdict| verdict.outcome).collect()
    }

    #[test]
    fn a_piece_of_a_tunnels_packet_is_told_with_its_first() {
        assert_eq!(told(1480, Via::Learned), []);
        assert_eq!(told(1480, Via::Filter), [Outcome::InFlight]);
        assert_eq!(told(0, Via::Learned), [Outcome::InFlight]);
    }
}
