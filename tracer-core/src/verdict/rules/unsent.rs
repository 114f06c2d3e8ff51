//! A host could not send it, and told itself so.

use crate::reconstruct::flow::Flow;
use crate::record::Outcome;
use crate::verdict::matter::Matter;
use crate::verdict::{Finding, next, words};

/// No packet of the flow was seen, only the ICMP error by which a host told its own socket what became of
/// one: it never got as far as a device.
pub fn unsent(flow: &Flow) -> Option<Finding> {
    let told = flow.related.first().filter(|_| flow.packets() == 0)?;
    let tuple = flow.forward?;
    // What was too big was sent again in smaller packets, which may be among the events that were lost.
    if flow.incomplete && told.is_too_big() {
        return None;
    }
    let text = format!(
        "A packet of {} {} was lost{}{}.",
        words::proto(&tuple),
        words::ends(&tuple),
        words::in_netns(told.first.site.netns.as_deref()),
        if flow.incomplete { "" } else { " before it came to a device" },
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

#[cfg(test)]
mod tests {
    use crate::reconstruct::Story;
    use crate::reconstruct::testing::{HopExt, hop, tuple};
    use crate::record::HookName::{Consume, Drop, TcEgress};
    use crate::record::{Icmp, Outcome, Proto};

    /// The verdicts' outcomes, packets and errors, of a host that tells itself what became of a
    /// datagram, whose own end is seen afterwards where there is one.
    fn told(code: u8, end: Option<&str>) -> Vec<(Outcome, u64, u64)> {
        let lost = tuple("udp", "10.0.0.1", 4000, "10.0.0.2", 4444);
        let mut own = tuple("udp", "10.0.0.1", 0, "10.0.0.1", 0);
        (own.proto, own.sport, own.dport) = (Proto::Icmp, None, None);
        let mut story = Story::new();
        for (ms, hook) in [(1, TcEgress), (2, Consume)] {
            let mut error = hop(hook, ms, 1).on("client", "lo", Some("loopback")).tuple(own);
            if hook == Consume {
                error = error.taken_by("icmp_rcv");
            }
            error.icmp = Some(Icmp {
                r#type: 3,
                code,
                id: None,
                seq: None,
                mtu: None,
                about: Some(Box::new(lost)),
                about_id: None,
            });
            story.observe(&mut error.print("error"));
        }
        if let Some(symbol) = end {
            let end = hop(Drop, 3, 2).because(Some("NETFILTER_DROP"), symbol).tuple(lost);
            story.observe(&mut end.print("datagram"));
        }
        let verdicts = story.finish(20_000_000_000).1;
        verdicts.iter().map(|v| (v.outcome, v.packets, v.related)).collect()
    }

    #[test]
    fn what_a_host_tells_itself_is_about_the_packet_that_it_did_not_send() {
        assert_eq!(told(1, None), [(Outcome::Dropped, 0, 1)]);
        // Its own rules reject it: the error is sent before the packet is dropped.
        assert_eq!(told(3, Some("nft_do_chain")), [(Outcome::Dropped, 1, 1)]);
    }
}
