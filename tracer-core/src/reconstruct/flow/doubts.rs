//! What is said of a flow where some of it may have been lost.

use super::{Flow, MAX_LOSSES};
use crate::reconstruct::flow::Loss;
use crate::reconstruct::gaps::{Doubt, LEAD};
use crate::reconstruct::tracked::State;
use crate::reconstruct::twins;
use crate::record::{ArpOp, Outcome, Proto, TcpFlags};

/// How long after its last packet the loss of an event may still have been the loss of one of the
/// flow's, nanoseconds.
const NEAR: u64 = 5_000_000_000;

impl Flow {
    /// What depends on all that there was of the flow.
    pub fn doubt(&self) -> Doubt {
        Doubt {
            until: self.last_ts.saturating_add(NEAR),
            ..Doubt::any_from(self.first_ts.saturating_sub(LEAD))
        }
    }

    /// Whether its first packet on the record is one that only who begins a conversation sends.
    pub fn begins(&self) -> bool {
        const ECHO: u8 = 8;
        const ECHO6: u8 = 128;
        let first = &*self.opening;
        let icmp = first.icmp.as_ref().map(|icmp| icmp.r#type);
        let by_entry = first.ct.as_ref().and_then(|ct| ct.state);
        match first.tuple.map(|tuple| tuple.proto) {
            _ if first.about().is_some() => false,
            Some(Proto::Tcp) if first.tcp.is_some_and(TcpFlags::is_syn) => true,
            Some(Proto::Icmp) => icmp == Some(ECHO),
            Some(Proto::Icmp6) => icmp == Some(ECHO6),
            Some(Proto::Arp) => first.arp == Some(ArpOp::Request),
            _ => matches!(by_entry, Some(State::New | State::Established)),
        }
    }

    /// What TCP discarded is no loss where it had arrived before, or arrived after: that may be among
    /// what was lost.
    pub fn doubt_duplicates(&mut self, doubt: Doubt) {
        let is_doubtful = |loss: &Loss| {
            loss.outcome == Outcome::Dropped
                && !loss.unanswered
                && twins::may_be_one(&loss.first, &loss.at)
        };
        self.doubt_all(doubt, is_doubtful);
    }

    /// Counts those of these losses as packets of which the end is not known.
    pub fn doubt_all(&mut self, doubt: Doubt, mut is_doubtful: impl FnMut(&Loss) -> bool) {
        for loss in &mut self.losses {
            if !is_doubtful(loss) {
                continue;
            }
            loss.outcome = Outcome::Unknown;
            loss.doubt = Some(doubt);
        }
        let mut kept: Vec<Loss> = Vec::with_capacity(self.losses.len().min(MAX_LOSSES));
        for loss in std::mem::take(&mut self.losses) {
            let same = |l: &&mut Loss| {
                l.outcome == Outcome::Unknown
                    && loss.outcome == Outcome::Unknown
                    && l.direction == loss.direction
                    && l.is_early == loss.is_early
                    && l.doubt.is_some() == loss.doubt.is_some()
            };
            match kept.iter_mut().find(same) {
                Some(known) => known.take_over(&loss),
                None => kept.push(loss),
            }
        }
        self.losses = kept;
    }
}
