//! What is concluded from something not having been seen, held against what may have been lost.

use super::Story;
use crate::reconstruct::fate::Fate;
use crate::reconstruct::flow::{Beginning, Flow};
use crate::reconstruct::gaps::Doubt;
use crate::reconstruct::packet::Packet;
use crate::record::{HookName, Outcome};

/// Whether a packet was waited for as long as need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It was, or the trace is over.
    Over,
    /// There was no room to wait any longer.
    CutShort,
}

impl Story {
    /// The ring buffer has so many bytes.
    pub fn has_ring(&mut self, bytes: Option<u64>) {
        self.ring = bytes;
    }

    /// These hooks found no way to attach.
    pub fn never_sees(&mut self, hooks: &[HookName]) {
        self.gaps.never_see(hooks);
    }

    /// Makes the outcome unknown where what would say otherwise may have been lost, or may be to come.
    pub(super) fn doubt(&self, packet: &Packet, fate: &mut Fate, wait: Wait) {
        let is_good = matches!(fate.outcome, Outcome::Delivered | Outcome::Forwarded);
        let Some(doubt) = fate.doubt else { return };
        if packet.is_early && !is_good {
            // Its end came before the hooks that would have shown it.
            (fate.outcome, fate.doubt) = (Outcome::InFlight, None);
        } else if self.gaps.meet(&doubt) || (is_absent(fate.outcome) && self.gaps.hide(&doubt)) {
            fate.outcome = Outcome::Unknown;
        } else if wait == Wait::CutShort && doubt.until == u64::MAX && !is_good {
            (fate.outcome, fate.doubt) = (Outcome::Unknown, None);
        } else {
            fate.doubt = None;
        }
    }

    /// All packets of a flow have their fate: what was lost in its time makes doubtful what follows from
    /// all of them together.
    pub(super) fn doubt_flow(&self, flow: &mut Flow) {
        let doubt = flow.doubt();
        flow.incomplete = self.gaps.meet(&doubt);
        // Who began it, and how, is not known.
        let before = Doubt { since: 0, until: flow.first_ts, ..doubt };
        if !flow.begins() && self.gaps.meet(&before) {
            flow.beginning = Beginning::MayBeLost;
            flow.doubt_duplicates(doubt.and(before));
        } else if flow.incomplete {
            flow.doubt_duplicates(doubt);
        }
    }

    /// What was lost, of which the flow's doubtful packets may be.
    pub fn tell_missing(&self, flow: &mut Flow) {
        for loss in &mut flow.losses {
            loss.missing = loss.doubt.as_ref().and_then(|doubt| self.gaps.told(doubt));
        }
    }
}

/// An outcome that says that the packet came to no good end, or to none yet, for want of having seen one.
fn is_absent(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::InFlight | Outcome::Vanished | Outcome::Dropped)
}
