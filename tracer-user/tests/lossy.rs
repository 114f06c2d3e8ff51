//! Recordings of which events are lost, scattered and in bursts: what lasthop did not see is no loss of
//! the network's, and what it did see is not forgotten for it.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers included")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use lasthop::report::{Form, Report, Shows};
use serde_json::Value;
use tracer_core::reconstruct::asked::Answer;
use tracer_core::record::{HookName, Hop, Lost, Meta};

/// Every packet arrives, or is on its way.
const HEALTHY: &[&str] = &[
    "udp-healthy",
    "bridge-flood-delivered",
    "tcp-dnat",
    "ping-healthy",
    "forwarded",
    "in-flight",
];
/// The kernel drops packets, and says so.
const FAULTY: &[&str] = &[
    "udp-closed-port",
    "tcp-syns-nft-drop",
    "udp-rcvbuf-full",
    "old-kernel-ttl",
    "hostile-names",
    "conntrack-clash",
    "tcp-recovered",
    "path-mtu-black-hole",
];
/// How much of it is lost, of a thousand events.
const RATES: &[u64] = &[1, 10, 50, 100, 200, 300, 500];
/// How often each is tried at each rate.
const SEEDS: u64 = 24;

enum Line {
    Hop(Box<Hop>),
    Answer(Box<Answer>),
}

struct Recording {
    name: &'static str,
    meta: Meta,
    lines: Vec<Line>,
    end: u64,
    /// Packets that show what the verdicts are about.
    evidence: Vec<u64>,
}

impl Recording {
    fn read(name: &'static str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/recordings")
            .join(name)
            .with_extension("ndjson");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut recording =
            Self { name, meta: Meta::default(), lines: Vec::new(), end: 0, evidence: Vec::new() };
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            match value["type"].as_str().unwrap() {
                "meta" => recording.meta = serde_json::from_value(value).unwrap(),
                "hop" => {
                    let hop: Hop = serde_json::from_str(line).unwrap();
                    recording.end = recording.end.max(hop.ts);
                    recording.lines.push(Line::Hop(Box::new(hop)));
                }
                "conntrack" => recording.answer(Answer::Conntrack(from(line))),
                "netfilter" => recording.answer(Answer::Netfilter(from(line))),
                "routing" => recording.answer(Answer::Routing(from(line))),
                "ovs-trace" => recording.answer(Answer::OpenVswitch(from(line))),
                "verdict" => {
                    recording.end = recording.end.max(value["ts"].as_u64().unwrap_or(0));
                    let evidence = value["evidence"].as_array().unwrap();
                    recording.evidence.extend(evidence.iter().filter_map(Value::as_u64));
                }
                _ => {}
            }
        }
        recording
    }

    fn answer(&mut self, answer: Answer) {
        self.lines.push(Line::Answer(Box::new(answer)));
    }

    /// What is made of it without some of its hops; the losses are told as a trace does.
    fn lossy(&self, loss: &mut Loss, numbering: Numbering) -> Told {
        let mut out = Vec::new();
        let mut report = Report::new(Box::new(&mut out), Form::Json, Shows::Conclusions);
        report.meta(&self.meta).unwrap();
        let mut pending: BTreeMap<(u32, u8), Lost> = BTreeMap::new();
        let mut gone = 0;
        let mut is_proven = false;
        for line in &self.lines {
            let hop = match line {
                Line::Hop(hop) => hop,
                Line::Answer(answer) => {
                    // It names packets by numbers.
                    if numbering == Numbering::Kept || !matches!(**answer, Answer::OpenVswitch(_)) {
                        report.answered((**answer).clone()).unwrap();
                    }
                    continue;
                }
            };
            if loss.takes() {
                gone += 1;
                let new =
                    Lost { hook: Some(hop.hook), count: 0, since: Some(hop.ts), ..Lost::at(0) };
                let known = pending.entry((hop.cpu, hop.hook as u8)).or_insert(new);
                known.count += 1;
                known.cpu = hop.cpu;
                known.until = Some(hop.ts);
                continue;
            }
            for lost in std::mem::take(&mut pending).into_values() {
                report.lost(&Lost { ts: hop.ts, ..lost }).unwrap();
            }
            is_proven |= hop.hook == HookName::Drop && self.evidence.contains(&hop.packet);
            report.hop(&mut numbering.of(hop));
        }
        for lost in pending.into_values() {
            report.lost(&Lost { ts: self.end, ..lost }).unwrap();
        }
        report.close(self.end).unwrap();
        let status = report.finish(self.end, false, &|| true).unwrap();
        Told { status, lost: gone, is_proven, text: String::from_utf8(out).unwrap() }
    }
}

