//! One packet's way through the rules of a base chain.

use super::super::iptables::goes_on;
use super::super::value::{Shown, compare};
use super::{
    Base, Candidate, Entry, Expression, Facts, Key, Ruleset, Steps, Tri, Verdict, is_certain,
};
use crate::record::{Jump, Rule};
use crate::ruleset::value::{Op, Right};

/// How deep chains may call each other (`NFT_JUMP_STACK_SIZE`).
const MAX_DEPTH: usize = 16;

/// How a walk through a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// The packet comes to the end of the chain.
    Goes,
    /// It may.
    MayGo,
    /// A verdict ended it before.
    Ended,
}

/// What one rule does with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It goes to the next rule.
    Next,
    /// A verdict may have ended it.
    MayEnd,
    /// It may have left the chain, back to where that was called.
    MayLeave,
    /// A verdict ended it.
    Ends,
    /// It leaves the chain.
    Leaves,
}

/// One way through the rules of one base chain.
pub(super) struct Search<'a> {
    rules: &'a Ruleset,
    facts: &'a Facts,
    shown: &'a [Shown<'a>],
    base: &'a Base,
    steps: &'a mut Steps,
    /// The rules that led to the chain that is being looked at, each with its chain.
    via: Vec<(Key, &'a Entry)>,
    found: Vec<Candidate>,
}

