//! Why netfilter dropped a packet, or routing, where more is known than that it did.

use std::net::IpAddr;

use crate::reconstruct::asked::{is_datapath, is_netfilter};
use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::segment::Misfit;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{Conntrack, CtEntry, Jump, Rule, TcpFlags};
use crate::verdict::hook::{Hook, HookPoint, Layer};
use crate::verdict::{next, routing, words};

/// What is known of a drop.
#[derive(Debug)]
pub struct Explained {
    /// Goes on from `was dropped …: `.
    pub words: String,
    /// Commands worth running.
    pub next: Vec<String>,
}

/// Why it was dropped, if conntrack, the rules or the routes can tell.
pub fn explain(flow: &Flow, loss: &Loss) -> Option<Explained> {
    let at = &*loss.at;
    if is_datapath(at.raw_reason(), at.symbol()) {
        return clash(flow, at);
    }
    if !is_netfilter(at.raw_reason(), at.symbol()) {
        return routing::explain(flow, loss);
    }
    let mut found = clash(flow, at).or_else(|| full(flow, at)).or_else(|| by_rule(flow, at))?;
    if let Some(why) = invalid(flow, loss) {
        found.words.push_str(&why);
    }
    Some(found)
}

/// What conntrack could make nothing of carries no entry, although the namespace tracks the flow
/// (`nf_conntrack_in`): why, as far as it can be told.
fn invalid(flow: &Flow, loss: &Loss) -> Option<String> {
    let at = &*loss.at;
    let hook = Hook::of(at.cause.as_deref()?)?;
    let tracked = matches!(hook.layer, Layer::Ip | Layer::Bridged)
        && matches!(hook.point, HookPoint::Input | HookPoint::Forward | HookPoint::Postrouting);
    let by_state = flow.rules.iter().any(|answer| {
        let texts = answer.rules.iter().filter_map(|r| r.text.as_deref());
        texts.into_iter().any(|text| text.to_lowercase().contains("invalid"))
    });
    if at.ct.is_some() || at.tunnel.is_some() || !tracked || !by_state {
        return None;
    }
    if let Some(why) = unfit(flow, loss) {
        return Some(format!(". Conntrack called it invalid: {why}"));
    }
    let own = |a: &&Conntrack| a.tuple == at.tuple;
    let answer = answers(flow, at).find(own).filter(|a| a.failed.is_none())?;
    let opens = at.tcp.is_none_or(TcpFlags::is_syn);
    Some(match &answer.entry {
        Some(found) => format!(
            ". Conntrack knows the connection, {}, and called this packet invalid all the same: its \
             flags do not fit the state, or what is not on the record (its numbers, its checksum) is \
             wrong",
            entry(found)
        ),
        None if opens => ". Conntrack has no entry for it and made none".to_owned(),
        None => {
            ". Conntrack called it invalid: it has no entry for the connection, and this packet \
                 does not open one"
                .to_owned()
        }
    })
}

/// What is wrong with the packet itself, in the light of the connection's others before it.
pub fn unfit(flow: &Flow, loss: &Loss) -> Option<String> {
    let of_first = if loss.count > 1 { "of the first of them, " } else { "" };
    wrong_with_first(flow, loss).map(|wrong| format!("{of_first}{wrong}"))
}

fn wrong_with_first(flow: &Flow, loss: &Loss) -> Option<String> {
    let mut sights = [&loss.at, &loss.first].into_iter().chain(&loss.before);
    if sights.any(|sight| sight.bad_checksum) {
        return Some("its checksum is wrong: it was damaged on the way, or forged".to_owned());
    }
    let at = &*loss.first;
    if at.tcp.is_some_and(|flags| !flags.is_possible()) {
        return Some("no TCP sends its flags together".to_owned());
    }
    let segment = at.segment.as_ref()?;
    // Events that were lost may be the segments that it does fit.
    Some(match loss.misfit.filter(|_| !flow.incomplete)? {
        Misfit::Beyond(by) => format!(
            "its sequence number {} is outside of the window, {by} bytes beyond what the other side \
             has room for",
            segment.seq
        ),
        Misfit::Before(by) => format!(
            "its sequence number {} is outside of the window, {by} bytes before what may still be \
             repeated",
            segment.seq
        ),
        Misfit::Acknowledged(by) => format!(
            "its sequence number {} is outside of the window, {by} bytes before what the other side \
             has already acknowledged",
            segment.seq
        ),
        Misfit::Unsent(by) => format!(
            "its acknowledgement number {} is outside of the window, {by} bytes beyond what the \
             other side has sent",
            segment.ack.unwrap_or_default()
        ),
    })
}