fn from<T: for<'a> serde::Deserialize<'a>>(line: &str) -> T {
    serde_json::from_str(line).unwrap()
}

/// Which packet a hop belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbering {
    /// As it was recorded.
    Kept,
    /// As a trace finds it out, with what it sees.
    Anew,
}

impl Numbering {
    fn of(self, hop: &Hop) -> Hop {
        let mut hop = hop.clone();
        if self == Self::Anew {
            (hop.packet, hop.hop) = (0, 0);
            // That follows from the hops before it.
            hop.drop = hop.drop.filter(|drop| !drop.silent);
        }
        hop
    }
}

struct Told {
    status: u8,
    lost: u64,
    /// A drop that the verdict is about is on the record.
    is_proven: bool,
    text: String,
}

impl Told {
    fn verdicts(&self) -> String {
        let is_verdict = |line: &&str| line.contains(r#""type":"verdict""#);
        self.text.lines().filter(is_verdict).collect::<Vec<_>>().join("\n")
    }
}

/// Which events are lost.
struct Loss {
    state: u64,
    /// Of a thousand.
    rate: u64,
    /// How many of them one after the other.
    burst: u64,
    left: u64,
}

impl Loss {
    fn new(seed: u64, rate: u64) -> Self {
        let burst = if seed.is_multiple_of(2) { 1 } else { 4 };
        Self { state: seed, rate, burst, left: 0 }
    }

    /// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn takes(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return true;
        }
        let begins = self.random() % (1000 * self.burst) < self.rate;
        self.left = if begins { self.burst - 1 } else { 0 };
        begins
    }
}

/// Each recording at each rate, many times, both ways.
fn each(names: &'static [&'static str], check: impl Fn(&Told, &str)) {
    for name in names {
        let recording = Recording::read(name);
        for rate in RATES {
            for seed in 0..SEEDS {
                for numbering in [Numbering::Kept, Numbering::Anew] {
                    let told = recording.lossy(&mut Loss::new(seed, *rate), numbering);
                    let what =
                        format!("{}, rate {rate}, seed {seed}, {numbering:?}", recording.name);
                    check(&told, &what);
                }
            }
        }
    }
}

#[test]
fn what_was_not_seen_of_a_healthy_network_is_no_loss_of_its_own() {
    each(HEALTHY, |told, what| {
        let expected: &[u8] = if told.lost == 0 { &[0] } else { &[0, 12, 13] };
        assert!(expected.contains(&told.status), "{what}: {}\n{}", told.status, told.verdicts());
    });
}

#[test]
fn a_drop_that_was_seen_is_found_whatever_else_was_not() {
    each(FAULTY, |told, what| {
        let expected: &[u8] = if told.is_proven { &[10] } else { &[0, 10, 12, 13] };
        assert!(expected.contains(&told.status), "{what}: {}\n{}", told.status, told.verdicts());
    });
}

#[test]
fn a_recording_without_times_makes_all_that_follows_doubtful() {
    for name in HEALTHY {
        let recording = Recording::read(name);
        let mut out = Vec::new();
        let mut report = Report::new(Box::new(&mut out), Form::Json, Shows::Conclusions);
        report.meta(&recording.meta).unwrap();
        // As an earlier lasthop did: of each third hop it only says that it was lost.
        for (n, line) in recording.lines.iter().enumerate() {
            let Line::Hop(hop) = line else { continue };
            if n % 3 == 0 {
                report.lost(&Lost { cpu: hop.cpu, ..Lost::at(hop.ts) }).unwrap();
            } else {
                report.hop(&mut Numbering::Anew.of(hop));
            }
        }
        let status = report.finish(recording.end, false, &|| true).unwrap();
        assert_eq!(status, 13, "{name}: {}", String::from_utf8(out).unwrap());
    }
}
