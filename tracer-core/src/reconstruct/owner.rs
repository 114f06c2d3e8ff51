//! What Open vSwitch is to be asked about the packets that died there, and what it answered.
//!
//! The asking itself is done at the edge; here are the questions, made of what is on the record, and
//! the answers, which are on it too, so that a recording tells the same as the trace it is of.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::reconstruct::fate::Fate;
use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome, OvsTrace, TraceKind};

/// How many questions a trace asks: one for each kind of loss of each flow.
const MAX_QUESTIONS: usize = 64;
/// How many answers are taken from a recording.
const MAX_ANSWERS: usize = 4096;

/// What to ask about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Number of the packet.
    pub packet: u64,
    /// Name of the datapath.
    pub dp: Option<String>,
    /// The port by which it came into the datapath.
    pub in_port: Option<String>,
    /// Its flow key at its first pass.
    pub key: String,
    /// What conntrack made of it before each later pass, as OVS prints it (`inv|trk`).
    pub ct_states: Vec<String>,
    /// That could not be read, where the module has no BTF.
    pub blind: bool,
    /// Its flow key at its last pass, where that is another.
    pub last_key: Option<String>,
    /// The actions that were run on it last, as far as they are known.
    pub actions: Option<String>,
}

/// A packet that came to harm, as far as it matters for a question.
#[derive(Clone, Copy, Debug)]
struct Harm<'a> {
    packet: u64,
    outcome: Outcome,
    at: &'a Sight,
    passage: &'a [Rc<Sight>],
}

impl<'a> Harm<'a> {
    /// The first packet of a loss.
    fn of_loss(loss: &'a Loss) -> Option<Self> {
        let packet = *loss.evidence.first()?;
        Some(Self { packet, outcome: loss.outcome, at: &loss.at, passage: &loss.passage })
    }
}

impl Question {
    /// The question about a packet; `None` where Open vSwitch has no part in its end, or where the
    /// record lacks what makes one.
    fn about(harm: Harm<'_>) -> Option<Self> {
        let Harm { packet, outcome, at, passage } = harm;
        let facts = || passage.iter().filter_map(|s| s.ovs.as_deref());
        let keyed = || facts().filter(|ovs| ovs.key.is_some());
        let first = keyed()
            .find(|ovs| ovs.recirc_id == Some(0))
            .filter(|_| is_its(outcome, at, passage))?;
        let key = first.key.clone()?;
        // What `ovs-vswitchd` hands back has a key without the recirculation that it belongs to.
        let last_key = keyed().rfind(|ovs| !ovs.from_userspace).and_then(|ovs| ovs.key.clone());
        let last_key = last_key.filter(|last| *last != key);
        let is_run = |s: &&Rc<Sight>| matches!(s.hook, HookName::OvsActions | HookName::OvsAnswer);
        let run = passage.iter().rfind(is_run);
        // What comes after a run and goes up has another pass before it.
        let after = passage.last().is_some_and(|s| s.hook == HookName::OvsUpcall);
        let run = run.and_then(|s| s.ovs.as_deref()).filter(|ovs| !ovs.cut && !after);
        Some(Self {
            packet,
            dp: facts().find_map(|ovs| ovs.dp.clone()),
            in_port: facts().find_map(|ovs| ovs.in_port.clone()),
            key,
            ct_states: ct_states(passage),
            blind: passage.iter().any(|s| is_unreadable(s)),
            last_key,
            actions: run.and_then(|ovs| ovs.actions.clone()),
        })
    }
}

/// Open vSwitch had the packet when it came to harm, and nothing else explains that.
fn is_its(outcome: Outcome, at: &Sight, passage: &[Rc<Sight>]) -> bool {
    match outcome {
        // It sent the frame to somebody who has another MAC address.
        Outcome::Misaddressed => passage.last().is_some_and(|s| s.hook == HookName::OvsOutput),
        Outcome::DroppedByOvs => true,
        Outcome::UpcallLost => at.upcall().is_some_and(|upcall| upcall.result.is_none()),
        Outcome::Vanished => at.ovs.is_some(),
        _ => false,
    }
}

/// The datapath had notes on the packet there, and not even the pass is known.
fn is_unreadable(sight: &Sight) -> bool {
    let noted = matches!(sight.hook, HookName::OvsActions | HookName::OvsUpcall);
    noted && sight.ovs.as_deref().is_none_or(|ovs| ovs.recirc_id.is_none())
}

/// Whether Open vSwitch's answer may make another outcome of this one: see [`Answers::tell`].
pub fn is_open(outcome: Outcome, at: &Sight) -> bool {
    outcome != Outcome::DroppedByOvs && is_its(outcome, at, &[])
}

