//! Where a reply should have been translated back before.

use crate::reconstruct::everyday;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::nat::{Step, inode, is_egress};
use crate::reconstruct::packet::Packet;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{HookName, Outcome};

/// A reply that shows a translation at its end.
pub(super) struct Return<'a> {
    pub packet: &'a Packet,
    /// Where the flow's first packet was seen first.
    pub opening: &'a Sight,
    pub fate: &'a Fate,
    /// As it looks at its end.
    pub tuple: FlowTuple,
    /// Where it was seen last in the namespace that makes the translation.
    pub passing: Option<&'a Sight>,
}

impl Return<'_> {
    /// It came to a host of its own, and did not only pass it.
    fn has_ended(&self) -> bool {
        matches!(self.fate.outcome, Outcome::Dropped | Outcome::Delivered)
            && !everyday::is_otherhost(&self.fate.at)
            && !is_egress(&self.fate.at)
    }

    /// This place, in the namespace `netns`, is where the flow's packets came in: a reply goes out there.
    fn is_way_out(&self, at: &Sight, netns: Option<u32>) -> bool {
        let dev = |s: &Sight| s.site.dev.as_ref().map(|d| d.ifindex);
        let came_in = matches!(self.opening.hook, HookName::TcIngress | HookName::OvsReceive);
        is_egress(at)
            && came_in
            && netns.is_some()
            && inode(self.opening) == netns
            && inode(at) == netns
            && dev(self.opening) == dev(at)
    }

    /// The host that sends from this end took it for its own, with nobody there who awaits it.
    fn is_refused_by(&self, step: &Step) -> bool {
        let at = &*self.fate.at;
        let to_client = (self.tuple.dst, self.tuple.dport) == (step.from.src, step.from.sport);
        let socketless = self.fate.outcome == Outcome::Dropped && is_socketless(at);
        to_client && (at.hook == HookName::Deliver || socketless)
    }
}

impl Step {
    /// A place that the flow's packets pass before they are translated.
    pub(super) fn is_upstream(&self, sight: &Sight) -> bool {
        let netns = inode(sight);
        let own = netns.is_some() && netns == self.netns() && self.sooner.is_empty();
        own || netns.is_some_and(|n| self.sooner.contains(&n) && !self.later.contains(&n))
    }

    /// Whether a reply that ended like this should have been translated back before.
    pub(super) fn was_due(&self, reply: &Return<'_>) -> bool {
        let at = &*reply.fate.at;
        let Some(netns) = inode(at) else { return false };
        if reply.is_way_out(at, Some(netns)) {
            return true;
        }
        // It left the host that translates as it had come, for places that are not traced.
        let passed_out = reply.passing.filter(|s| reply.is_way_out(s, self.netns()));
        let still = |s: &Sight| s.tuple.is_some_and(|t| self.is_left_in(t));
        if self.is_placed() && passed_out.is_some_and(still) {
            return true;
        }
        let ended = reply.has_ended();
        if ended && self.sooner.contains(&netns) {
            return !self.later.contains(&netns)
                || at.hook == HookName::Deliver
                || is_socketless(at);
        }
        // A reply to an address of the translating namespace itself: beyond its `PREROUTING` hook,
        // which undoes translations, it is lost.
        let to_it = reply.tuple.dst == self.to.src && (self.is_source() || self.sooner.is_empty());
        let passed = reply.packet.namespaces().any(|n| Some(n) == self.netns());
        if ended && Some(netns) == self.netns() {
            return to_it && everyday::is_past_prerouting(at);
        }
        if ended && !self.later.contains(&netns) && reply.is_refused_by(self) {
            return true;
        }
        to_it
            && self.is_source()
            && passed
            && !matches!(
                reply.fate.outcome,
                Outcome::InFlight | Outcome::Unknown | Outcome::Vanished
            )
    }
}

/// No socket wanted it.
fn is_socketless(at: &Sight) -> bool {
    at.raw_reason() == Some("NO_SOCKET")
        || at.symbol().is_some_and(|s| {
            matches!(s, "tcp_v4_rcv" | "tcp_v6_rcv" | "__udp4_lib_rcv" | "__udp6_lib_rcv")
        })
}
