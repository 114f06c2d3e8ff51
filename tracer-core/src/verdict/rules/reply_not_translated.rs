//! A reply came back with the translation still on it.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::nat::Step;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tracked::State;
use crate::record::{Conntrack, HookName, Outcome, Proto, Where};
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, next, words};

/// A reply of the flow ended where only a translated one has its place.
pub fn reply_not_translated(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst(flow, Outcome::ReplyNotTranslated)?;
    let at = &*loss.at;
    let step = flow.nat.undone_for(loss.first.tuple, at.tuple?)?;
    let passing = flow.nat.passing(step, &loss.evidence).map(|sight| &**sight);
    let passing = passing.filter(|_| step.is_placed());
    let is_stateless = is_stateless(flow, step);
    let text = format!(
        "{} not translated back, and ended{}{}{}. {}{}{}{}{}",
        sentence::subject(flow, loss),
        words::place(at),
        rewritten(step, loss),
        ending(at),
        outward(step),
        homeward(flow, step, passing, is_stateless),
        entry_now(flow, step, is_stateless),
        proof(flow, loss),
        others::rest(flow, loss),
    );
    Some(Finding {
        outcome: loss.outcome,
        place: at.place(),
        due: step.is_placed().then(|| due(step, passing)),
        reason: at.raw_reason().map(str::to_owned),
        text,
        next: commands(step, passing, loss, is_stateless),
        evidence: loss.evidence.iter().chain(&flow.nat.resets).copied().collect(),
        rule: None,
    })
}

/// Where the reverse was due: where the reply was seen last in the namespace that translates; where
/// it never came by there, that namespace.
fn due(step: &Step, passing: Option<&Sight>) -> Where {
    match passing {
        Some(sight) => sight.place(),
        None => Where { netns: step.at.place().netns, ..Where::default() },
    }
}

/// As what it ended, where something else than the reverse was made of it.
fn rewritten(step: &Step, loss: &Loss) -> String {
    match loss.at.tuple {
        Some(now) if !step.is_left_in(now) => {
            format!(" (by then rewritten to {})", words::ends(&now))
        }
        _ => String::new(),
    }
}

/// Translated by a rewrite that conntrack knows nothing of: neither had its packets an entry, nor is
/// there one.
fn is_stateless(flow: &Flow, step: &Step) -> bool {
    let without_entry = step.by_rule && step.entry.is_none();
    without_entry
        || step.is_without_entry()
            && answer(flow, step).is_some_and(|answer| answer.entry.is_none())
}

/// How it ended: ` as NO_SOCKET`.
fn ending(at: &Sight) -> String {
    match at.raw_reason() {
        Some("NO_SOCKET") => ", where no socket has these ends [NO_SOCKET]".to_owned(),
        Some(reason) => format!(", dropped [{}]", words::safe(reason)),
        None => String::new(),
    }
}

/// The translation that was made on the way out, and where.
fn outward(step: &Step) -> String {
    let what = match (step.is_source(), step.is_destination()) {
        (true, true) => "source and destination",
        (true, false) => "source",
        _ => "destination",
    };
    let zone = match step.entry.and_then(|e| e.zone) {
        Some(zone) => format!(" (conntrack zone {zone})"),
        None => String::new(),
    };
    let place = words::place(&step.at);
    let place = match step.before.as_deref() {
        Some(before) if !step.is_placed() => format!(
            " somewhere between{} and{place}",
            words::place(before).replacen(" in ", " ", 1)
        )
        .replacen("and in ", "and ", 1),
        _ => place,
    };
    format!(
        "On the way out the {what} was translated, {} to {},{place}{zone}; the reverse was due there.",
        words::ends(&step.from),
        words::ends(&step.to),
    )
}

/// What the reply met where the reverse was due.
fn homeward(flow: &Flow, step: &Step, passing: Option<&Sight>, is_stateless: bool) -> String {
    if !step.is_placed() {
        return " The host that translates was not traced: what the reply met there is unknown."
            .to_owned();
    }
    let netns = words::in_netns(step.at.site.netns.as_deref()).replacen(" in ", " ", 1);
    let Some(sight) = passing else {
        if flow.incomplete {
            return format!(" Whether the reply passed{netns} is not known.");
        }
        return format!(" The reply never passed{netns}: it took another way back.");
    };
    let place = words::place(sight);
    let why = match sight.ct.as_deref() {
        _ if sight.hook == HookName::TcIngress => {
            return format!(" The reply reached{netns}, and was seen there last{place}.");
        }
        None if is_stateless => "as it had come".to_owned(),
        None => "without a conntrack entry: none matched it, or conntrack never saw it".to_owned(),
        Some(ct) if ct.state == Some(State::Untracked) => {
            "untracked: a notrack rule keeps conntrack, and with it the translation, off it"
                .to_owned()
        }
        Some(ct) => {
            let zone = |z: Option<u16>| z.map_or_else(|| "?".to_owned(), |z| z.to_string());
            let made_by = step.entry;
            match made_by {
                Some(entry) if entry.zone != ct.zone => format!(
                    "looked up in conntrack zone {}, while the entry is one of zone {}",
                    zone(ct.zone),
                    zone(entry.zone)
                ),
                Some(entry) if entry.is_same(ct) => {
                    "with the very entry that should have translated it".to_owned()
                }
                _ if ct.translation().is_none() => {
                    "tracked as a connection of its own: the entry that translates was gone by then"
                        .to_owned()
                }
                _ => "with another entry than the one that should have translated it".to_owned(),
            }
        }
    };
    format!(" The reply passed it{place}, {why}.")
}