/// What conntrack made of the packet at each recirculation that a `ct` action led to, in order:
/// `ofproto/trace` takes one `--ct-next` for each of these, and none for other recirculations.
fn ct_states(passage: &[Rc<Sight>]) -> Vec<String> {
    let runs = passage.iter().filter(|s| s.hook == HookName::OvsActions);
    let lists = runs.filter_map(|s| s.ovs.as_deref()?.actions.as_deref());
    let mut passes: Vec<u32> = Vec::new();
    for id in lists.filter_map(tracked_pass) {
        // What `ovs-vswitchd` hands back may run a list again that was run before.
        if !passes.contains(&id) {
            passes.push(id);
        }
    }
    let state = |id: &u32| {
        let mut there = passage.iter().filter_map(|s| s.ovs.as_deref());
        let found = there.find(|ovs| ovs.recirc_id == Some(*id) && ovs.ct_state.is_some());
        found.and_then(|ovs| ovs.ct_state.clone())
    };
    let mut states: Vec<_> = passes.iter().map(state).collect();
    // Where it died on its way into a pass nothing is known of that one.
    while states.last().is_some_and(Option::is_none) {
        states.pop();
    }
    states.into_iter().map(|state| state.unwrap_or_else(|| "trk".to_owned())).collect()
}

/// The recirculation to which the last `ct` action of a list leads: `…,ct(…),recirc(0x3)`.
fn tracked_pass(list: &str) -> Option<u32> {
    let (before, id) = list.strip_suffix(')')?.rsplit_once("recirc(0x")?;
    let before = before.strip_suffix(',')?;
    let is_ct = match before.strip_suffix(')') {
        None => before.rsplit(',').next() == Some("ct"),
        Some(inside) => {
            let mut depth = 1_u32;
            let open = inside.rfind(|c| {
                match c {
                    ')' => depth += 1,
                    '(' => depth -= 1,
                    _ => {}
                }
                depth == 0
            })?;
            let name = inside.get(..open)?;
            name.rsplit([',', '(']).next() == Some("ct")
        }
    };
    is_ct.then(|| u32::from_str_radix(id, 16).ok()).flatten()
}

/// Questions asked, and the answers.
#[derive(Debug, Default)]
pub struct Answers {
    asked: HashSet<u64>,
    /// The pass in which a packet of a flow was dropped, about which it was asked at once.
    at_once: HashSet<(u64, Option<(u32, u32)>)>,
    by_packet: HashMap<u64, Arc<OvsTrace>>,
}

impl Answers {
    /// Takes an answer in.
    pub fn put(&mut self, answer: OvsTrace) {
        if self.by_packet.len() < MAX_ANSWERS || self.by_packet.contains_key(&answer.packet) {
            self.by_packet.insert(answer.packet, Arc::new(answer));
        }
    }

    /// What is still to be asked about the losses of these flows.
    pub fn questions<'a>(&mut self, flows: impl Iterator<Item = &'a Flow>) -> Vec<Question> {
        let mut questions = Vec::new();
        for loss in flows.flat_map(|flow| &flow.losses) {
            if self.asked.len() >= MAX_QUESTIONS {
                break;
            }
            if !loss.evidence.iter().any(|packet| self.asked.contains(packet))
                && let Some(question) = Harm::of_loss(loss).and_then(Question::about)
            {
                self.asked.insert(question.packet);
                questions.push(question);
            }
        }
        questions
    }

    /// What to ask at once about a packet of this flow that Open vSwitch has dropped: a little later
    /// `ovs-vswitchd` may have forgotten the recirculation that the packet was in.
    pub fn question_at_once(&mut self, flow: u64, packet: u64, fate: &Fate) -> Option<Question> {
        let Fate { outcome, at, passage, .. } = fate;
        if *outcome != Outcome::DroppedByOvs || self.asked.len() >= MAX_QUESTIONS {
            return None;
        }
        let pass = passage.iter().rev().find_map(|s| s.pass());
        let question = Question::about(Harm { packet, outcome: *outcome, at, passage })?;
        if !self.at_once.insert((flow, pass)) {
            return None;
        }
        self.asked.insert(packet);
        Some(question)
    }

    /// Gives the flow's losses the answers about them. A packet that did not come back from
    /// `ovs-vswitchd` and that the tables drop was dropped: what is to be dropped never comes back.
    /// Gives back the packets of which that is now said.
    pub fn tell(&self, flow: &mut Flow) -> Vec<u64> {
        let mut retold = Vec::new();
        // A recording may have an answer about any packet.
        for loss in flow.losses.iter_mut().filter(|l| is_its(l.outcome, &l.at, &l.passage)) {
            loss.owner = loss.evidence.iter().find_map(|n| self.by_packet.get(n)).cloned();
            let dropped = loss.owner.as_deref().is_some_and(OvsTrace::drops);
            if dropped && is_open(loss.outcome, &loss.at) {
                if loss.outcome == Outcome::UpcallLost {
                    loss.asked = loss.count;
                }
                loss.outcome = Outcome::DroppedByOvs;
                retold.extend(&loss.evidence);
            }
        }
        flow.join_alike();
        retold
    }
}