/// The rules that may have dropped it, or at least the hook.
pub fn by_rule(flow: &Flow, at: &Sight) -> Option<Explained> {
    let hook = Hook::of(at.cause.as_deref()?)?;
    let netns = at.site.netns.as_ref()?.inode;
    let tuple = at.tuple?;
    let answer = flow.rules.iter().rfind(|answer| {
        answer.netns.inode == netns && answer.tuple == tuple && answer.hook == hook.name()
    });
    let spot = next::Spot::new(at, None);
    let name = hook.name();
    let Some(answer) = answer.filter(|answer| answer.failed.is_none()) else {
        let why = answer.and_then(|a| a.failed.as_deref());
        let why = why.map(|w| format!(" (the rules could not be read: \"{}\")", words::safe(w)));
        return Some(Explained {
            words: format!("netfilter refused it in its {name} hook{}", why.unwrap_or_default()),
            next: all_rules(hook, &spot),
        });
    };
    let words = match &answer.rules[..] {
        [] if answer.partial => format!(
            "netfilter refused it in its {name} hook, by one of more rules than could be held against it"
        ),
        [] => format!("netfilter refused it in its {name} hook, {}", no_rule(&answer.read)),
        [one] if answer.certain => format!("{} refused it in the {name} hook", rule(one)),
        [one] if !answer.partial => {
            format!("{} is the only one in the {name} hook that can have refused it", rule(one))
        }
        several => {
            let all: Vec<_> = several.iter().take(SHOWN).map(rule).collect();
            let more = if answer.partial { "more than " } else { "" };
            format!(
                "one of {more}{} rules in the {name} hook refused it, and the record does not tell \
                 which: {}",
                several.len(),
                all.join("; ")
            )
        }
    };
    let own: Vec<_> = answer.rules.first().map_or_else(Vec::new, |rule| {
        let chain = spot.run(&list(rule));
        let caller = rule.via.last().map(|jump| Rule { chain: jump.chain.clone(), ..rule.clone() });
        let caller = caller.map(|caller| spot.run(&list(&caller)));
        std::iter::once(chain)
            .chain(caller)
            .chain(ebtables(rule).map(|also| spot.run(&also)))
            .collect()
    });
    Some(Explained {
        words: words + &carried(at),
        next: if own.is_empty() { all_rules(hook, &spot) } else { own },
    })
}

/// A bridge's chain that has ebtables' name may be one of its own: then it shows the matches, of
/// which nft has no words for some.
fn ebtables(rule: &Rule) -> Option<String> {
    let own = matches!(rule.table.as_str(), "filter" | "nat" | "broute")
        && matches!(
            rule.chain.as_str(),
            "INPUT" | "FORWARD" | "OUTPUT" | "PREROUTING" | "POSTROUTING" | "BROUTING"
        );
    (rule.family == "bridge" && own)
        .then(|| format!("ebtables -t {} -L {} --Lc", rule.table, rule.chain))
}

/// What the hook saw of a packet that a tunnel carries.
fn carried(at: &Sight) -> String {
    let Some(tunnel) = at.tunnel.as_deref() else { return String::new() };
    let kind = words::safe(&tunnel.kind);
    format!(", which saw the {kind} packet around it ({} -> {})", tunnel.src, tunnel.dst)
}

/// Not one of those that were read: what else may have dropped it was not read, or is no rule.
fn no_rule(read: &[String]) -> String {
    let (older, families): (Vec<&str>, Vec<&str>) =
        read.iter().map(String::as_str).partition(|whose| is_iptables(whose));
    let families =
        (!families.is_empty()).then(|| format!("nftables' {} rules", families.join(" and ")));
    let older = (!older.is_empty()).then(|| format!("those of {}", older.join(" and ")));
    let read: Vec<_> = families.into_iter().chain(older).collect();
    match read.as_slice() {
        [] => "by a rule that was not found, or by what is no rule".to_owned(),
        read => format!("but by none of {} as they were right after", read.join(" or ")),
    }
}

/// The commands that show every rule of a hook.
fn all_rules(hook: Hook, spot: &next::Spot<'_>) -> Vec<String> {
    let nft = spot.run("nft -a list ruleset");
    match hook.layer {
        Layer::Device => vec![nft],
        Layer::Bridge => vec![nft, spot.run("ebtables -L --Lc")],
        Layer::Arp => vec![nft, spot.run("arptables -vnL")],
        Layer::Bridged | Layer::Ip => {
            let save = if spot.is_v6() { "ip6tables-save -c" } else { "iptables-save -c" };
            vec![nft, spot.run(save)]
        }
    }
}

/// How many rules are named in a sentence.
const SHOWN: usize = 4;

/// `the rule "tcp dport 80 drop" (nftables: table inet filter, chain forward, handle 4)`.
fn rule(rule: &Rule) -> String {
    let text = rule.text.as_deref().map(|t| format!(" \"{}\"", words::safe(t))).unwrap_or_default();
    let (table, chain) = (words::safe(&rule.table), words::safe(&rule.chain));
    let place = if is_iptables(&rule.family) {
        format!("{}: table {table}, chain {chain}", rule.family)
    } else {
        let priority = rule.priority.map(|p| format!(", priority {p}")).unwrap_or_default();
        format!("nftables: table {} {table}, chain {chain}{priority}", words::safe(&rule.family))
    };
    let via = come_by(rule);
    match (rule.handle, rule.number) {
        (Some(handle), _) => format!("the rule{text} ({place}, handle {handle}{via})"),
        (None, Some(number)) => format!("the rule{text} ({place}, rule number {number}{via})"),
        (None, None) => format!("the chain's own{text} ({place})"),
    }
}

