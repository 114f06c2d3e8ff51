//! The rules of nftables, as `nft -j -n list ruleset` prints them.

use std::collections::HashMap;

use serde_json::Value;

use super::iptables::{Saved, goes_on};
use super::value::{compare, is_name, shown};
use super::{Candidate, Facts, Tri};
use crate::model::{Jump, Rule};

/// How deep chains may call each other (`NFT_JUMP_STACK_SIZE`).
const MAX_DEPTH: usize = 16;

/// Family, table, chain.
type ChainKey = (String, String, String);

/// One rule.
#[derive(Debug)]
struct Entry {
    handle: u64,
    expressions: Vec<Value>,
}

/// A chain that a hook runs.
#[derive(Debug)]
struct Base {
    key: ChainKey,
    hook: String,
    priority: i64,
    drops: bool,
    /// The devices whose hook it is; none: everybody's.
    devices: Vec<String>,
}

impl Base {
    fn is_of(&self, device: &str) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|own| is_name(device, own))
    }
}

/// All rules of a namespace.
#[derive(Debug, Default)]
pub struct Ruleset {
    chains: HashMap<ChainKey, Vec<Entry>>,
    bases: Vec<Base>,
    sets: HashMap<ChainKey, Value>,
    /// Readable text by family, table and handle.
    texts: HashMap<(String, String, u64), String>,
    /// What `iptables-nft-save` knows of rules that nft shows in part only.
    saved: Saved,
}

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
struct Search<'a> {
    rules: &'a Ruleset,
    facts: &'a Facts,
    base: &'a Base,
    /// The jumps that led to the chain that is being looked at.
    via: Vec<Jump>,
    found: Vec<Candidate>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// One word, or a list of them.
