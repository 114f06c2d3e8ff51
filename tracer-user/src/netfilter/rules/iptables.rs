//! The rules of iptables, as `iptables-save` prints them.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Candidate, Facts, Tri};
use crate::model::{Jump, Proto, Rule};
use crate::verdict::hook::HookPoint;

/// How deep chains may call each other.
const MAX_DEPTH: usize = 16;
/// The tables in the order in which a hook runs them, with their priorities
/// (`include/uapi/linux/netfilter_ipv4.h`, `enum nf_ip_hook_priorities`).
const TABLES: [(&str, i64); 5] =
    [("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)];

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRule {
    words: Vec<String>,
    line: String,
}

/// All rules of one address family.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    chains: HashMap<(String, String), Vec<SavedRule>>,
    policies: HashMap<(String, String), String>,
}

/// Reads what `iptables-save` prints, with or without `-c`.
pub fn parse(text: &str) -> Saved {
    let mut all = Saved::default();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            name.trim().clone_into(&mut table);
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            if let (Some(name), Some(policy)) = (words.next(), words.next()) {
                all.policies.insert((table.clone(), name.to_owned()), policy.to_owned());
            }
        } else if let Some((_, rule)) = line.split_once("-A ") {
            let words = split(rule);
            let Some((chain, rest)) = words.split_first() else { continue };
            let rule = SavedRule { words: rest.to_vec(), line: format!("-A {rule}") };
            all.chains.entry((table.clone(), chain.clone())).or_default().push(rule);
        }
    }
    all
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
    /// The rule with this number in its chain, from 0.
    pub fn rule(&self, table: &str, chain: &str, number: usize) -> Option<&SavedRule> {
        self.chains.get(&(table.to_owned(), chain.to_owned()))?.get(number)
    }

    /// The rules that may have dropped the packet, as [`super::Ruleset::candidates`].
    pub fn candidates(&self, facts: &Facts) -> Vec<Candidate> {
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
            let (via, found_here) = (Vec::new(), Vec::new());
            let mut search = Search { saved: self, facts, table, priority, via, found: found_here };
            let end = search.chain(chain, Tri::Yes, 0);
            let policy = self.policies.get(&(table.to_owned(), chain.to_owned()));
            if policy.is_some_and(|p| p == "DROP") && end != Some(Tri::No) {
                let certain = end.is_none();
                search.found.push(search.candidate(chain, None, certain));
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
    saved: &'a Saved,
    facts: &'a Facts,
    table: &'static str,
    priority: i64,
    /// The jumps that led to the chain that is being looked at.
    via: Vec<Jump>,
    found: Vec<Candidate>,
}

impl Search<'_> {
    /// Whether the packet comes to the end of the chain: `None` surely, `Maybe`, `No`.
    fn chain(&mut self, chain: &str, reached: Tri, depth: usize) -> Option<Tri> {
        let key = (self.table.to_owned(), chain.to_owned());
        let rules = self.saved.chains.get(&key).map_or(&[][..], Vec::as_slice);
        if depth >= MAX_DEPTH {
            return Some(Tri::Maybe);
        }
        let (mut reached, mut end) = (reached, None);
        for (number, rule) in rules.iter().enumerate() {
            let holds = rule.holds(self.facts);
            let Some((goto, target)) = rule.target().filter(|_| holds != Tri::No) else { continue };
            let surely = holds == Tri::Yes;
            let after = match target {
                "DROP" | "REJECT" => {
                    let certain = reached.and(holds) == Tri::Yes;
                    self.found.push(self.candidate(chain, Some((number, rule)), certain));
                    Some(Tri::No)
                }
                "ACCEPT" => Some(Tri::No),
                "RETURN" if surely => return end,
                "RETURN" => {
                    reached = Tri::Maybe;
                    continue;
                }
                own if self
                    .saved
                    .policies
                    .contains_key(&(self.table.to_owned(), own.to_owned())) =>
                {
                    let text = Some(rule.line.clone());
                    self.via.push(Jump { chain: chain.to_owned(), text });
                    let after = self.chain(own, reached.and(holds), depth + 1);
                    self.via.pop();
                    if goto && surely && after != Some(Tri::No) {
                        return after.or(end);
                    }
                    after
                }
                target if goes_on(target) => continue,
                "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" => Some(Tri::No),
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

    fn candidate(
        &self,
        chain: &str,
        rule: Option<(usize, &SavedRule)>,
        certain: bool,
    ) -> Candidate {
        let family = if self.facts.src.is_ipv4() { "iptables" } else { "ip6tables" };
        let rule = Rule {
            family: family.to_owned(),
            table: self.table.to_owned(),
            chain: chain.to_owned(),
            handle: None,
            number: rule.map(|(number, _)| number as u64 + 1),
            priority: Some(self.priority),
            text: Some(rule.map_or_else(|| "policy DROP".to_owned(), |(_, r)| r.line.clone())),
            via: self.via.clone(),
        };
        Candidate { rule, certain }
    }
}

impl SavedRule {
    /// Where it jumps (`-j`) or goes (`-g`) to.
    pub(super) fn target(&self) -> Option<(bool, &str)> {
        let at = self.words.iter().position(|w| w == "-j" || w == "-g")?;
        Some((self.words.get(at)? == "-g", self.words.get(at + 1)?))
    }

    /// Whether the packet matches.
    pub fn holds(&self, facts: &Facts) -> Tri {
        let mut all = Tri::Yes;
        let mut negated = false;
        let mut words = self.words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_default();
            let told = match word {
                "!" => {
                    negated = true;
                    continue;
                }
                "-j" | "-g" => break,
                "-m" => Tri::of(is_known_match(value())).or(Tri::Maybe),
                "--comment" => {
                    value();
                    Tri::Yes
                }
                "-p" => is_proto(value(), facts),
                "-s" => is_in(value(), facts.src),
                "-d" => is_in(value(), facts.dst),
                "-i" => is_device(value(), facts.iif.as_deref()),
                "-o" => is_device(value(), facts.oif.as_deref()),
                "--sport" | "--sports" => is_port(value(), facts.sport, facts),
                "--dport" | "--dports" => is_port(value(), facts.dport, facts),
                "--ports" => {
                    let ports = value();
                    is_port(ports, facts.sport, facts).or(is_port(ports, facts.dport, facts))
                }
                "--ctstate" | "--state" => is_state(value(), facts),
                "--tcp-flags" => has_flags(value(), value(), facts),
                "--icmp-type" | "--icmpv6-type" => is_icmp(value(), facts),
                "-f" => Tri::of(facts.fragment != 0),
                _ => Tri::Maybe,
            };
            all = all.and(if negated { told.not() } else { told });
            negated = false;
        }
        all
    }
}

fn is_known_match(name: &str) -> bool {
    matches!(
        name,
        "tcp" | "udp" | "sctp" | "conntrack" | "state" | "comment" | "multiport" | "icmp" | "icmp6"
    )
}

fn is_proto(name: &str, facts: &Facts) -> Tri {
    let number = match name {
        "all" => return Tri::Yes,
        "ipv6-icmp" | "icmpv6" => Some(58),
        _ => name.parse().ok().or_else(|| Proto::parse(name)?.number()),
    };
    number.map_or(Tri::Maybe, |n| Tri::of(facts.proto.number() == Some(n)))
}

fn is_in(net: &str, addr: IpAddr) -> Tri {
    let parsed = net.parse::<IpNet>().ok().or_else(|| net.parse::<IpAddr>().ok().map(IpNet::from));
    parsed.map_or(Tri::Maybe, |net| Tri::of(net.contains(&addr)))
}

fn is_device(wanted: &str, name: Option<&str>) -> Tri {
    name.map_or(Tri::Maybe, |name| {
        Tri::of(match wanted.strip_suffix('+') {
            Some(front) => name.starts_with(front),
            None => name == wanted,
        })
    })
}

/// Ports and ranges, comma between them.
fn is_port(wanted: &str, port: Option<u16>, facts: &Facts) -> Tri {
    let Some(port) = port else {
        return if facts.is_tunnel { Tri::Maybe } else { Tri::No };
    };
    let one = |part: &str| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let from = if from.is_empty() { Some(0) } else { from.parse().ok() };
        let to = if to.is_empty() { Some(u16::MAX) } else { to.parse().ok() };
        from.zip(to).map_or(Tri::Maybe, |(from, to)| Tri::of((from..=to).contains(&port)))
    };
    wanted.split(',').map(one).fold(Tri::No, Tri::or)
}

fn is_state(wanted: &str, facts: &Facts) -> Tri {
    let own = match facts.ct_state.as_deref() {
        None => "INVALID",
        Some("established" | "reply") => "ESTABLISHED",
        Some("related" | "related-reply") => "RELATED",
        Some("new") => "NEW",
        Some("untracked") => "UNTRACKED",
        Some(_) => return Tri::Maybe,
    };
    // SNAT and DNAT are states to iptables, too.
    let known = wanted.split(',').all(|s| !matches!(s, "SNAT" | "DNAT"));
    let has = wanted.split(',').any(|s| s == own);
    if has || known { Tri::of(has) } else { Tri::Maybe }
}

fn has_flags(mask: &str, set: &str, facts: &Facts) -> Tri {
    let bits = |names: &str| {
        names.split(',').try_fold(0_u8, |sum, name| {
            let bit = match name {
                "FIN" => 1,
                "SYN" => 2,
                "RST" => 4,
                "PSH" => 8,
                "ACK" => 16,
                "URG" => 32,
                "NONE" => 0,
                "ALL" => 63,
                _ => return None,
            };
            Some(sum | bit)
        })
    };
    match (bits(mask), bits(set), facts.tcp_flags) {
        (Some(mask), Some(set), Some(flags)) => Tri::of(flags & mask == set),
        (_, _, None) => Tri::No,
        _ => Tri::Maybe,
    }
}

fn is_icmp(wanted: &str, facts: &Facts) -> Tri {
    let Some((kind, code)) = facts.icmp else { return Tri::No };
    let (kind_wanted, code_wanted) =
        wanted.split_once('/').map_or((wanted, None), |(k, c)| (k, Some(c)));
    match (kind_wanted.parse::<u8>(), code_wanted.map(str::parse::<u8>)) {
        (Ok(k), None) => Tri::of(k == kind),
        (Ok(k), Some(Ok(c))) => Tri::of(k == kind && c == code),
        _ => Tri::Maybe,
    }
}

#[cfg(test)]
mod tests;
