//! The whole trace as it unfolds: hops in, journeys and flows out.

mod answers;
mod belonging;
mod doubts;
mod waiting;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

use self::doubts::Wait;
use self::waiting::{due, unended};
use crate::reconstruct::asked::{self, Answer};
use crate::reconstruct::fate;
use crate::reconstruct::flow::{Direction, Flow};
use crate::reconstruct::flows::Flows;
use crate::reconstruct::gaps::Gaps;
use crate::reconstruct::identity::Marks;
use crate::reconstruct::ovs::{Asked, silent_drop};
use crate::reconstruct::owner;
use crate::reconstruct::packet::{Packet, Position};
use crate::reconstruct::services::Services;
use crate::reconstruct::settled::{Memory, Settled};
use crate::reconstruct::sight::{Catalog, Sight};
use crate::reconstruct::{Map, Way};
use crate::record::{HookName, Hop, Lost, Outcome};

/// How many packets are held open; past that they are settled as they stand.
const MAX_OPEN: usize = 4_096;
/// How many packets whose end was seen are looked at together, to ask about them at once.
const MAX_ENDED: usize = 256;

/// The whole trace as it unfolds. Pure: time is what the hops and the caller say it is.
#[derive(Debug, Default)]
pub struct Story {
    catalog: Catalog,
    marks: Marks,
    asked: Asked,
    /// Which packet a life belongs to, open or settled.
    lives: Map<u64, u64>,
    /// Boxed: of a map's places more than half are free.
    open: Map<u64, Box<Packet>>,
    wakes: BinaryHeap<Reverse<(u64, u64)>>,
    settled: Memory,
    flows: Flows,
    latest: u64,
    outcomes: u64,
    packets: u64,
    previous: Option<Rc<Sight>>,
    gaps: Gaps,
    /// Size of the ring buffer, bytes.
    ring: Option<u64>,
    /// What netfilter answered.
    netfilter: asked::Answers,
    /// What Open vSwitch answered.
    owner: owner::Answers,
    /// Packets whose end was seen, about which it may be asked at once.
    ended: Vec<u64>,
    /// Addresses that are translated for some.
    services: Services,
    /// The filter matches one direction only: answers are not seen.
    one_way: bool,
    /// When all probes were attached, nanoseconds since the trace began.
    ready: u64,
}

impl Story {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a hop in. A live one (`packet` 0) is given its packet's number and its own; those of
    /// a recording are trusted.
    pub fn observe(&mut self, hop: &mut Hop) {
        let mut sight = Rc::new(self.catalog.sight(hop));
        let live = hop.packet == 0;
        if hop.hook == HookName::OvsAnswer && live && !self.lives.contains_key(&hop.life) {
            // It comes too late: nothing is left of the packet that asked.
            return;
        }
        if live {
            hop.packet = self.identify(hop, &sight);
            hop.hop = 0;
        } else {
            self.latest = self.latest.max(hop.packet);
        }
        if let Some(settled) = self.settled.find(hop.packet) {
            if settled.is_contradicted_by(&sight) {
                self.reopen(hop.packet);
            } else {
                settled.hops = settled.hops.saturating_add(1);
                if live {
                    settled.remember(hop.life);
                }
                hop.hop = if hop.hop == 0 { settled.hops } else { hop.hop };
                self.previous = Some(settled.last.clone());
                return;
            }
        }
        let packet = self.open.get(&hop.packet);
        if hop.drop.is_none() && packet.is_some_and(|p| p.passage.is_silent_drop(hop, &sight)) {
            hop.drop = Some(Arc::new(silent_drop(hop)));
            sight = Rc::new(self.catalog.sight(hop));
        }
        self.advance(hop, &sight);
    }

    /// Where the packet of the last hop taken in was seen before that.
    pub fn previous(&self) -> Option<&Sight> {
        self.previous.as_deref()
    }

    /// Where a packet that is not settled was seen first and last.
    pub fn story_of(&self, packet: u64) -> Option<(&Sight, &Sight)> {
        self.open.get(&packet).map(|p| (&*p.first, &*p.last))
    }

    /// Takes in that events were lost.
    pub fn lost(&mut self, lost: &Lost) {
        self.gaps.add(lost);
    }

