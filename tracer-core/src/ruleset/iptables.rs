//! The rules of iptables, as `iptables-save` prints them.

mod test;

use std::collections::HashMap;
use std::io::{self, BufRead};

use self::test::{Test, is_known_match, net, proto};
use super::{Candidate, Facts, Steps, Tri};
use crate::record::{Jump, Rule};
use crate::tame;
use crate::verdict::hook::HookPoint;

/// How deep chains may call each other.
const MAX_DEPTH: usize = 16;
/// The tables in the order in which a hook runs them, with their priorities
/// (`include/uapi/linux/netfilter_ipv4.h`, `enum nf_ip_hook_priorities`).
const TABLES: [(&str, i64); 5] =
    [("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)];

/// How much the rules of one address family may take, bytes.
const MAX_SIZE: usize = 24 << 20;
/// How much of the rules' own text is kept, bytes.
const MAX_TEXTS: usize = 6 << 20;

/// One rule.
#[derive(Debug)]
pub struct SavedRule {
    tests: Box<[(bool, Test)]>,
    /// It goes to its target (`-g`), and does not come back.
    goes: bool,
    target: Option<Box<str>>,
    /// As it is printed, where it may have to be named.
    line: Option<Box<str>>,
}

/// A chain: its policy, where it has one, and its rules.
#[derive(Debug, Default)]
struct Chain {
    policy: Option<Box<str>>,
    rules: Vec<SavedRule>,
}

/// All rules of one address family.
#[derive(Debug, Default)]
pub struct Saved {
    /// Chains by table and name.
    tables: HashMap<Box<str>, HashMap<Box<str>, Chain>>,
    asks_for_source_port: bool,
    size: usize,
    texts: usize,
}

/// Reads what `iptables-save` prints, with or without `-c`.
///
/// # Errors
/// There are more rules than are held, or one too long to be one; or those of `text`.
pub fn parse(text: impl BufRead) -> io::Result<Saved> {
    let mut all = Saved::default();
    let mut table: Box<str> = "".into();
    tame::lines(text, |line, is_whole| {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim().into();
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            if let (Some(name), Some(policy)) = (words.next(), words.next()) {
                all.chain(&table, name).policy = Some(policy.into());
            }
        } else if let Some(rule) = after_counters(line).strip_prefix("-A ") {
            if !is_whole {
                return Err(io::Error::other("a rule is too long"));
            }
            all.add(&table, rule);
        }
        if all.size > MAX_SIZE { Err(io::Error::other("there are too many rules")) } else { Ok(()) }
    })?;
    Ok(all)
}

/// A line without its `[packets:bytes]`.
fn after_counters(line: &str) -> &str {
    let counted = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    counted.map_or(line, |(_, rest)| rest)
}

/// Words, of which quoted ones are one.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '\\' if quoted => word.extend(chars.next()),
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

impl Saved {
    fn chain(&mut self, table: &str, chain: &str) -> &mut Chain {
        if !self.tables.contains_key(table) {
            self.tables.insert(table.into(), HashMap::new());
        }
        if !self.tables.get(table).is_some_and(|chains| chains.contains_key(chain)) {
            self.size += 256;
        }
        let chains = self.tables.entry(table.into()).or_default();
        chains.entry(chain.into()).or_default()
    }

    fn add(&mut self, table: &str, rule: &str) {
        let words = split(rule);
        let Some((chain, words)) = words.split_first() else { return };
        let mut kept = SavedRule::of(words);
        self.size += size_of::<SavedRule>() + 96 * kept.tests.len();
        self.asks_for_source_port |= kept
            .tests
            .iter()
            .any(|(_, test)| matches!(test, Test::SourcePort(_) | Test::EitherPort(_)));
        let may_be_named = kept.target.as_deref().is_some_and(|target| {
            !matches!(target, "ACCEPT" | "RETURN") && !goes_on(target) && !translates(target)
        });
        if may_be_named && self.texts + rule.len() <= MAX_TEXTS {
            self.texts += rule.len();
            self.size += rule.len() + 16;
            kept.line = Some(format!("-A {rule}").into());
        }
        self.chain(table, chain).rules.push(kept);
    }

    /// The rule with this number in its chain, from 0.
    pub fn rule(&self, table: &str, chain: &str, number: usize) -> Option<&SavedRule> {
        self.tables.get(table)?.get(chain)?.rules.get(number)
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether some rule asks for a source port.
    pub fn asks_for_source_port(&self) -> bool {
        self.asks_for_source_port
    }

    /// The rules that may have dropped the packet, as [`super::Ruleset::candidates`].
    pub fn candidates(&self, facts: &Facts, steps: &mut Steps) -> Vec<Candidate> {
        let chain = match facts.hook.point {
            HookPoint::Prerouting => "PREROUTING",
            HookPoint::Input => "INPUT",
            HookPoint::Forward => "FORWARD",
            HookPoint::Output => "OUTPUT",
            HookPoint::Postrouting => "POSTROUTING",
            HookPoint::Ingress | HookPoint::Egress => return Vec::new(),
        };
        let mut found = Vec::new();
        for (table, priority) in TABLES {
            let Some(chains) = self.tables.get(table) else { continue };
            let (via, here) = (Vec::new(), Vec::new());
            let mut search = Search { chains, facts, table, priority, steps, via, found: here };
            let end = search.chain(chain, Tri::Yes, 0);
            let policy = chains.get(chain).and_then(|chain| chain.policy.as_deref());
            if policy == Some("DROP") && end != Some(Tri::No) {
                search.find(chain, None, end.is_none());
            }
            let mut here = search.found;
            let surely = here.iter().any(|c| c.certain);
            found.append(&mut here);
            if surely {
                break;
            }
        }
        found
    }
}

fn translates(target: &str) -> bool {
    matches!(target, "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP")
}

/// Whether a packet goes on to the next rule after this target (iptables-extensions(8)).
pub(super) fn goes_on(target: &str) -> bool {
    matches!(
        target,
        "LOG"
            | "NFLOG"
            | "MARK"
            | "CONNMARK"
            | "TCPMSS"
            | "CT"
            | "NOTRACK"
            | "TRACE"
            | "CHECKSUM"
            | "CLASSIFY"
            | "DSCP"
            | "TOS"
            | "TTL"
            | "HL"
            | "SET"
            | "TEE"
    )
}

struct Search<'a> {
    chains: &'a HashMap<Box<str>, Chain>,
    facts: &'a Facts,
    table: &'static str,
    priority: i64,
    steps: &'a mut Steps,
    /// The rules that led to the chain that is being looked at, each with its chain.
    via: Vec<(&'a str, &'a SavedRule)>,
    found: Vec<Candidate>,
}

impl<'a> Search<'a> {
    /// Whether the packet comes to the end of the chain: `None` surely, `Maybe`, `No`.
    fn chain(&mut self, chain: &'a str, reached: Tri, depth: usize) -> Option<Tri> {
        if depth >= MAX_DEPTH {
            return Some(Tri::Maybe);
        }
        let rules = self.chains.get(chain).map_or(&[][..], |chain| chain.rules.as_slice());
        let (mut reached, mut end) = (reached, None);
        for (number, rule) in rules.iter().enumerate() {
            if !self.steps.take() {
                return Some(Tri::Maybe);
            }
            let holds = rule.holds(self.facts);
            let Some(target) = rule.target_name().filter(|_| holds != Tri::No) else { continue };
            let surely = holds == Tri::Yes;
            let after = match target {
                "DROP" | "REJECT" => {
                    let certain = reached.and(holds) == Tri::Yes;
                    self.find(chain, Some((number, rule)), certain);
                    Some(Tri::No)
                }
                "ACCEPT" => Some(Tri::No),
                "RETURN" if surely => return end,
                "RETURN" => {
                    reached = Tri::Maybe;
                    continue;
                }
                own if self.chains.contains_key(own) => {
                    self.via.push((chain, rule));
                    let after = self.chain(own, reached.and(holds), depth + 1);
                    self.via.pop();
                    if rule.goes && surely && after != Some(Tri::No) {
                        return after.or(end);
                    }
                    after
                }
                target if goes_on(target) => continue,
                target if translates(target) => Some(Tri::No),
                _ => Some(Tri::Maybe),
            };
            match after {
                None => {}
                Some(Tri::No) if surely => return Some(Tri::No),
                Some(_) => (reached, end) = (Tri::Maybe, Some(Tri::Maybe)),
            }
        }
        end
    }

    fn find(&mut self, chain: &str, rule: Option<(usize, &SavedRule)>, certain: bool) {
        let certain = certain && !self.steps.are_used_up();
        if !self.steps.allow(&self.found) {
            return;
        }
        let Self { facts, table, priority, via, .. } = &*self;
        let candidate = {
            let family = if facts.src.is_ipv4() { "iptables" } else { "ip6tables" };
            let line = |rule: &SavedRule| rule.line.as_deref().map(str::to_owned);
            let jump = |(chain, rule): &(&str, &SavedRule)| Jump {
                chain: (*chain).to_owned(),
                text: line(rule),
            };
            let rule = Rule {
                family: family.to_owned(),
                table: (*table).to_owned(),
                chain: chain.to_owned(),
                handle: None,
                number: rule.map(|(number, _)| number as u64 + 1),
                priority: Some(*priority),
                text: rule.map_or_else(|| Some("policy DROP".to_owned()), |(_, r)| line(r)),
                via: via.iter().map(jump).collect(),
            };
            Candidate { rule, certain }
        };
        self.found.push(candidate);
    }
}

impl SavedRule {
    fn of(words: &[String]) -> Self {
        let mut rule = Self { tests: Box::new([]), goes: false, target: None, line: None };
        let mut tests = Vec::new();
        let mut negated = false;
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_default();
            let test = match word {
                "!" => {
                    negated = true;
                    continue;
                }
                "-j" | "-g" => {
                    rule.goes = word == "-g";
                    rule.target = Some(value().into());
                    break;
                }
                "-m" if is_known_match(value()) => None,
                "--comment" => {
                    value();
                    None
                }
                "-p" => proto(value()),
                "-s" => Some(net(value()).map_or(Test::Unknown, Test::From)),
                "-d" => Some(net(value()).map_or(Test::Unknown, Test::To)),
                "-i" => Some(Test::Input(value().into())),
                "-o" => Some(Test::Output(value().into())),
                "--sport" | "--sports" => Some(Test::SourcePort(value().into())),
                "--dport" | "--dports" => Some(Test::Port(value().into())),
                "--ports" => Some(Test::EitherPort(value().into())),
                "--ctstate" | "--state" => Some(Test::State(value().into())),
                "--tcp-flags" => Some(Test::Flags(Box::new((value().into(), value().into())))),
                "--icmp-type" | "--icmpv6-type" => Some(Test::Icmp(value().into())),
                "-f" => Some(Test::Fragment),
                _ => Some(Test::Unknown),
            };
            match (test, negated) {
                (Some(test), negated) => tests.push((negated, test)),
                // Not what always holds.
                (None, true) => tests.push((true, Test::Proto(None))),
                (None, false) => {}
            }
            negated = false;
        }
        rule.tests = tests.into();
        rule
    }

    /// Where it jumps or goes to.
    pub(super) fn target_name(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Whether the packet matches.
    pub fn holds(&self, facts: &Facts) -> Tri {
        let mut all = Tri::Yes;
        for (negated, test) in &self.tests {
            let told = test.holds(facts);
            all = all.and(if *negated { told.not() } else { told });
            if all == Tri::No {
                break;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
