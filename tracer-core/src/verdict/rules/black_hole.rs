//! Packets too big for the path, and the message that would have told their sender died.

use crate::reconstruct::asked::is_netfilter;
use crate::reconstruct::flow::Flow;
use crate::reconstruct::related::Related;
use crate::record::Outcome;
use crate::verdict::{Finding, matter, netfilter, next, words};

/// An ICMP "fragmentation needed" or "packet too big" about the flow never reached its sender
/// (RFC 2923, 2.1: a black hole).
pub fn black_hole(flow: &Flow) -> Option<Finding> {
    let lost = flow.related.iter().find(|r| r.is_too_big() && r.is_lost())?;
    // A later one that arrived has told it after all.
    if flow.related.iter().any(|r| r.is_too_big() && !r.is_lost()) {
        return None;
    }
    let at = &*lost.at;
    let (matter, meaning) = matter::of(at, lost.before.as_deref());
    let ruled =
        is_netfilter(at.raw_reason(), at.symbol()).then(|| netfilter::by_rule(flow, at)).flatten();
    let why = match (&ruled, meaning) {
        (Some(ruled), _) => format!(": {}", ruled.words),
        (None, meaning) => meaning.map(|m| format!(": {m}")).unwrap_or_default(),
    };
    let named = at.raw_reason().map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let by = words::symbol(at).map(|s| format!(" by {s}")).unwrap_or_default();
    let mtu = lost.mtu.map(|m| format!(", at most {m} bytes,")).unwrap_or_default();
    // Another may have arrived, among the events that were lost.
    let learns = if flow.incomplete { "was not seen to learn it" } else { "never learns it" };
    let text = format!(
        "Packets of {} are too big for a part of the path, and their sender {learns}: {} {} that \
         would say so{mtu} {} dropped{}{by}{why}{named}. Until it arrives, every packet of that size is \
         lost (a path-MTU black hole).{}",
        flow_name(flow),
        words::count(lost.count, &words::kind(&lost.first)),
        from(lost),
        if lost.count == 1 { "was" } else { "were" },
        words::place(at),
        too_big(flow),
    );
    Some(Finding {
        outcome: Outcome::Dropped,
        due: None,
        place: at.place(),
        reason: at.raw_reason().map(str::to_owned),
        text,
        next: ruled.map_or_else(
            || next::commands(matter, &next::Spot::new(at, lost.before.as_deref())),
            |ruled| ruled.next,
        ),
        evidence: lost.evidence.clone(),
        rule: None,
    })
}

fn flow_name(flow: &Flow) -> String {
    match flow.forward {
        Some(t) => format!("{} {}", words::proto(&t), words::ends(&t)),
        None => "the flow".to_owned(),
    }
}

fn from(lost: &Related) -> String {
    lost.first.tuple.map(|t| format!("from {}", t.src)).unwrap_or_default()
}

/// The packets themselves, where their end was seen.
fn too_big(flow: &Flow) -> String {
    let big = flow
        .losses
        .iter()
        .find(|l| matter::of(&l.at, l.before.as_deref()).0 == matter::Matter::Mtu);
    let Some(big) = big else { return String::new() };
    let verb = if big.count == 1 { "was" } else { "were" };
    format!(
        " {} {verb} dropped{} for their size.",
        words::count(big.count, "packet"),
        words::place(&big.at)
    )
}
