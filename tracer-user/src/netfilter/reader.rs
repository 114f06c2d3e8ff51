//! Reads the rules of a namespace with the programs that own them, once for all packets that they
//! dropped: until the namespace's generation changes ([`generation`]), or for a second where there is
//! none (the tables of the older iptables have none, and change without a trace).
//!
//! The counters of rules are not kept: they would be those of the moment of reading.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dropped::Dropped;
use super::nfnetlink::generation;
use super::program::{Halt, Limits, Needs, run};
use super::turn;
use crate::topology::{Netns, enter};
use tracer_core::record::{self, Netfilter, Rule};
use tracer_core::ruleset::{Facts, Ruleset, Saved, Steps, parse_saved};
use tracer_core::verdict::hook::Layer;

/// How long one reading may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much one program may print. It is not held: see [`Ruleset::parse`].
const MAX_PRINTED: u64 = 256 << 20;
/// How long rules without a generation are taken for what they were, and how long it is put up with that
/// they could not be read.
const FRESH: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
/// Between two readings of a namespace lies so many times what the last one took: rules that change all
/// the time are not read all the time.
const PAUSE: u32 = 2;
/// How much the rules of all namespaces together may take, bytes.
const MAX_SIZE: usize = 24 << 20;
/// Of how many namespaces.
const MAX_NAMESPACES: usize = 32;
/// How many findings are kept with the rules.
const MAX_FINDINGS: usize = 2048;
/// How many rules are looked at before the rules are read again, for all packets together: some
/// ten seconds.
const MAX_STEPS: u64 = 1_000_000_000;

/// The rules of the namespaces that were asked about last.
pub(super) struct Rulesets {
    /// The latest is the last.
    known: Vec<Known>,
    halt: Halt,
}

/// Something that was read, or why it was not.
struct Reading<T> {
    what: Result<T, String>,
    at: Instant,
    took: Duration,
}

impl<T> Reading<T> {
    fn of(read: impl FnOnce() -> io::Result<T>) -> Self {
        let at = Instant::now();
        let what = read().map_err(|e| e.to_string());
        Self { what, at, took: at.elapsed() }
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        self.at.elapsed() < age.max(self.took)
    }

    /// Waits until it may be read again.
    fn pause(&self, halt: &Halt) {
        const LOOK: Duration = Duration::from_millis(10);
        while self.at.elapsed() < self.took.saturating_mul(1 + PAUSE) && !halt.is_set() {
            std::thread::sleep(LOOK);
        }
    }
}

/// What is known of one namespace.
struct Known {
    netns: Arc<Netns>,
    generation: Option<u32>,
    nft: Reading<Ruleset>,
    asks_for_source_port: bool,
    /// The older iptables' rules, and ip6tables'.
    legacy: [Option<Reading<Saved>>; 2],
    findings: HashMap<(Facts, Vec<&'static str>, bool), Arc<Finding>>,
    steps: u64,
}

/// Which rules may have dropped a packet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Finding {
    rules: Arc<[Rule]>,
    certain: bool,
    partial: bool,
    read: Vec<String>,
    failed: Option<String>,
}

/// What a namespace says of its rules before they are read.
struct State {
    generation: Option<u32>,
    /// It has tables of the older iptables, and ip6tables.
    has_legacy: [bool; 2],
}

impl Rulesets {
    /// None is known.
    pub fn new(halt: Halt) -> Self {
        Self { known: Vec::new(), halt }
    }

    /// Which rules dropped these packets, each told to `tell`. `now`: nanoseconds since the trace began.
    pub fn blame(
        &mut self,
        (netns, name): (&Arc<Netns>, &record::Netns),
        dropped: &[Dropped],
        now: u64,
        mut tell: impl FnMut(Netfilter),
    ) {
        let state = enter(netns, || generation().map(State::of)).and_then(|state| state);
        let finding = |why: String| Arc::new(Finding { failed: Some(why), ..Finding::default() });
        let halt = self.halt.clone();
        let known = state.map(|state| (self.known(netns, &state), state));
        match known {
            Err(e) => {
                let why = finding(e.to_string());
                for one in dropped {
                    tell(record(one, name, now, &why));
                }
            }
            Ok((known, state)) => {
                for one in dropped {
                    let found = if halt.is_set() {
                        finding("the trace ended before they were".to_owned())
                    } else {
                        known.find(one, &state, &halt)
                    };
                    tell(record(one, name, now, &found));
                }
            }
        }
    }

