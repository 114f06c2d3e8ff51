//! What else befell a flow, besides what gives it its verdict.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::reconstruct::flow::{Beginning, Flow, Loss};
use crate::record::{Also, Outcome, Proto};
use crate::verdict::rules::{dropped, sentence};
use crate::verdict::{related, words};

/// How many are told in words; the rest are counted.
const MAX_TOLD: usize = 3;

/// The harm that befell other packets than those named, the worst first. What was still on its way
/// when the trace ended came to none, and neither did what was sent again in smaller packets.
fn others(flow: &Flow, is_told: impl Fn(&Loss) -> bool) -> Vec<&Loss> {
    let is_harm =
        |loss: &&Loss| !is_open(loss) && !related::is_discovery(flow, loss) && !is_told(loss);
    let mut others: Vec<_> = flow.losses.iter().filter(is_harm).collect();
    others.sort_by_key(|l| (l.outcome == Outcome::Vanished, Reverse(l.count), l.lowest()));
    others
}

/// What became of it is not known.
fn is_open(loss: &Loss) -> bool {
    matches!(loss.outcome, Outcome::InFlight | Outcome::Unknown)
}

/// The rest of the flow: whether it recovered, and whether anyone answered.
pub fn rest(flow: &Flow, loss: &Loss) -> String {
    let side = flow.side(loss.direction);
    let mut text = String::new();
    let tcp = flow.forward.is_some_and(|t| t.proto == Proto::Tcp);
    if tcp && side.good > 0 && side.last_good_ts > loss.last_ts {
        text.push_str(" The connection recovered: later segments of the same direction arrived.");
    } else if side.good > 0 {
        let _ = write!(text, " {} got through.", words::count(side.good, "other"));
    }
    text.push_str(&told(flow, loss));
    let is_seen_whole = !flow.one_way && !flow.incomplete && flow.beginning == Beginning::Seen;
    if tcp && side.syns() > 0 && flow.back.packets == 0 && !loss.unanswered && is_seen_whole {
        text.push_str(" No answer was seen.");
    }
    text
}

/// A sentence for each, and what has not ended.
fn told(flow: &Flow, loss: &Loss) -> String {
    let mut text = String::new();
    let others = others(flow, |other| std::ptr::eq(other, loss));
    for other in others.iter().take(MAX_TOLD) {
        let _ = write!(text, " Also, {}.", lowered(&briefly(flow, other)));
    }
    let rest: u64 = others.iter().skip(MAX_TOLD).map(|l| l.count).sum();
    if rest > 0 {
        let packets = words::count(rest, "other packet");
        let _ = write!(text, " {packets} of the flow came to harm elsewhere.");
    }
    let open = |l: &&Loss| is_open(l) && !std::ptr::eq(*l, loss);
    text.push_str(&unended(flow.losses.iter().filter(open), "other packet"));
    text
}

/// A sentence about those whose end was not seen.
pub fn unended<'a>(losses: impl Iterator<Item = &'a Loss>, what: &str) -> String {
    let (mut open, mut early, mut lost, mut crowded) = (0, 0, 0, 0);
    for loss in losses {
        let sum = match loss.outcome {
            Outcome::Unknown if loss.doubt.is_some() => &mut lost,
            Outcome::Unknown => &mut crowded,
            _ if loss.is_early => &mut early,
            _ => &mut open,
        };
        *sum += loss.count;
    }
    let mut text = String::new();
    for (count, why) in [
        (lost, "may be among the events that were lost"),
        (crowded, "could not be waited for, so many packets were on their way"),
    ] {
        if count > 0 {
            let (packets, ends) =
                (words::count(count, what), if count == 1 { "end" } else { "ends" });
            let _ = write!(text, " What became of {packets} is not known: the {ends} {why}.");
        }
    }
    if open > 0 {
        let verb = if open == 1 { "was" } else { "were" };
        let packets = words::count(open, what);
        let _ = write!(text, " {packets} {verb} still on the way when the trace ended.");
    }
    if early > 0 {
        let packets = words::count(early, what);
        let _ =
            write!(text, " {packets} came before all probes were attached, and no end was seen.");
    }
    text
}

/// The same for scripts: what the verdict's evidence does not show.
pub fn listed(flow: &Flow, evidence: &[u64]) -> Vec<Also> {
    let is_told = |loss: &Loss| loss.evidence.iter().any(|n| evidence.contains(n));
    let also = |loss: &&Loss| Also {
        outcome: loss.outcome,
        packets: loss.count,
        r#where: sentence::spot(loss),
        reason: loss.at.raw_reason().map(str::to_owned),
        evidence: loss.evidence.clone(),
    };
    others(flow, is_told).iter().map(also).collect()
}

/// Commands worth running about them too.
pub fn commands(flow: &Flow, evidence: &[u64]) -> Vec<String> {
    let is_told = |loss: &Loss| loss.evidence.iter().any(|n| evidence.contains(n));
    let others = others(flow, is_told).into_iter().take(MAX_TOLD);
    let dropped = others.filter(|l| l.outcome == Outcome::Dropped && !l.unanswered);
    dropped.flat_map(|l| dropped::commands(flow, l)).collect()
}

/// What became of them, and where.
fn briefly(flow: &Flow, loss: &Loss) -> String {
    let (subject, place) = (sentence::subject(flow, loss), words::place(&loss.at));
    match loss.outcome {
        _ if loss.unanswered => format!("{subject} never answered{place}"),
        Outcome::Dropped => format!("{subject} dropped{}", dropped::cause(flow, loss)),
        Outcome::DroppedByOvs => format!("{subject} dropped by Open vSwitch{place}"),
        Outcome::UpcallLost => format!("{subject} lost{place} on the way to or from ovs-vswitchd"),
        Outcome::Misaddressed => format!("{subject} refused{place} for the MAC of another"),
        Outcome::ReplyNotTranslated => format!("{subject} not translated back{place}"),
        _ => format!("{subject} lost from sight{place}"),
    }
}

/// As the middle of a sentence.
fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}