fn words(value: Option<&Value>) -> Vec<String> {
    let all = match value {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Ruleset {
    /// From the JSON, and from `nft -a list ruleset` for how people write the rules.
    pub fn parse(json: &[u8], readable: &str, saved: Saved) -> Option<Self> {
        let listing: Value = serde_json::from_slice(json).ok()?;
        let mut all = Self { texts: texts(readable), saved, ..Self::default() };
        for item in listing.get("nftables")?.as_array()? {
            if let Some(chain) = item.get("chain") {
                all.add_chain(chain);
            } else if let Some(rule) = item.get("rule") {
                let key = key(rule, "chain");
                let expressions = rule.get("expr").and_then(Value::as_array).cloned();
                all.chains.entry(key).or_default().push(Entry {
                    handle: rule.get("handle").and_then(Value::as_u64).unwrap_or(0),
                    expressions: expressions.unwrap_or_default(),
                });
            } else if let Some(set) = item.get("set").or_else(|| item.get("map")) {
                all.sets.insert(key(set, "name"), set.get("elem").cloned().unwrap_or_default());
            }
        }
        all.bases.sort_by_key(|base| base.priority);
        Some(all)
    }

    fn add_chain(&mut self, chain: &Value) {
        let key = key(chain, "name");
        self.chains.entry(key.clone()).or_default();
        if let Some(hook) = chain.get("hook").and_then(Value::as_str) {
            self.bases.push(Base {
                key,
                hook: hook.to_owned(),
                priority: chain.get("prio").and_then(Value::as_i64).unwrap_or(0),
                drops: text(chain, "policy") == "drop",
                devices: words(chain.get("dev")),
            });
        }
    }

    /// The rules that may have dropped the packet, in the order in which it met them. `families`:
    /// whose chains the kernel was in, where that is known.
    pub fn candidates(&self, facts: &Facts, families: &[&str]) -> Vec<Candidate> {
        let mut found = Vec::new();
        for base in &self.bases {
            let own = facts.at_device.as_deref().is_none_or(|device| base.is_of(device));
            if !own
                || base.hook != facts.hook.point.name()
                || !families.contains(&base.key.0.as_str())
            {
                continue;
            }
            let mut search =
                Search { rules: self, facts, base, via: Vec::new(), found: Vec::new() };
            let end = search.chain(&base.key, Tri::Yes, 0);
            if base.drops && end != Walk::Ended {
                let policy = search.candidate(None, base.key.clone(), end == Walk::Goes);
                search.found.push(policy);
            }
            let surely = search.found.iter().any(|c| c.certain);
            found.append(&mut search.found);
            if surely {
                break;
            }
        }
        found
    }
}

fn key(item: &Value, name: &str) -> ChainKey {
    (text(item, "family").to_owned(), text(item, "table").to_owned(), text(item, name).to_owned())
}

impl Search<'_> {
    /// `reached`: whether the packet comes here.
    fn chain(&mut self, key: &ChainKey, reached: Tri, depth: usize) -> Walk {
        let Some(entries) = self.rules.chains.get(key).filter(|_| depth < MAX_DEPTH) else {
            return Walk::MayGo;
        };
        let mut reached = reached;
        let mut end = Walk::Goes;
        for (number, entry) in entries.iter().enumerate() {
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
        key: &ChainKey,
        number: usize,
        entry: &Entry,
        reached: Tri,
        depth: usize,
    ) -> Step {
        // A bridge's tables have the same names.
        let of_ip = matches!(key.0.as_str(), "ip" | "ip6");
        let saved = self.rules.saved.rule(&key.1, &key.2, number).filter(|_| of_ip);
        let mut holds = Tri::Yes;
        for expression in &entry.expressions {
            let Some((name, body)) = expression.as_object().and_then(|o| o.iter().next()) else {
                continue;
            };
            match name.as_str() {
                "match" => holds = holds.and(self.comparison(key, body)),
                "xt" if text(body, "type") == "match" => {
                    let told = saved.map_or(Tri::Maybe, |rule| rule.holds(self.facts));
                    holds = holds.and(told);
                }
                "xt" if text(body, "type") == "target" => {
                    let target = saved.and_then(|rule| Some(rule.target()?.1));
                    match target.unwrap_or_else(|| text(body, "name")) {
                        "DROP" | "REJECT" => {
                            return self.verdict(
                                key,
                                entry,
                                ("reject", body),
                                holds,
                                (reached, depth),
                            );
                        }
                        target if goes_on(target) => {}
                        _ => return if holds == Tri::No { Step::Next } else { Step::MayEnd },
                    }
                }
                "xt" | "queue" | "synproxy" | "tproxy" | "fwd" => {
                    return if holds == Tri::No { Step::Next } else { Step::MayEnd };
                }
                "vmap" => return self.verdict_map(key, entry, body, holds, (reached, depth)),
                "drop" | "reject" | "accept" | "return" | "jump" | "goto" | "dnat" | "snat"
                | "masquerade" | "redirect" => {
                    return self.verdict(key, entry, (name, body), holds, (reached, depth));
                }
                "counter" | "log" | "mangle" | "notrack" | "last" | "dup" | "flow"
                | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "reset" => {}
                // What a limit, a quota or a route lookup says is not on the record; a set that it is to
                // be added to may be full, or limit each element; what is not known may be anything.
                _ => holds = holds.and(Tri::Maybe),
            }
            if holds == Tri::No {
                return Step::Next;
            }
        }
        Step::Next
    }

    fn comparison(&self, key: &ChainKey, body: &Value) -> Tri {
        let left = shown(body.get("left").unwrap_or(&Value::Null), self.facts);
        let right = body.get("right").unwrap_or(&Value::Null);
        compare(text(body, "op"), &left, right, &|name| self.named(key, name))
    }

    fn named(&self, key: &ChainKey, name: &str) -> Option<Value> {
        let set = (key.0.clone(), key.1.clone(), name.to_owned());
        self.rules.sets.get(&set).cloned()
    }

    fn verdict(
        &mut self,
        key: &ChainKey,
        entry: &Entry,
        (name, body): (&str, &Value),
        holds: Tri,
        (reached, depth): (Tri, usize),
    ) -> Step {
        let surely = match holds {
            Tri::No => return Step::Next,
            Tri::Yes => true,
            Tri::Maybe => false,
        };
        let ends = if surely { Step::Ends } else { Step::MayEnd };
        match name {
            "drop" | "reject" => {
                let certain = reached.and(holds) == Tri::Yes;
                let found = self.candidate(Some(entry), key.clone(), certain);
                self.found.push(found);
                ends
            }
            "accept" | "dnat" | "snat" | "masquerade" | "redirect" => ends,
            "return" if surely => Step::Leaves,
            "return" => Step::MayLeave,
            _ => {
                let target = (key.0.clone(), key.1.clone(), text(body, "target").to_owned());
                self.via.push(Jump { chain: key.2.clone(), text: self.text_of(key, entry) });
                let walk = self.chain(&target, reached.and(holds), depth + 1);
                self.via.pop();
                match (walk, name) {
                    (Walk::Ended, _) => ends,
                    (Walk::Goes, "jump") => Step::Next,
                    (Walk::Goes, _) if surely => Step::Leaves,
                    (Walk::Goes, _) => Step::MayLeave,
                    (Walk::MayGo, _) => Step::MayEnd,
                }
            }
        }
    }

    fn verdict_map(
        &mut self,
        key: &ChainKey,
        entry: &Entry,
        body: &Value,
        holds: Tri,
        way: (Tri, usize),
    ) -> Step {
        let left = shown(body.get("key").unwrap_or(&Value::Null), self.facts);
        let data = body.get("data").unwrap_or(&Value::Null);
        let elements = match data.as_str().and_then(|name| name.strip_prefix('@')) {
            Some(name) => self.named(key, name),
            None => data.get("set").cloned(),
        };
        let Some(elements) = elements.as_ref().and_then(Value::as_array) else {
            return Step::MayEnd;
        };
        let mut end = Step::Next;
        for element in elements {
            let Some([value, verdict]) = element.as_array().map(Vec::as_slice) else { continue };
            let holds = holds.and(compare("in", &left, value, &|_| None));
            let Some((name, body)) = verdict.as_object().and_then(|o| o.iter().next()) else {
                continue;
            };
            match self.verdict(key, entry, (name, body), holds, way) {
                Step::MayEnd => end = Step::MayEnd,
                Step::MayLeave if end == Step::Next => end = Step::MayLeave,
                Step::Next | Step::MayLeave => {}
                sure => return sure,
            }
        }
        end
    }

    /// The rule as people write it.
    fn text_of(&self, (family, table, _): &ChainKey, entry: &Entry) -> Option<String> {
        self.rules.texts.get(&(family.clone(), table.clone(), entry.handle)).cloned()
    }

    fn candidate(&self, entry: Option<&Entry>, key: ChainKey, certain: bool) -> Candidate {
        let handle = entry.map(|e| e.handle);
        let text = entry.and_then(|entry| self.text_of(&key, entry));
        let (family, table, chain) = key;
        let rule = Rule {
            family,
            table,
            chain,
            handle,
            number: None,
            priority: Some(self.base.priority),
            text: text.or_else(|| entry.is_none().then(|| "policy drop".to_owned())),
            via: self.via.clone(),
        };
        Candidate { rule, certain }
    }
}

/// The rules as people write them, from the lines that end in `# handle N`.
fn texts(readable: &str) -> HashMap<(String, String, u64), String> {
    let mut all = HashMap::new();
    let (mut family, mut table) = (String::new(), String::new());
    for line in readable.lines() {
        let Some((rule, handle)) = line.rsplit_once(" # handle ") else { continue };
        let words: Vec<&str> = rule.split_whitespace().collect();
        match words.as_slice() {
            ["table", of, name, ..] => (family, table) = ((*of).to_owned(), (*name).to_owned()),
            ["chain" | "set" | "map", ..] => {}
            _ => {
                if let Ok(handle) = handle.trim().parse() {
                    let key = (family.clone(), table.clone(), handle);
                    all.insert(key, rule.trim().to_owned());
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
