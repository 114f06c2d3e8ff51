//! For a person at a terminal: hops as they happen, then a verdict per flow.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::render::change::changes;
use crate::render::ovs;
use tracer_core::reconstruct::sight::Sight;
use tracer_core::record::{HookName, Hop, Lost, Meta, Outcome, Summary, Verdict};
use tracer_core::verdict::Tally;
use tracer_core::verdict::words::{count, flow_name, safe, why_lost};

/// Prints for a person.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    colour: bool,
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
const CHANGED: Style = AnsiColor::Cyan.on_default();

impl Text {
    /// With colours or without. Whether a stream wants them, `anstream::AutoStream::choice` knows.
    pub const fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What was traced, from the head of a recording.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn meta(self, out: &mut dyn Write, meta: &Meta) -> io::Result<()> {
        let filter = if meta.filter.is_empty() { "everything" } else { meta.filter.as_str() };
        writeln!(
            out,
            "{} on {}, kernel {}, from {}: {}",
            safe(&meta.tool),
            safe(&meta.hostname),
            safe(&meta.kernel),
            safe(&meta.start),
            safe(filter)
        )?;
        meta.blind.iter().try_for_each(|line| writeln!(out, "  not seen: {}", safe(line)))
    }

    /// One hop; `was` is where its packet was seen before, to show what changed since.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn hop(self, out: &mut dyn Write, hop: &Hop, was: Option<&Sight>) -> io::Result<()> {
        let ms = hop.ts / 1_000_000;
        let us = hop.ts / 1_000 % 1_000;
        let mut line = self.paint(DIM, &format!("{ms:>7}.{us:03}"));
        let _ = write!(
            line,
            " {:>4} {:<10} {:<22} {} {}",
            format!("#{}", hop.packet),
            netns(hop),
            device(hop),
            self.hook(hop),
            facts(hop),
        );
        if let Some(was) = was {
            for change in changes(was, hop) {
                let _ = write!(line, " {}", self.paint(CHANGED, &format!("[{change}]")));
            }
        }
        writeln!(out, "{}", line.trim_end())
    }

    /// Events that could not be delivered.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn lost(self, out: &mut dyn Write, lost: &Lost) -> io::Result<()> {
        let why = why_lost(lost.what.as_deref());
        let hook = lost.hook.map(|hook| format!(" at {}", hook.name())).unwrap_or_default();
        let line = format!(
            "{:>7}.{:03}   lost: {}{hook} ({})",
            lost.ts / 1_000_000,
            lost.ts / 1000 % 1000,
            count(lost.count, "event"),
            safe(why)
        );
        writeln!(out, "{}", self.paint(DOUBT, &line))
    }

    /// One verdict, with what to do next.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn verdict(self, out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
        let style = match verdict.outcome {
            Outcome::Delivered | Outcome::Forwarded => GOOD,
            Outcome::InFlight | Outcome::Unknown => DOUBT,
            _ => BAD,
        };
        let heading = format!("flow {}: {}", verdict.flow, flow_name(verdict));
        writeln!(
            out,
            "{} {}",
            self.paint(BOLD, &heading),
            self.paint(style, outcome_name(verdict.outcome))
        )?;
        writeln!(out, "  {}", safe(&verdict.text))?;
        for command in &verdict.next {
            writeln!(out, "  {} {}", self.paint(DIM, "next:"), safe(command))?;
        }
        Ok(())
    }

    /// What the flows come to that were not told of one by one.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn untold(self, out: &mut dyn Write, untold: &Summary) -> io::Result<()> {
        if untold.flows == 0 {
            return Ok(());
        }
        let outcomes = untold.outcomes.iter().rev();
        let outcomes: Vec<_> = outcomes
            .map(|(outcome, flows)| format!("{flows} {}", outcome_name(*outcome)))
            .collect();
        let line = format!(
            "{} more, too many to tell of one by one: {}.",
            count(untold.flows, "flow"),
            outcomes.join(", ")
        );
        writeln!(out, "{}", self.paint(DOUBT, &line))
    }

    /// The closing line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn summary(self, out: &mut dyn Write, tally: &Tally, incomplete: bool) -> io::Result<()> {
        if tally.flows == 0 {
            writeln!(out, "No packet matched.")?;
            // As `connect` and `send` do, with ENETUNREACH, EHOSTUNREACH, EACCES.
            return writeln!(
                out,
                "  A host that has no route, or a rule against one, tells its program so and makes no \
                 packet: `ip route get ADDRESS` in its namespace says it too."
            );
        }
        let mut line = format!(
            "{} in {}: {} delivered or forwarded; {} with a loss.",
            count(tally.packets, "packet"),
            count(tally.flows, "flow"),
            tally.delivered,
            count(tally.lost + tally.untranslated, "flow"),
        );
        if tally.unknown > 0 {
            let flows = count(tally.unknown, "flow");
            let _ = write!(line, " Of {flows} it is not known what became of a packet.");
        }
        if incomplete {
            line.push_str(" Events were lost: the record is incomplete.");
        }
        writeln!(out, "{}", self.paint(BOLD, &line))
    }

    fn hook(self, hop: &Hop) -> String {
        let name = format!("{:<11}", hop.hook.name());
        match hop.hook {
            _ if hop.drop.is_some() => self.paint(BAD, &name),
            HookName::Deliver => self.paint(GOOD, &name),
            _ => name,
        }
    }
}