    /// The rules as they are now.
    fn known(&mut self, netns: &Arc<Netns>, state: &State) -> &mut Known {
        let at = self.known.iter().position(|known| Arc::ptr_eq(&known.netns, netns));
        let known = at.map(|at| self.known.remove(at));
        let known = match known {
            Some(known) if known.is_current(state) => known,
            known => {
                if let Some(known) = known {
                    known.nft.pause(&self.halt);
                }
                Known::read(netns.clone(), state.generation, &self.halt)
            }
        };
        let size = |known: &Known| known.size();
        let mut all = size(&known) + self.known.iter().map(size).sum::<usize>();
        while !self.known.is_empty() && (all > MAX_SIZE || self.known.len() >= MAX_NAMESPACES) {
            all -= size(&self.known.remove(0));
        }
        self.known.push(known);
        let last = self.known.len() - 1;
        &mut self.known[last]
    }
}

impl State {
    /// In the namespace that the calling thread is in.
    fn of(generation: Option<u32>) -> Self {
        let has_legacy = ["ip_tables_names", "ip6_tables_names"].map(|names| {
            let names = std::fs::read_to_string(format!("/proc/thread-self/net/{names}"));
            names.is_ok_and(|names| !names.trim().is_empty())
        });
        Self { generation, has_legacy }
    }
}

fn limits(halt: &Halt) -> Limits {
    Limits { until: Instant::now() + PATIENCE, bytes: MAX_PRINTED, halt: halt.clone() }
}

impl Known {
    fn read(netns: Arc<Netns>, generation: Option<u32>, halt: &Halt) -> Self {
        let nft = Reading::of(|| nft(&netns, halt));
        Self {
            asks_for_source_port: nft.what.as_ref().is_ok_and(Ruleset::asks_for_source_port),
            netns,
            generation,
            nft,
            legacy: [None, None],
            findings: HashMap::new(),
            steps: MAX_STEPS,
        }
    }

    /// Whether its rules of nftables are those of now.
    fn is_current(&self, state: &State) -> bool {
        match (&self.nft.what, self.generation) {
            (Ok(_), Some(_)) => self.generation == state.generation,
            (Ok(_), None) => state.generation.is_none() && self.nft.is_younger_than(FRESH),
            (Err(_), _) => self.nft.is_younger_than(RETRY),
        }
    }

    fn size(&self) -> usize {
        let legacy = self.legacy.iter().flatten().filter_map(|read| read.what.as_ref().ok());
        let nft = self.nft.what.as_ref().map_or(0, Ruleset::size);
        nft + legacy.map(Saved::size).sum::<usize>() + self.findings.len() * 512
    }

    fn find(&mut self, dropped: &Dropped, state: &State, halt: &Halt) -> Arc<Finding> {
        let v6 = !dropped.facts.is_v4();
        let of_ip = matches!(dropped.facts.hook.layer, Layer::Bridged | Layer::Ip);
        let with_legacy = of_ip && !dropped.in_nft && state.has_legacy[usize::from(v6)];
        let mut asks = self.asks_for_source_port;
        if with_legacy {
            let kept = self.legacy[usize::from(v6)].take().filter(|r| r.is_younger_than(FRESH));
            let read = kept.unwrap_or_else(|| {
                self.findings.clear();
                Reading::of(|| legacy(&self.netns, v6, halt))
            });
            asks |= read.what.as_ref().is_ok_and(Saved::asks_for_source_port);
            self.legacy[usize::from(v6)] = Some(read);
        }
        let mut facts = dropped.facts.clone();
        if !asks {
            facts.forget_source_port();
        }
        let key = (facts, dropped.families.clone(), with_legacy);
        if let Some(found) = self.findings.get(&key) {
            return found.clone();
        }
        let (found, taken) = self.candidates(dropped, with_legacy);
        self.steps = self.steps.saturating_sub(u64::from(taken));
        let found = self
            .findings
            .values()
            .find(|known| ***known == found)
            .cloned()
            .unwrap_or_else(|| Arc::new(found));
        if self.findings.len() >= MAX_FINDINGS {
            self.findings.clear();
        }
        self.findings.insert(key, found.clone());
        found
    }