/// `; come to from chain forward by "tcp dport 80 jump refuse"`: it is often that rule which says what is
/// refused.
fn come_by(rule: &Rule) -> String {
    let jump = |jump: &Jump| {
        let text = jump.text.as_deref().map(|t| format!(" by \"{}\"", words::safe(t)));
        format!("chain {}{}", words::safe(&jump.chain), text.unwrap_or_default())
    };
    let jumps: Vec<_> = rule.via.iter().map(jump).collect();
    if jumps.is_empty() { String::new() } else { format!("; come to from {}", jumps.join(", ")) }
}

fn is_iptables(family: &str) -> bool {
    matches!(family, "iptables" | "ip6tables")
}

/// The command that shows the rule.
fn list(rule: &Rule) -> String {
    let (table, chain) = (words::shell(&rule.table), words::shell(&rule.chain));
    if is_iptables(&rule.family) {
        format!("{} -t {table} -vnL {chain} --line-numbers", rule.family)
    } else {
        format!("nft -a list chain {} {table} {chain}", words::shell(&rule.family))
    }
}

/// The answers of the namespace where it was dropped.
fn answers<'a>(flow: &'a Flow, at: &'a Sight) -> impl Iterator<Item = &'a Conntrack> {
    let here = at.site.netns.as_ref().map(|n| n.inode);
    flow.answers.iter().map(|a| &**a).filter(move |a| Some(a.netns.inode) == here)
}

/// Conntrack confirms an entry when its first packet leaves the last hook; where another entry has
/// one of its tuples by then, the packet is dropped (`__nf_conntrack_confirm`).
fn clash(flow: &Flow, at: &Sight) -> Option<Explained> {
    let own = at.ct.as_deref().filter(|ct| !ct.confirmed)?;
    let (orig, reply) = (own.orig?, own.reply?);
    let (tuple, holder) = answers(flow, at).find_map(|answer| {
        let tuple = answer.tuple?;
        let holder = answer.entry.as_ref().filter(|_| tuple == orig || tuple == reply)?;
        Some((tuple, holder))
    })?;
    let zone = own.zone.map(|z| format!(" in zone {z}")).unwrap_or_default();
    let words = format!(
        "conntrack could not confirm its entry{zone}: {} {} is taken already by the connection {}",
        if tuple == reply { "the reply tuple" } else { "the tuple" },
        words::ends(&tuple),
        entry(holder),
    );
    let spot = next::Spot::new(at, None);
    let list = |t: &FlowTuple| {
        let family = if matches!(t.src, IpAddr::V4(_)) { "ipv4" } else { "ipv6" };
        spot.run(&format!("conntrack -L -f {family} -p {} -r {}", t.proto, t.src))
    };
    Some(Explained {
        words,
        next: vec![list(&reply), spot.run("conntrack -S"), spot.run("nft list ruleset")],
    })
}

/// `10.0.0.1:1 -> 10.0.0.2:2, whose replies are 10.0.0.2:2 -> 10.0.0.9:1`.
fn entry(entry: &CtEntry) -> String {
    let ends = |t: &FlowTuple| Some(words::ends(t));
    let orig = entry.orig.as_ref().and_then(ends).unwrap_or_default();
    match entry.reply.as_ref().and_then(ends) {
        Some(reply) => format!("{orig} (its replies: {reply})"),
        None => orig,
    }
}

/// A namespace's table is full: a packet that would begin a connection is dropped where conntrack
/// first sees it (`__nf_conntrack_alloc`).
fn full(flow: &Flow, at: &Sight) -> Option<Explained> {
    let hook = Hook::of(at.cause.as_deref()?)?;
    let first_seen = matches!(hook.layer, Layer::Ip | Layer::Bridged)
        && matches!(hook.point, HookPoint::Prerouting | HookPoint::Output);
    if !first_seen || at.ct.is_some() || at.symbol().is_some_and(|s| s.starts_with("nft_")) {
        return None;
    }
    let (count, max) = answers(flow, at)
        .filter_map(|a| Some((a.count?, a.max.filter(|max| *max > 0)?)))
        .find(|(count, max)| count >= max)?;
    let spot = next::Spot::new(at, None);
    Some(Explained {
        words: format!("the conntrack table is full: {count} of {max} entries"),
        next: vec![
            spot.run("sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"),
            spot.run("conntrack -S"),
            "journalctl -k -g 'nf_conntrack: table full'".to_owned(),
        ],
    })
}

#[cfg(test)]
mod tests;
