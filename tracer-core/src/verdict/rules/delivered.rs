//! Everything arrived.

use std::fmt::Write as _;

use crate::reconstruct::flow::{Beginning, Flow, Loss, Side};
use crate::reconstruct::kinds::Kind;
use crate::reconstruct::sight::Sight;
use crate::record::{ArpOp, HookName, Outcome, Proto};
use crate::verdict::rules::others;
use crate::verdict::{Finding, next, related, words};

/// Packets of the flow reached a socket, the host stack or a guest, and none came to harm.
pub fn delivered(flow: &Flow) -> Option<Finding> {
    arrived(flow, Outcome::Delivered)
}

/// The verdict of a flow that is whole, with what is said of each direction.
pub fn arrived(flow: &Flow, outcome: Outcome) -> Option<Finding> {
    let at = flow.out.arrived.as_ref().or(flow.back.arrived.as_ref())?;
    let name = match flow.forward {
        Some(t) => format!("{} {}", words::proto(&t), words::ends(&t)),
        None => "Packets without a readable flow".to_owned(),
    };
    let mut text = format!("{name}: {}", one_way(&flow.out, "packet"));
    if let Some(to) = flow.translated {
        let _ = write!(text, ", translated to {}", words::ends(&to));
    }
    if flow.back.packets > 0 {
        let _ = write!(text, "; {}", one_way(&flow.back, "answer"));
    }
    text.push('.');
    // What would answer may be among the events that were lost.
    let is_seen_whole = !flow.one_way && !flow.incomplete && flow.beginning == Beginning::Seen;
    let is_unanswered = wants_answer(flow) && flow.back.packets == 0 && is_seen_whole;
    let missing = if is_seen_whole { missing_echoes(flow) } else { 0 };
    if is_unanswered {
        text.push_str(" No answer was seen.");
    } else if missing > 0 {
        let _ = write!(text, " No answer was seen to {missing} of the {}.", flow.out.packets);
    }
    let refusal = flow.back.reset.as_deref().filter(|_| is_refused(flow));
    if let Some(reset) = refusal {
        let seen = words::place(reset);
        let _ = write!(text, " It was refused: the answer is a RST, seen first{seen}.");
    } else {
        let sides = [(&flow.out, "side that began it"), (&flow.back, "other side")];
        for (reset, who) in sides.iter().filter_map(|(side, who)| Some((side.reset.as_ref()?, who)))
        {
            let _ =
                write!(text, " The {who} ended it by a RST, seen first{}.", words::place(reset));
        }
    }
    let count_of = |wanted: fn(&Flow, &Loss) -> bool| -> u64 {
        flow.losses.iter().filter(|l| wanted(flow, l)).map(|l| l.count).sum()
    };
    let learned = count_of(related::is_discovery);
    if learned > 0 {
        let packets = words::count(learned, "packet");
        let verb = if learned == 1 { "was" } else { "were" };
        let _ =
            write!(text, " {packets} {verb} too big for the path, and sent again in smaller ones.");
    }
    let open = flow.losses.iter().filter(|loss| !related::is_discovery(flow, loss));
    text.push_str(&others::unended(open, "more packet"));
    Some(Finding {
        outcome,
        due: None,
        place: at.place(),
        reason: None,
        text,
        next: if is_unanswered || missing > 0 || refusal.is_some() {
            about_answers(at)
        } else {
            Vec::new()
        },
        evidence: Vec::new(),
        rule: None,
    })
}

/// Whether the first packet is one that is answered where all is well, as far as its headers tell.
fn wants_answer(flow: &Flow) -> bool {
    let Some(tuple) = flow.forward else { return false };
    match tuple.proto {
        Proto::Tcp => flow.out.syns() > 0,
        Proto::Udp => !tuple.dst.is_multicast() && !is_to_all(flow),
        Proto::Icmp => is_echo(&flow.opening, 8),
        Proto::Icmp6 => is_echo(&flow.opening, 128),
        Proto::Arp => flow.opening.arp == Some(ArpOp::Request) && tuple.src != tuple.dst,
        _ => false,
    }
}