    /// How many rules were looked at, too.
    fn candidates(&self, dropped: &Dropped, with_legacy: bool) -> (Finding, u32) {
        let failed = |why: &str| Finding { failed: Some(why.to_owned()), ..Finding::default() };
        if self.steps == 0 {
            return (failed("there are too many rules for so many packets"), 0);
        }
        let (facts, mut steps) = (&dropped.facts, Steps::default());
        let (mut found, mut read) = (Vec::new(), Vec::new());
        match &self.nft.what {
            Ok(rules) => {
                found.extend(rules.candidates(facts, &dropped.families, &mut steps));
                read.extend(dropped.families.iter().map(|family| (*family).to_owned()));
            }
            Err(why) if !with_legacy => return (failed(why), 0),
            Err(_) => {}
        }
        if with_legacy {
            match self.legacy[usize::from(!facts.is_v4())].as_ref().map(|read| &read.what) {
                Some(Ok(saved)) => {
                    found.extend(saved.candidates(facts, &mut steps));
                    let own = if facts.is_v4() { "iptables" } else { "ip6tables" };
                    read.push(own.to_owned());
                }
                Some(Err(why)) => return (failed(why), steps.taken()),
                None => {}
            }
        }
        let finding = Finding {
            certain: found.first().is_some_and(|c| c.certain),
            rules: found.into_iter().map(|c| c.rule).collect(),
            partial: steps.are_used_up(),
            read,
            failed: None,
        };
        (finding, steps.taken())
    }
}

fn record(dropped: &Dropped, netns: &record::Netns, now: u64, found: &Finding) -> Netfilter {
    Netfilter {
        ts: now,
        netns: netns.clone(),
        tuple: dropped.tuple,
        hook: dropped.facts.hook.name(),
        way: "rules".to_owned(),
        rules: found.rules.clone(),
        certain: found.certain,
        partial: found.partial,
        read: found.read.clone(),
        failed: found.failed.clone(),
    }
}

/// The rules of nftables.
fn nft(netns: &Netns, halt: &Halt) -> io::Result<Ruleset> {
    let limits = limits(halt);
    let _turn = turn::take(&limits)?;
    let json = ("nft", &["-j", "-n", "list", "ruleset"][..]);
    let mut rules = run(netns, json, Needs::Rules, &limits, |out| Ruleset::parse(out))?;
    // How people write them. `-s`: without counters.
    let readable = ("nft", &["-s", "-a", "list", "ruleset"][..]);
    run(netns, readable, Needs::Rules, &limits, |out| rules.learn_texts(out))?;
    // Matches of iptables that nft has no words for.
    for (v6, _) in [false, true].into_iter().zip(rules.has_foreign()).filter(|(_, has)| *has) {
        match saved(netns, prefix(v6), "nft-save", &limits) {
            Ok(saved) => rules.learn_foreign(v6, saved),
            Err(e) => log::info!("what nft does not show of {}: {e}", prefix(v6)),
        }
    }
    Ok(rules)
}

/// The rules of the older iptables, or ip6tables.
fn legacy(netns: &Netns, v6: bool, halt: &Halt) -> io::Result<Saved> {
    let limits = limits(halt);
    let _turn = turn::take(&limits)?;
    saved(netns, prefix(v6), "legacy-save", &limits)
}

fn prefix(v6: bool) -> &'static str {
    if v6 { "ip6tables" } else { "iptables" }
}

/// What `iptables-KIND` prints, or `iptables-save` where there is but one kind.
fn saved(netns: &Netns, prefix: &str, kind: &str, limits: &Limits) -> io::Result<Saved> {
    let read =
        |name: String| run(netns, (&name, &[]), Needs::LegacyRules, limits, |out| parse_saved(out));
    match read(format!("{prefix}-{kind}")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => read(format!("{prefix}-save")),
        read => read,
    }
}