/// An outcome as records name it.
pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Forwarded => "forwarded",
        Outcome::InFlight => "in-flight",
        Outcome::Unknown => "unknown",
        Outcome::Vanished => "vanished",
        Outcome::UpcallLost => "upcall-lost",
        Outcome::Misaddressed => "misaddressed",
        Outcome::Dropped => "dropped",
        Outcome::DroppedByOvs => "dropped-by-ovs",
        Outcome::ReplyNotTranslated => "reply-not-translated",
    }
}

fn netns(hop: &Hop) -> String {
    match &hop.netns {
        None => "-".to_owned(),
        Some(n) => n.name.as_deref().map_or_else(|| n.inode.to_string(), |s| safe(s).into_owned()),
    }
}

fn device(hop: &Hop) -> String {
    let Some(dev) = &hop.dev else {
        return "-".to_owned();
    };
    let kind = dev.kind.as_deref().map(|kind| format!("({})", safe(kind))).unwrap_or_default();
    let bridge = dev.bridge.as_deref().map(|name| format!("@{}", safe(name))).unwrap_or_default();
    format!("{}{kind}{bridge}", safe(&dev.name))
}

/// The packet itself, then why it ended if it did.
fn facts(hop: &Hop) -> String {
    let mut text = String::new();
    if let Some(t) = &hop.tuple {
        let port = |p: Option<u16>| p.map(|p| format!(":{p}")).unwrap_or_default();
        let addr = |a: std::net::IpAddr, p: Option<u16>| match (a, p) {
            (std::net::IpAddr::V6(a), Some(_)) => format!("[{a}]"),
            _ => a.to_string(),
        };
        let (src, dst) = (addr(t.src, t.sport), addr(t.dst, t.dport));
        let _ = write!(text, "{} {src}{} > {dst}{}", t.proto, port(t.sport), port(t.dport));
    }
    if let Some(tcp) = &hop.tcp {
        let _ = write!(text, " {}", tcp.flags);
    }
    if let Some(icmp) = &hop.icmp {
        let _ = write!(text, " type {}", icmp.r#type);
        if let (Some(id), Some(seq)) = (icmp.id, icmp.seq) {
            let _ = write!(text, " id {id} seq {seq}");
        } else {
            let _ = write!(text, " code {}", icmp.code);
        }
    }
    if let Some(arp) = &hop.arp {
        let _ = write!(text, " {}", arp.op);
    }
    let _ = write!(text, " len {}", hop.len);
    if let Some(ip) = &hop.ip {
        let _ = write!(text, " ttl {}", ip.ttl);
        if let Some(offset) = ip.frag_offset {
            let _ = write!(text, " fragment at {offset}");
        }
    }
    if hop.bad_checksum {
        text.push_str(" bad checksum");
    }
    text.push_str(&ovs::facts(hop));
    end(hop, &mut text);
    text
}

fn end(hop: &Hop, text: &mut String) {
    if let Some(drop) = &hop.drop {
        let unsaid = if drop.silent { "dropped in silence" } else { "no reason given" };
        let reason = drop.reason.as_deref().unwrap_or(unsaid);
        let _ = write!(text, " {}", safe(reason));
        if let Some(symbol) = &drop.symbol {
            let _ = write!(text, " in {}+{:#x}", safe(symbol), drop.offset.unwrap_or(0));
        }
    } else if let Some(by) = &hop.by {
        let _ = write!(text, " by {}+{:#x}", safe(&by.symbol), by.offset);
    }
}