/// A connection was asked for, and what came back was a RST (RFC 9293, 3.5.2): nobody listens there, or a
/// firewall answers for whom it was to reach.
fn is_refused(flow: &Flow) -> bool {
    flow.out.syns() > 0
        && flow.back.reset.is_some()
        && flow.back.kinds.of(Kind::SynAck) == 0
        && !flow.incomplete
}

/// Echo requests beyond the replies: each wants one of its own (RFC 792, RFC 4443). The last may be on its
/// way yet.
fn missing_echoes(flow: &Flow) -> u64 {
    let is_ping = is_echo(&flow.opening, 8) || is_echo(&flow.opening, 128);
    let missing = flow.out.packets.saturating_sub(flow.back.packets);
    if is_ping && wants_answer(flow) && missing > 1 { missing } else { 0 }
}

/// Broadcast. (What is seen first may be the sender's own copy, which has no frame yet.)
fn is_to_all(flow: &Flow) -> bool {
    flow.opening.is_group() || flow.out.arrived.as_ref().is_some_and(|at| at.is_group())
}

fn is_echo(sight: &Sight, request: u8) -> bool {
    sight.icmp.as_ref().is_some_and(|icmp| icmp.r#type == request)
}

/// What keeps a host from answering leaves no trace of its own: a route back, a socket that is read, a
/// setting.
fn about_answers(at: &Sight) -> Vec<String> {
    let Some(tuple) = at.tuple.filter(|t| t.proto != Proto::Arp) else { return Vec::new() };
    if matches!(at.hook, HookName::TcEgress | HookName::OvsOutput) {
        let tap = at.site.dev.as_ref().filter(|_| at.kind() == "tun");
        return tap.map(|tap| next::readers_of(&words::shell(&tap.name))).into_iter().collect();
    }
    let spot = next::Spot::new(at, None);
    let mut commands = vec![spot.iproute("ip", &format!("route get {}", tuple.src))];
    match (tuple.proto, tuple.dport) {
        (Proto::Icmp, _) => commands
            .push(spot.run("sysctl net.ipv4.icmp_echo_ignore_all net.ipv4.icmp_msgs_per_sec")),
        (Proto::Icmp6, _) => commands.push(spot.run("sysctl net.ipv6.icmp.echo_ignore_all")),
        (Proto::Tcp, Some(port)) => commands.push(spot.run(&format!("ss -ltn 'sport = :{port}'"))),
        (_, Some(port)) => commands.push(spot.run(&format!("ss -uanp 'sport = :{port}'"))),
        _ => {}
    }
    commands
}

fn one_way(side: &Side, what: &str) -> String {
    let Some(at) = &side.arrived else {
        return format!("no {what} arrived");
    };
    let whole = if side.good == side.packets && side.good > 1 { "all " } else { "" };
    format!("{whole}{} {}", words::count(side.good, what), arrival(at))
}

/// How a good packet ended: `reached the socket in netns server on eth0 (veth)`.
fn arrival(at: &Sight) -> String {
    if matches!(at.hook, HookName::TcEgress | HookName::OvsOutput) {
        let to = if at.kind() == "tun" { "reached the guest" } else { "left the node" };
        let by = words::device(at).map(|d| format!(" by {d}")).unwrap_or_default();
        return format!("{to}{by}{}", words::in_netns(at.site.netns.as_deref()));
    }
    let whom = if at.hook == HookName::Deliver { "socket" } else { "host" };
    format!("reached the {whom}{}", words::place(at))
}

#[cfg(test)]
mod tests {
    use crate::reconstruct::Story;
    use crate::reconstruct::testing::{HopExt, hop, tuple};
    use crate::record::HookName::{Consume, Deliver, TcEgress};
    use crate::record::{Hop, Icmp, Proto, Verdict};

    /// A host's pings, of which the first are answered.
    fn pinged(requests: u64, answers: u64) -> Verdict {
        let echo = |mut hop: Hop, n: u64, r#type: u8| {
            let (src, dst) =
                if r#type == 8 { ("10.0.0.1", "10.0.0.2") } else { ("10.0.0.2", "10.0.0.1") };
            let mut ends = tuple("udp", src, 0, dst, 0);
            (ends.proto, ends.sport, ends.dport) = (Proto::Icmp, None, None);
            hop.icmp = Some(Icmp {
                r#type,
                code: 0,
                id: Some(1),
                seq: u16::try_from(n).ok(),
                mtu: None,
                about: None,
                about_id: None,
            });
            hop.tuple(ends).print(&(u64::from(r#type) * 1000 + n).to_string())
        };
        let mut story = Story::new();
        for n in 1..=requests {
            let life = 2 * n;
            let sent = hop(TcEgress, 10 * n, life).on("a", "eth0", Some("veth")).paired();
            story.observe(&mut echo(sent, n, 8));
            let taken = hop(Consume, 10 * n + 1, life).on("b", "eth0", None).taken_by("icmp_rcv");
            story.observe(&mut echo(taken, n, 8));
            if n <= answers {
                let sent =
                    hop(TcEgress, 10 * n + 2, life + 1).on("b", "eth0", Some("veth")).paired();
                story.observe(&mut echo(sent, n, 0));
                let taken = hop(Consume, 10 * n + 3, life + 1).on("a", "eth0", None);
                story.observe(&mut echo(taken.taken_by("ping_rcv"), n, 0));
            }
        }
        story.finish(20_000_000_000).1.remove(0)
    }

    #[test]
    fn pings_that_nobody_answered_are_counted() {
        let verdict = pinged(4, 1);
        assert!(verdict.text.contains("No answer was seen to 3 of the 4."), "{}", verdict.text);
        assert!(verdict.next.iter().any(|c| c.contains("icmp_msgs_per_sec")), "{:?}", verdict.next);
        assert!(pinged(4, 0).text.contains("No answer was seen."));
        // All, or all but one that may come yet.
        for answers in [3, 4] {
            let verdict = pinged(4, answers);
            assert!(!verdict.text.contains("No answer"), "{}", verdict.text);
            assert_eq!(verdict.next, [""; 0]);
        }
    }

    /// A connection: these flags, by who began it (`>`) or the other side (`<`).
    fn connection(segments: &[&str]) -> Verdict {
        let mut story = Story::new();
        for (n, segment) in (1..).zip(segments) {
            let (way, flags) = segment.split_at(1);
            let (from, to, ends) = match way {
                ">" => ("a", "b", tuple("tcp", "10.0.0.1", 40000, "10.0.0.2", 80)),
                _ => ("b", "a", tuple("tcp", "10.0.0.2", 80, "10.0.0.1", 40000)),
            };
            for (ms, hook, netns) in [(0, TcEgress, from), (1, Deliver, to)] {
                let at = hop(hook, 10 * n + ms, n).on(netns, "eth0", Some("veth")).paired();
                story.observe(&mut at.tcp(flags).tuple(ends).print(&n.to_string()));
            }
        }
        story.finish(20_000_000_000).1.remove(0)
    }

    #[test]
    fn a_refusal_is_told_with_who_sent_it() {
        let verdict = connection(&[">S", "<RA"]);
        let said =
            "It was refused: the answer is a RST, seen first in netns b leaving by eth0 (veth).";
        assert!(verdict.text.ends_with(said), "{}", verdict.text);
        assert!(
            verdict.next.iter().any(|c| c.contains("ss -ltn 'sport = :80'")),
            "{:?}",
            verdict.next
        );
        let verdict = connection(&[">S", "<SA", ">A", ">RA"]);
        let said = "The side that began it ended it by a RST, seen first in netns a leaving by eth0 (veth).";
        assert!(verdict.text.ends_with(said), "{}", verdict.text);
        let verdict = connection(&[">S", "<SA", ">A", ">FA", "<FA", ">A"]);
        assert!(!verdict.text.contains("RST"), "{}", verdict.text);
        assert_eq!(verdict.next, [""; 0]);
    }
}