impl<'a> Search<'a> {
    /// `shown`: what the packet shows of what the rules look at.
    pub fn new(
        rules: &'a Ruleset,
        facts: &'a Facts,
        shown: &'a [Shown<'a>],
        base: &'a Base,
        steps: &'a mut Steps,
    ) -> Self {
        Self { rules, facts, shown, base, steps, via: Vec::new(), found: Vec::new() }
    }

    /// Adds what it finds; whether the packet surely ended there.
    pub fn run(&mut self, key: Key, drops: bool, found: &mut Vec<Candidate>) -> bool {
        let end = self.chain(key, Tri::Yes, 0);
        if drops && end != Walk::Ended {
            self.find(None, key, end == Walk::Goes && !self.steps.are_used_up());
        }
        let surely = self.found.iter().any(|c| c.certain);
        for candidate in self.found.drain(..) {
            if self.steps.allow(found) {
                found.push(candidate);
            }
        }
        surely
    }

    /// `reached`: whether the packet comes here.
    fn chain(&mut self, key: Key, reached: Tri, depth: usize) -> Walk {
        let Some(entries) = self.rules.chains.get(&key).filter(|_| depth < MAX_DEPTH) else {
            return Walk::MayGo;
        };
        let mut reached = reached;
        let mut end = Walk::Goes;
        for (number, entry) in entries.iter().enumerate() {
            if !self.steps.take() {
                return Walk::MayGo;
            }
            match self.rule(key, number, entry, reached, depth) {
                Step::Next => {}
                Step::MayEnd => {
                    reached = reached.and(Tri::Maybe);
                    end = Walk::MayGo;
                }
                Step::MayLeave => reached = reached.and(Tri::Maybe),
                Step::Ends => return Walk::Ended,
                Step::Leaves => break,
            }
        }
        end
    }

    fn rule(
        &mut self,
        key: Key,
        number: usize,
        entry: &'a Entry,
        reached: Tri,
        depth: usize,
    ) -> Step {
        let rules = self.rules;
        let from = entry.first as usize;
        let all = rules.expressions.get(from..from + entry.count as usize).unwrap_or_default();
        let way = (reached, depth);
        let mut holds = Tri::Yes;
        for expression in all {
            match expression {
                Expression::Match { left, op, right } => {
                    holds = holds.and(self.comparison(key, *left, *op, right));
                }
                Expression::ForeignMatch => {
                    let told = self.saved(key, number).map(|rule| rule.holds(self.facts));
                    holds = holds.and(told.unwrap_or(Tri::Maybe));
                }
                Expression::ForeignTarget(name) => {
                    let target = self.saved(key, number).and_then(|rule| rule.target_name());
                    match target.unwrap_or_else(|| rules.names.name(*name)) {
                        "DROP" | "REJECT" => {
                            return self.verdict(key, entry, Verdict::Refuses, holds, way);
                        }
                        target if goes_on(target) => {}
                        _ => return if holds == Tri::No { Step::Next } else { Step::MayEnd },
                    }
                }
                Expression::MayEnd => {
                    return if holds == Tri::No { Step::Next } else { Step::MayEnd };
                }
                Expression::Map { left, verdicts } => {
                    return self.verdict_map(key, entry, (*left, verdicts), holds, way);
                }
                Expression::NamedMap { left, name } => {
                    let Some(verdicts) = rules.maps.get(&(key.0, *name)) else {
                        return Step::MayEnd;
                    };
                    return self.verdict_map(key, entry, (*left, verdicts), holds, way);
                }
                Expression::Verdict(verdict) => {
                    return self.verdict(key, entry, *verdict, holds, way);
                }
                Expression::MayHold => holds = holds.and(Tri::Maybe),
            }
            if holds == Tri::No {
                return Step::Next;
            }
        }
        Step::Next
    }

    /// What iptables knows of a rule. A bridge's tables have the same names.
    fn saved(
        &self,
        (table, chain): Key,
        number: usize,
    ) -> Option<&'a crate::ruleset::iptables::SavedRule> {
        let names = &self.rules.names;
        let [v4, v6] = &self.rules.saved;
        let saved = match names.name(table.family) {
            "ip" => v4,
            "ip6" => v6,
            _ => return None,
        };
        saved.rule(names.name(table.name), names.name(chain), number)
    }

    fn comparison(&self, (table, _): Key, left: u16, op: Op, right: &Right) -> Tri {
        let shown = self.shown.get(usize::from(left)).unwrap_or(&Shown::Unknown);
        compare(op, shown, right, &|name| self.rules.sets.get(&(table, name)))
    }

    fn verdict(
        &mut self,
        key: Key,
        entry: &'a Entry,
        verdict: Verdict,
        holds: Tri,
        (reached, depth): (Tri, usize),
    ) -> Step {
        let surely = match holds {
            Tri::No => return Step::Next,
            Tri::Yes => true,
            Tri::Maybe => false,
        };
        let ends = if surely { Step::Ends } else { Step::MayEnd };
        let (Verdict::Jumps(target) | Verdict::Goes(target)) = verdict else {
            return match verdict {
                Verdict::Refuses => {
                    self.find(Some(entry), key, is_certain(reached, holds));
                    ends
                }
                Verdict::Ends => ends,
                Verdict::Returns if surely => Step::Leaves,
                Verdict::Returns => Step::MayLeave,
                _ => Step::MayEnd,
            };
        };
        self.via.push((key, entry));
        let walk = self.chain((key.0, target), reached.and(holds), depth + 1);
        self.via.pop();
        match (walk, verdict) {
            (Walk::Ended, _) => ends,
            (Walk::Goes, Verdict::Jumps(_)) => Step::Next,
            (Walk::Goes, _) if surely => Step::Leaves,
            (Walk::Goes, _) => Step::MayLeave,
            (Walk::MayGo, _) => Step::MayEnd,
        }
    }

    fn verdict_map(
        &mut self,
        key: Key,
        entry: &'a Entry,
        (left, verdicts): (u16, &[(Right, Verdict)]),
        holds: Tri,
        way: (Tri, usize),
    ) -> Step {
        let mut end = Step::Next;
        for (value, verdict) in verdicts {
            if !self.steps.take() {
                return Step::MayEnd;
            }
            let holds = holds.and(self.comparison(key, left, Op::In, value));
            match self.verdict(key, entry, *verdict, holds, way) {
                Step::MayEnd => end = Step::MayEnd,
                Step::MayLeave if end == Step::Next => end = Step::MayLeave,
                Step::Next | Step::MayLeave => {}
                sure => return sure,
            }
        }
        end
    }

    /// The rule as people write it.
    fn text_of(&self, (table, _): Key, entry: &Entry) -> Option<String> {
        self.rules.texts.get(&(table, entry.handle)).map(ToString::to_string)
    }

    fn find(&mut self, entry: Option<&Entry>, key: Key, certain: bool) {
        if self.steps.allow(&self.found) {
            self.found.push(self.candidate(entry, key, certain));
        }
    }

    fn candidate(&self, entry: Option<&Entry>, key: Key, certain: bool) -> Candidate {
        let name = |number| self.rules.names.name(number).to_owned();
        let text = entry.and_then(|entry| self.text_of(key, entry));
        let jump = |(key, entry): &(Key, &Entry)| Jump {
            chain: name(key.1),
            text: self.text_of(*key, entry),
        };
        let rule = Rule {
            family: name(key.0.family),
            table: name(key.0.name),
            chain: name(key.1),
            handle: entry.map(|e| e.handle),
            number: None,
            priority: Some(self.base.priority),
            text: text.or_else(|| entry.is_none().then(|| "policy drop".to_owned())),
            via: self.via.iter().map(jump).collect(),
        };
        Candidate { rule, certain }
    }
}