/// What conntrack answered when it was asked about the translated connection.
fn answer<'a>(flow: &'a Flow, step: &Step) -> Option<&'a Conntrack> {
    let about = |answer: &&Arc<Conntrack>| {
        let tuple = answer.tuple;
        let netns = step.at.site.netns.as_ref().map(|n| n.inode);
        tuple == Some(step.from) && Some(answer.netns.inode) == netns && answer.failed.is_none()
    };
    flow.answers.iter().rfind(about).map(|answer| &**answer)
}

/// Whether the entry is still there, where conntrack was asked.
fn entry_now(flow: &Flow, step: &Step, is_stateless: bool) -> String {
    if is_stateless && step.by_rule {
        return " An OpenFlow rule set its addresses without conntrack, which nothing undoes but a rule of its own \
                for the way back; that is missing, or did not apply."
            .to_owned();
    }
    if is_stateless {
        return " Its packets had no conntrack entry there, and there is none: it was translated without \
                conntrack, by a stateless rewrite, which nothing undoes but a rule of its own for the way \
                back; that is missing, or did not apply."
            .to_owned();
    }
    let Some(answer) = answer(flow, step).filter(|_| step.is_placed()) else {
        return String::new();
    };
    let still = |entry: &crate::record::CtEntry| {
        let reply = entry.reply;
        reply == Some(step.to.reversed())
    };
    match &answer.entry {
        Some(entry) if still(entry) => {
            " The entry that translates was still there at the end.".to_owned()
        }
        Some(_) => " At the end another entry had its place.".to_owned(),
        None => " The entry that translates was not there any more at the end.".to_owned(),
    }
}

/// That the client could make nothing of it.
fn proof(flow: &Flow, loss: &Loss) -> String {
    let mut text = String::new();
    if let Some(first) = flow.nat.resets.first() {
        let _ = write!(text, " The client refused it with RST (packet {first}).");
    }
    if flow.out.syns() > 1 {
        let _ = write!(text, " The SYN was sent {} times.", flow.out.syns());
    } else if flow.nat.resets.is_empty() && loss.count > 1 {
        let _ = write!(text, " It was sent {} times.", loss.count);
    }
    text
}

/// The same once more with all namespaces, the one that translates among them.
fn trace_everywhere(step: &Step) -> Vec<String> {
    let proto = match step.from.proto {
        proto @ (Proto::Tcp | Proto::Udp | Proto::Sctp | Proto::Icmp | Proto::Icmp6) => {
            format!("{proto} ")
        }
        _ => String::new(),
    };
    let to = words::end(step.from.dst, step.from.dport);
    vec![format!("lasthop trace --netns all --for 30s '{proto}{} -> {to}'", step.from.src)]
}

fn commands(step: &Step, passing: Option<&Sight>, loss: &Loss, is_stateless: bool) -> Vec<String> {
    if !step.is_placed() {
        return trace_everywhere(step);
    }
    let spot = next::Spot::new(&step.at, step.before.as_deref());
    let proto = match step.from.proto {
        Proto::Icmp6 => "icmpv6".to_owned(),
        other => other.to_string(),
    };
    let family = if step.from.src.is_ipv6() { "ipv6" } else { "ipv4" };
    let number = step.entry.and_then(|e| e.zone).filter(|zone| *zone != 0);
    let zone = number.map(|zone| format!(" --zone {zone}")).unwrap_or_default();
    let list = format!(
        "conntrack -L -f {family} -p {proto} -s {} -d {}{zone}",
        step.from.src, step.from.dst
    );
    let mut commands = if is_stateless { Vec::new() } else { vec![spot.run(&list)] };
    if step.at.is_datapath() || passing.is_some_and(Sight::is_datapath) {
        let bridge = step.at.site.dev.as_ref().and_then(|dev| dev.bridge.as_deref());
        if is_stateless {
            commands.extend(bridge.map(|b| format!("ovs-ofctl dump-flows {}", words::shell(b))));
        } else {
            let zone = number.map(|zone| format!(" zone={zone}")).unwrap_or_default();
            commands.push(format!("ovs-appctl dpctl/dump-conntrack{zone}"));
        }
        commands.push("ovs-appctl dpctl/dump-flows -m".to_owned());
        return commands;
    }
    if passing.is_some() {
        commands.push(spot.run("nft list ruleset"));
    } else {
        let sender = next::Spot::new(&loss.first, None);
        let to = loss.first.tuple.map(|t| t.dst.to_string()).unwrap_or_default();
        commands.push(sender.iproute("ip", &format!("route get {to}")));
    }
    commands
}
