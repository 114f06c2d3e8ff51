//! All flows of a trace: which packet belongs to which.

mod holders;
mod placing;

use std::net::IpAddr;
use std::rc::Rc;

use self::holders::Holders;
use crate::reconstruct::Map;
use crate::reconstruct::flow::Flow;
use crate::reconstruct::part::Part;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::{FlowKey, FlowTuple};
use crate::record::Proto;

/// How many flows are held. Past that those that have been silent longest are retired.
pub const MAX_FLOWS: usize = 4096;

/// All flows of a trace.
#[derive(Debug, Default)]
pub struct Flows {
    by_key: Map<FlowKey, Holders>,
    by_number: Map<u64, Flow>,
    /// Conversations that look as another flow does behind its translation.
    direct: Map<FlowKey, u64>,
    /// The flow of all packets that never showed a tuple.
    unreadable: Option<u64>,
    latest: u64,
    retired: Vec<Flow>,
    /// With how many it is not looked again for those that may be retired: of some the packets may all be
    /// on their way, and looking takes a while.
    enough: usize,
    /// Flows that were retired and that nobody asked for.
    pub forgotten: u64,
}

impl Flows {
    /// How many are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.by_number.len()
    }

    /// The flow with this number, unless it has been retired.
    pub fn flow_mut(&mut self, number: u64) -> Option<&mut Flow> {
        self.by_number.get_mut(&number)
    }

    /// The flow to which a packet belongs that shows itself like this.
    pub fn of(&mut self, sight: &Rc<Sight>) -> u64 {
        let Some(tuple) = &sight.tuple else {
            return self.unreadable(sight);
        };
        // An ICMP error belongs to the flow that it is about, where that is known.
        let quoted_id = sight.icmp.as_ref().and_then(|icmp| icmp.about_id);
        let about = sight.about().map(|about| FlowKey::with_id(about, quoted_id));
        if let Some(number) = about.and_then(|key| self.holder(&key, sight)) {
            return number;
        }
        if let Some((about, key)) = sight.about().copied().zip(about)
            && (sight.is_link_failure() || sight.is_told_to_itself())
        {
            return self.begin_unseen(sight, about, key);
        }
        let key = FlowKey::new(tuple, sight.icmp.as_deref());
        let known = self.holder(&key, sight).filter(|number| !self.is_elsewhere(*number, sight));
        if let Some(number) = known {
            return self.beside(number, key, sight).unwrap_or(number);
        }
        let origin = sight.origin();
        let by_origin = origin.map(|from| FlowKey::new(&from, sight.icmp.as_deref()));
        let known = by_origin.and_then(|own| self.holder(&own, sight));
        if let Some(number) = known.filter(|number| !self.is_elsewhere(*number, sight)) {
            return number;
        }
        let number = self.begin(sight);
        if let Some(flow) = self.by_number.get_mut(&number) {
            flow.forward = origin.or(flow.forward);
        }
        self.hold(key, number);
        number
    }

    /// A host tells itself of a packet that it could not send, and of which nothing was seen: the flow of
    /// that one.
    fn begin_unseen(&mut self, sight: &Rc<Sight>, about: FlowTuple, key: FlowKey) -> u64 {
        let number = self.begin(sight);
        if let Some(flow) = self.by_number.get_mut(&number) {
            flow.forward = Some(about);
        }
        self.hold(key, number);
        number
    }

    /// The flow that this packet belongs to instead of flow `number`, when both look the same behind
    /// a translation: the client's conversation with the far end's own address, which its first
    /// packet there begins.
    fn beside(&mut self, number: u64, key: FlowKey, sight: &Rc<Sight>) -> Option<u64> {
        let flow = self.by_number.get(&number)?;
        if !flow.nat.is_beside(sight) {
            return None;
        }
        if let Some(known) = self.direct.get(&key) {
            return Some(*known);
        }
        if !flow.nat.begins_beside(sight) {
            return None;
        }
        let number = self.begin(sight);
        self.direct.insert(key, number);
        if let Some(flow) = self.by_number.get_mut(&number) {
            flow.direct = Some(key);
        }
        Some(number)
    }

    /// As [`Flows::beside`], for a packet that was taken for one of flow `number` before.
    fn beside_later(&mut self, number: u64, sight: &Rc<Sight>) -> Option<u64> {
        if self.direct.is_empty() {
            return None;
        }
        let key = FlowKey::new(sight.tuple.as_ref()?, sight.icmp.as_deref());
        let known = *self.direct.get(&key)?;
        let flow = self.by_number.get(&number)?;
        (known != number && flow.nat.is_beside(sight)).then_some(known)
    }

    /// A packet of flow `number` shows another tuple than before. When that is a translation, its
    /// packets belong to the flow from now on, the replies included.
    fn join(&mut self, number: u64, first: Option<&FlowTuple>, now: &Sight) {
        let (Some(first), Some(tuple)) = (first, now.tuple.as_ref()) else {
            return;
        };
        if now.about().is_some() {
            return;
        }
        // Encapsulation that the parser could not look into is not a translation.
        if first.proto != tuple.proto || first == tuple {
            return;
        }
        let Some(flow) = self.by_number.get_mut(&number) else {
            return;
        };
        let ports_missing = first.sport.is_some() != tuple.sport.is_some();
        if ports_missing {
            return;
        }
        flow.translate(flow.direction(Some(first)), *tuple);
        self.hold_too(FlowKey::new(tuple, now.icmp.as_deref()), number);
    }

    /// All flows that are held, by number.
    pub fn all(&self) -> Vec<&Flow> {
        let mut all: Vec<_> = self.by_number.values().collect();
        all.sort_unstable_by_key(|flow| flow.number);
        all
    }

    /// The flow that a packet belongs to by its conntrack entry, where that is another than flow
    /// `number`: two connections may look the same behind their translations.
    fn of_entry(&mut self, number: u64, sight: &Rc<Sight>) -> Option<u64> {
        let (from, to) = sight.ct.as_ref().filter(|_| sight.about().is_none())?.translation()?;
        let flow = self.by_number.get(&number)?;
        if !flow.nat.is_of_another(from, to) {
            return None;
        }
        let key = FlowKey::new(&from, sight.icmp.as_deref());
        if let Some(known) = self.holder(&key, sight) {
            return Some(known).filter(|known| *known != number);
        }
        let number = self.begin(sight);
        if let Some(flow) = self.by_number.get_mut(&number) {
            flow.forward = Some(from);
        }
        self.hold(key, number);
        Some(number)
    }

    /// A packet of flow `number` carries a conntrack entry that translates: what its packets look
    /// like on either side of that belongs to the flow, whether or not a hop shows it.
    fn join_entry(&mut self, number: u64, sight: &Sight) {
        let translation = sight.ct.as_ref().and_then(|ct| ct.translation());
        let Some((from, to)) = translation.filter(|_| sight.about().is_none()) else {
            return;
        };
        let of_packet = |t: FlowTuple| [t, t.reversed()].iter().any(|t| sight.tuple == Some(*t));
        let Some(flow) = self.by_number.get_mut(&number) else { return };
        if !of_packet(from) && !of_packet(to) {
            return;
        }
        if flow.forward == Some(from) && flow.translated.is_none() {
            flow.translated = Some(to);
        }
        for tuple in [from, to] {
            self.hold_too(FlowKey::new(&tuple, sight.icmp.as_deref()), number);
        }
    }

    /// Who is asked at `group` has told `asked_by` its link-layer address, at `ts`, nanoseconds since the
    /// trace began: the flow of the questions is another than the answer's.
    pub fn answered(&mut self, asked_by: IpAddr, group: IpAddr, ts: u64) {
        let question =
            FlowTuple { proto: Proto::Icmp6, src: asked_by, sport: None, dst: group, dport: None };
        let Some(holders) = self.by_key.get(&FlowKey::new(&question, None)) else { return };
        for number in holders.all() {
            if let Some(flow) = self.by_number.get_mut(&number) {
                let direction = flow.direction(Some(&question));
                flow.questions.answer(direction, ts);
            }
        }
    }

    /// Retires flows when there are too many of them.
    pub fn age_out(&mut self) {
        if self.by_number.len() <= self.enough.max(MAX_FLOWS) {
            return;
        }
        let mut idle: Vec<_> = self
            .by_number
            .values()
            .filter(|f| f.open == 0)
            .map(|f| (f.last_ts, f.number))
            .collect();
        idle.sort_unstable();
        let surplus = self.by_number.len() - MAX_FLOWS * 7 / 8;
        for (_, number) in idle.into_iter().take(surplus) {
            self.retire(number);
        }
        self.enough = self.by_number.len() + MAX_FLOWS / 8;
        let untaken = self.retired.len().saturating_sub(MAX_FLOWS);
        self.forgotten += untaken as u64;
        self.retired.drain(..untaken);
    }

    /// The flows retired since the last call.
    pub fn take_retired(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.retired)
    }

    /// All flows, retired ones first, then by number.
    pub fn take_all(&mut self) -> Vec<Flow> {
        let mut all = self.take_retired();
        let mut rest: Vec<_> = self.by_number.drain().map(|(_, flow)| flow).collect();
        rest.sort_unstable_by_key(|f| f.number);
        all.append(&mut rest);
        self.by_key.clear();
        self.direct.clear();
        self.unreadable = None;
        all
    }

    fn retire(&mut self, number: u64) {
        let Some(flow) = self.by_number.remove(&number) else {
            return;
        };
        for key in &flow.keys {
            self.release(*key, number);
        }
        if let Some(key) = flow.direct {
            self.direct.remove(&key);
        }
        if self.unreadable == Some(number) {
            self.unreadable = None;
        }
        self.retired.push(flow);
    }

    fn unreadable(&mut self, sight: &Rc<Sight>) -> u64 {
        if let Some(number) = self.unreadable {
            return number;
        }
        let number = self.begin(sight);
        self.unreadable = Some(number);
        number
    }

    fn begin(&mut self, sight: &Rc<Sight>) -> u64 {
        self.latest += 1;
        let mut flow = Flow::new(self.latest, sight.clone());
        flow.parts.add(Part::of(sight));
        self.by_number.insert(self.latest, flow);
        self.latest
    }
}