impl OvsTrace {
    /// The tables end the packet.
    pub fn drops(&self) -> bool {
        !matches!(self.kind, TraceKind::Passes | TraceKind::Mirrored | TraceKind::Unknown)
    }

    /// Both tell of the same end.
    fn ends_like(&self, other: &Self) -> bool {
        let end = |t: &Self| {
            (t.kind, t.bridge.clone(), t.table, t.priority, t.r#match.clone(), t.cookie.clone())
        };
        self.drops() && end(self) == end(other)
    }
}

impl Flow {
    /// Counts losses together that met the same end in the tables, one in the datapath and one on its
    /// way to `ovs-vswitchd`.
    fn join_alike(&mut self) {
        let mut kept: Vec<Loss> = Vec::with_capacity(self.losses.len());
        for loss in std::mem::take(&mut self.losses) {
            let alike = |l: &&mut Loss| {
                let owners = l.owner.as_deref().zip(loss.owner.as_deref());
                l.outcome == Outcome::DroppedByOvs
                    && loss.outcome == Outcome::DroppedByOvs
                    && l.direction == loss.direction
                    && owners.is_some_and(|(a, b)| a.ends_like(b))
            };
            match kept.iter_mut().find(alike) {
                Some(known) => known.join(loss),
                None => kept.push(loss),
            }
        }
        self.losses = kept;
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{Harm, Question, tracked_pass};
    use crate::reconstruct::sight::{Catalog, Sight};
    use crate::reconstruct::testing::hop;
    use crate::record::{HookName, Outcome, Ovs};

    fn passed(hook: HookName, recirc_id: u32, key: &str, actions: Option<&str>) -> Rc<Sight> {
        let mut hop = hop(hook, 1, 1);
        let ovs = Ovs {
            recirc_id: Some(recirc_id),
            key: Some(key.to_owned()),
            actions: actions.map(str::to_owned),
            from_userspace: actions.is_some(),
            ct_state: (recirc_id != 0).then(|| "new|trk".to_owned()),
            ..Ovs::default()
        };
        hop.ovs = Some(Arc::new(ovs));
        Rc::new(Catalog::default().sight(&hop))
    }

    #[test]
    fn the_last_pass_is_that_of_the_packet_which_went_up() {
        use HookName::{OvsActions, OvsUpcall};
        let passage = [
            passed(OvsUpcall, 0, "first", None),
            passed(OvsActions, 0, "first", Some("ct,recirc(0x5)")),
            passed(OvsUpcall, 5, "recirc_id(0x5),last", None),
            passed(OvsActions, 0, "last", Some("ct_clear")),
        ];
        let at = passage.last().unwrap();
        let harm = Harm { packet: 1, outcome: Outcome::DroppedByOvs, at, passage: &passage };
        let question = Question::about(harm).unwrap();
        assert_eq!(question.key, "first");
        assert_eq!(question.last_key.as_deref(), Some("recirc_id(0x5),last"));
        assert_eq!(question.actions.as_deref(), Some("ct_clear"));
        assert_eq!(question.ct_states, ["new|trk"]);
        assert!(!question.blind);
        // It did not come out of conntrack.
        let failed = &passage[..2];
        let harm = Harm { passage: failed, ..harm };
        assert!(Question::about(harm).unwrap().ct_states.is_empty());
    }

    #[test]
    fn what_conntrack_made_of_it_is_not_known_where_no_pass_is() {
        let received = passed(HookName::OvsReceive, 0, "in_port(p-c)", None);
        let mut run = hop(HookName::OvsActions, 1, 1);
        run.ovs = Some(Arc::new(Ovs::default()));
        let passage = [received, Rc::new(Catalog::default().sight(&run))];
        let at = passage.last().unwrap();
        let harm = Harm { packet: 1, outcome: Outcome::DroppedByOvs, at, passage: &passage };
        let question = Question::about(harm).unwrap();
        assert!(question.blind && question.ct_states.is_empty());
        assert_eq!(question.key, "in_port(p-c)");
    }

    #[test]
    fn only_what_conntrack_recirculates_has_a_state_of_its_own() {
        for (list, pass) in [
            ("ct(zone=1,nat),recirc(0x1)", Some(1)),
            (
                "ct_clear,set(ipv4(ttl=63)),ct(commit,zone=7,nat(src=169.254.12.181)),recirc(0x1f)",
                Some(31),
            ),
            ("ct,recirc(0x2)", Some(2)),
            ("ct(commit),hash(l4(0)),recirc(0x2)", None),
            ("hash(l4(0)),recirc(0x2)", None),
            ("ct_clear,recirc(0x2)", None),
            ("ct(commit),3", None),
            ("recirc(0x2)", None),
            ("drop", None),
            ("", None),
            ("),recirc(0x2)", None),
        ] {
            assert_eq!(tracked_pass(list), pass, "{list}");
        }
    }
}