    /// Takes in what was answered.
    pub fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::OpenVswitch(answer) => self.owner.put(*answer),
            Answer::Conntrack(_) | Answer::Netfilter(_) | Answer::Routing(_) => {
                self.netfilter.add(answer);
            }
        }
    }

    /// Gives the flow what answers there are about it.
    pub fn inform(&self, flow: &mut Flow) {
        flow.passed = self.services.passed_by(&flow.nat).map(Box::new);
        flow.answers = self.netfilter.about(flow);
        flow.rules = self.netfilter.rules_about(flow);
        flow.one_way = self.one_way;
        flow.routing = self.netfilter.routing_about(flow);
        flow.ring = self.ring;
    }

    /// Events were lost at some time of the trace.
    pub fn is_incomplete(&self) -> bool {
        self.gaps.are_any()
    }

    /// How many packets were seen.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// How many packets have an outcome so far: their end was seen, whether or not it is settled.
    pub fn outcomes(&self) -> u64 {
        self.outcomes
    }

    /// How many flows were retired and never asked for with [`Story::take_retired`].
    pub fn forgotten_flows(&self) -> u64 {
        self.flows.forgotten
    }

    /// Tells the fate of the packets that nothing more is expected of, folds them into their flows
    /// and forgets them. `now` is in nanoseconds since the trace began. A packet of which the
    /// kernel has more to say later is told again; the last word holds.
    pub fn settle(&mut self, now: u64) -> Vec<Way> {
        let mut ways = Vec::new();
        while let Some(Reverse((wake, number))) = self.wakes.peek().copied() {
            let crowded = self.open.len() > MAX_OPEN;
            if wake > now && !crowded {
                break;
            }
            self.wakes.pop();
            let Some(packet) = self.open.get_mut(&number).filter(|p| p.wake == wake) else {
                continue;
            };
            let due = due(packet);
            if due > now && !crowded {
                packet.wake = due;
                self.wakes.push(Reverse((due, number)));
                continue;
            }
            let early = if due > now { Wait::CutShort } else { Wait::Over };
            let unended = unended(packet, now);
            self.close(number, unended, early, &mut ways);
        }
        self.flows.age_out();
        ways
    }

    /// Takes the flows that were retired to make room for others, since the last call.
    pub fn take_retired(&mut self) -> Vec<Flow> {
        let mut flows = self.flows.take_retired();
        for flow in &mut flows {
            for number in self.owner.tell(flow) {
                self.settled.correct(number, Outcome::DroppedByOvs);
            }
            self.miss_answers(flow, u64::MAX);
        }
        flows
    }

    /// What Open vSwitch is to be asked about packets that died in it, since the last call.
    pub fn questions(&mut self) -> Vec<owner::Question> {
        let mut questions = Vec::new();
        for number in std::mem::take(&mut self.ended) {
            let Some(packet) = self.open.get(&number) else { continue };
            let fate = fate::fate(packet, Outcome::InFlight);
            let flow = packet.flow.unwrap_or_default();
            questions.extend(self.owner.question_at_once(flow, number, &fate));
        }
        questions.extend(self.owner.questions(self.flows.all().into_iter()));
        questions
    }

    /// What conntrack is to be asked once all packets have their fate.
    pub fn left_questions(&self) -> Vec<asked::Question> {
        self.flows.all().into_iter().flat_map(asked::left_by).collect()
    }

    /// The trace is over: the fate of all packets still open, and all flows. `end` is when the last
    /// probe was detached, in nanoseconds since the trace began.
    pub fn end(&mut self, end: u64) -> (Vec<Way>, Vec<Flow>) {
        let mut ways = self.close_all(end);
        let mut flows = self.flows.take_all();
        for flow in &mut flows {
            let retold = self.owner.tell(flow).into_iter();
            let dropped = Outcome::DroppedByOvs;
            ways.extend(retold.filter_map(|n| self.settled.retell(n, dropped)));
            self.miss_answers(flow, end);
        }
        ways.extend(self.settled.tell_rest());
        (ways, flows)
    }

    /// The fate of all packets still open at `end`, nanoseconds since the trace began.
    pub fn close_all(&mut self, end: u64) -> Vec<Way> {
        let mut open: Vec<_> = self.open.keys().copied().collect();
        open.sort_unstable();
        let mut ways = Vec::with_capacity(open.len());
        for number in open {
            let unended = self.open.get(&number).map_or(Outcome::Vanished, |p| unended(p, end));
            self.close(number, unended, Wait::Over, &mut ways);
        }
        self.wakes.clear();
        ways
    }

    fn advance(&mut self, hop: &mut Hop, sight: &Rc<Sight>) {
        let number = hop.packet;
        let (packets, ready) = (&mut self.packets, self.ready);
        let packet = self.open.entry(number).or_insert_with(|| {
            *packets += 1;
            let mut packet = Box::new(Packet::new(number, sight.clone()));
            packet.is_early = sight.ts < ready;
            packet
        });
        self.previous = packet.see(hop.life, Position::of(hop), sight.clone());
        if hop.hop == 0 {
            hop.hop = packet.hops;
        }
        self.flows.place(packet, sight);
        if let Some(flow) = packet.flow.and_then(|f| self.flows.flow_mut(f)) {
            flow.last_ts = flow.last_ts.max(sight.ts);
            let direction = flow.direction_of(packet);
            let steps = flow.nat.steps.len();
            flow.nat.see(direction, packet, self.previous.as_ref(), sight);
            if flow.nat.steps.len() > steps {
                self.services.learn(&flow.nat);
            }
        }
        if fate::is_decided(packet) && !packet.counted {
            packet.counted = true;
            self.outcomes += 1;
            if packet.passage.is_known() && self.ended.len() < MAX_ENDED {
                self.ended.push(number);
            }
        }
        let due = due(packet);
        if due < packet.wake {
            packet.wake = due;
            self.wakes.push(Reverse((due, number)));
            self.forget_old_wakes();
        }
    }

    /// A packet that is to be looked at sooner than was thought leaves its old time behind, up to a
    /// minute ahead: in a flood those would be nearly all of the queue.
    fn forget_old_wakes(&mut self) {
        if self.wakes.len() > 2 * MAX_OPEN + 4 * self.open.len() {
            let wakes = self.open.iter().map(|(number, packet)| Reverse((packet.wake, *number)));
            self.wakes = wakes.filter(|Reverse((wake, _))| *wake != u64::MAX).collect();
        }
    }

    /// Tells a packet's fate, and anew that of packets on which it sheds light.
    fn close(&mut self, number: u64, unended: Outcome, wait: Wait, ways: &mut Vec<Way>) {
        let Some(mut packet) = self.open.remove(&number) else {
            return;
        };
        let mut fate = fate::fate(&packet, unended);
        if !packet.counted {
            self.outcomes += 1;
        }
        let flow = match packet.flow {
            Some(flow) => flow,
            None => self.flows.of(&packet.first),
        };
        if let Some(entry) = self.flows.flow_mut(flow) {
            fate = entry.judge(&packet, fate);
        }
        self.doubt(&packet, &mut fate, wait);
        self.take_answer(&packet.first);
        let mut settled = Settled {
            flow,
            direction: Direction::Forward,
            outcome: fate.outcome,
            hops: packet.hops,
            first: packet.first.clone(),
            last: fate.at.clone(),
            lives: packet.lives.iter().map(|l| l.id).collect(),
            aliases: std::mem::take(&mut packet.aliases),
            untold: false,
        };
        if let Some(entry) = self.flows.flow_mut(flow) {
            if packet.flow.take().is_some() {
                entry.open = entry.open.saturating_sub(1);
            }
            settled.direction = entry.direction_of(&packet);
            let folded = entry.fold(&packet, &fate);
            (settled.outcome, fate.outcome) = (folded.outcome, folded.outcome);
            let retold = folded.retold.into_iter();
            ways.extend(retold.filter_map(|n| self.settled.retell(n, folded.outcome)));
            for number in folded.made_up_for {
                // Its journey stands: it ended where it says.
                self.settled.correct(number, Outcome::Delivered);
            }
        }
        settled.untold = owner::is_open(fate.outcome, &fate.at);
        if !settled.untold {
            ways.push(settled.way(number));
        }
        ways.extend(self.remember(number, settled));
    }

    /// Keeps a settled packet. What is to be told of one that is forgotten for it, where that was put off.
    fn remember(&mut self, number: u64, settled: Settled) -> Option<Way> {
        let (oldest, forgotten) = self.settled.put(number, settled)?;
        for life in forgotten.lives.iter().chain(&forgotten.aliases) {
            self.lives.remove(life);
        }
        forgotten.untold.then(|| forgotten.way(oldest))
    }

    fn reopen(&mut self, number: u64) {
        let Some(settled) = self.settled.take(number) else {
            return;
        };
        let mut packet = Packet::new(number, settled.first.clone());
        packet.is_early = settled.first.ts < self.ready;
        packet.resume(&settled.lives, &settled.last, settled.hops);
        packet.aliases = settled.aliases;
        packet.counted = true;
        if let Some(flow) = self.flows.flow_mut(settled.flow) {
            flow.unfold(number, settled.direction, settled.outcome, &settled.first);
            flow.open += 1;
            packet.flow = Some(settled.flow);
        }
        self.open.insert(number, Box::new(packet));
    }
}

#[cfg(test)]
mod tests;
