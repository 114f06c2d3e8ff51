//! The rules of nftables, as `nft -j -n list ruleset` prints them.

mod listing;
mod search;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead};

use self::search::Search;
use super::elements::Elements;
use super::iptables::Saved;
use super::value::{Left, Op, Right, is_name};
use super::{Candidate, Facts, Steps, Tri};
use crate::tame;

/// Names by number, and numbers by name.
#[derive(Debug, Default)]
struct Names {
    all: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let number = self.all.len() as u32;
        self.all.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        self.all.get(number as usize).map(|name| &**name).unwrap_or_default()
    }
}

/// Family and table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Table {
    family: u32,
    name: u32,
}

/// A chain, or a set, of a table.
type Key = (Table, u32);

/// One rule: where its expressions are.
#[derive(Clone, Copy, Debug)]
struct Entry {
    handle: u64,
    first: u32,
    count: u32,
}

/// What a verdict does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// `drop` `reject`
    Refuses,
    /// `accept`, and the translations that are one.
    Ends,
    Returns,
    Jumps(u32),
    Goes(u32),
    Unknown,
}

/// What a rule does with a packet, in the order in which it does; what changes nothing for the packet's way is
/// left out.
#[derive(Debug)]
enum Expression {
    Match {
        left: u16,
        op: Op,
        right: Right,
    },
    /// One of iptables, which `iptables-nft-save` shows.
    ForeignMatch,
    /// A target of iptables, by the number of its name.
    ForeignTarget(u32),
    Verdict(Verdict),
    /// A verdict by what the packet shows.
    Map {
        left: u16,
        verdicts: Box<[(Right, Verdict)]>,
    },
    NamedMap {
        left: u16,
        name: u32,
    },
    /// The packet may end here.
    MayEnd,
    /// It may go no further in the rule.
    MayHold,
}

/// A chain that a hook runs.
#[derive(Debug)]
struct Base {
    key: Key,
    hook: Box<str>,
    priority: i64,
    drops: bool,
    /// The devices whose hook it is; none: everybody's.
    devices: Vec<Box<str>>,
}

impl Base {
    fn is_of(&self, device: &str) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|own| is_name(device, own))
    }
}

/// All rules of a namespace.
#[derive(Debug, Default)]
pub struct Ruleset {
    names: Names,
    /// What comparisons look at, each once.
    lefts: Vec<Left>,
    expressions: Vec<Expression>,
    chains: HashMap<Key, Vec<Entry>>,
    bases: Vec<Base>,
    sets: HashMap<Key, Elements>,
    maps: HashMap<Key, Box<[(Right, Verdict)]>>,
    /// Readable text by table and handle, of the rules that may be named.
    texts: HashMap<(Table, u64), Box<str>>,
    /// Rules whose text is wanted.
    named: HashSet<(Table, u64)>,
    /// What `iptables-nft-save` and `ip6tables-nft-save` know of rules that nft shows in part only.
    saved: [Saved; 2],
    has_foreign: [bool; 2],
    /// Bytes, about.
    size: usize,
}

/// How much of all texts is kept, bytes.
const MAX_TEXTS: usize = 6 << 20;

impl Ruleset {
    /// From the JSON.
    ///
    /// # Errors
    /// It is no listing of rules, or one of more rules than are held; or those of `json`.
    pub fn parse(json: impl BufRead) -> io::Result<Self> {
        listing::read(json)
    }

    /// Learns from `nft -a list ruleset` how people write the rules that may be named.
    ///
    /// # Errors
    /// Those of `readable`.
    pub fn learn_texts(&mut self, readable: impl BufRead) -> io::Result<()> {
        let named = std::mem::take(&mut self.named);
        let (mut table, mut room) = (None, MAX_TEXTS);
        tame::lines(readable, |line, _| {
            let Some((rule, handle)) = line.rsplit_once(" # handle ") else { return Ok(()) };
            let mut words = rule.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("table"), Some(family), Some(name)) => {
                    let number = |name| self.names.numbers.get(name).copied();
                    let both = number(family).zip(number(name));
                    table = both.map(|(family, name)| Table { family, name });
                }
                (Some("chain" | "set" | "map"), ..) => {}
                _ => {
                    let key = table.zip(handle.trim().parse().ok());
                    let Some(key) = key.filter(|key| named.contains(key)) else {
                        return Ok(());
                    };
                    let text = rule.trim();
                    if let Some(left) = room.checked_sub(text.len()) {
                        room = left;
                        self.texts.insert(key, text.into());
                        self.size += text.len() + 64;
                    }
                }
            }
            Ok(())
        })
    }

    /// Whether there are matches of iptables, or of ip6tables, that nft has no words for.
    pub fn has_foreign(&self) -> [bool; 2] {
        self.has_foreign
    }

    /// Learns them: `v6`: of ip6tables.
    pub fn learn_foreign(&mut self, v6: bool, saved: Saved) {
        self.size += saved.size();
        self.saved[usize::from(v6)] = saved;
    }

    /// Whether some rule asks for a source port.
    pub fn asks_for_source_port(&self) -> bool {
        self.lefts.iter().any(Left::is_source_port)
            || self.saved.iter().any(Saved::asks_for_source_port)
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The rules that may have dropped the packet, in the order in which it met them. `families`:
    /// whose chains the kernel was in, where that is known.
    pub fn candidates(
        &self,
        facts: &Facts,
        families: &[&str],
        steps: &mut Steps,
    ) -> Vec<Candidate> {
        let shown: Vec<_> = self.lefts.iter().map(|left| left.shown(facts)).collect();
        let mut found = Vec::new();
        for base in &self.bases {
            let own = facts.at_device.as_deref().is_none_or(|device| base.is_of(device));
            let family = self.names.name(base.key.0.family);
            if !own || *base.hook != *facts.hook.point.name() || !families.contains(&family) {
                continue;
            }
            let mut search = Search::new(self, facts, &shown, base, steps);
            if search.run(base.key, base.drops, &mut found) {
                break;
            }
        }
        found
    }
}

/// The rule surely drops whatever comes to it.
fn is_certain(reached: Tri, holds: Tri) -> bool {
    reached.and(holds) == Tri::Yes
}

#[cfg(test)]
mod tests;
