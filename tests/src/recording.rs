//! A recording as the harness sees it: checked lines of JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::schema;

/// A recording that kept to the contract.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    lines: Vec<Value>,
}

impl Recording {
    /// Reads a whole recording; what breaks the contract is named, by line or by packet.
    pub fn parse(stdout: &[u8]) -> Result<Self, Vec<String>> {
        let recording = Self::parse_lines(stdout)?;
        let problems = recording.contradictions();
        if problems.is_empty() { Ok(recording) } else { Err(problems) }
    }

    /// Reads lines that need not be a whole recording, such as the verdicts alone.
    pub fn parse_lines(stdout: &[u8]) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut lines = Vec::new();
        let text = String::from_utf8_lossy(stdout);
        if !text.is_empty() && !text.ends_with('\n') {
            problems.push("the last line is cut off".to_owned());
        }
        for (n, line) in text.lines().enumerate() {
            match serde_json::from_str::<Value>(line) {
                Ok(value) => {
                    problems.extend(
                        schema::problems(&value).iter().map(|p| format!("line {}: {p}", n + 1)),
                    );
                    lines.push(value);
                }
                Err(e) => problems.push(format!("line {} is no JSON ({e}): {line:.80}", n + 1)),
            }
        }
        if problems.is_empty() { Ok(Self { lines }) } else { Err(problems) }
    }

    /// The lines of one type.
    pub fn of_type(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(move |line| line["type"] == kind)
    }

    /// All hops, in the order of the record.
    pub fn hops(&self) -> impl Iterator<Item = &Value> {
        self.of_type("hop")
    }

    /// All journeys.
    pub fn journeys(&self) -> impl Iterator<Item = &Value> {
        self.of_type("journey")
    }

    /// All verdicts.
    pub fn verdicts(&self) -> Vec<&Value> {
        self.of_type("verdict").collect()
    }

    /// The head of the recording.
    pub fn meta(&self) -> Option<&Value> {
        self.of_type("meta").next()
    }

    /// How many events the tracer says it lost.
    pub fn lost(&self) -> u64 {
        self.of_type("lost").filter_map(|line| line["count"].as_u64()).sum()
    }

    /// The hops of one packet, in the order of its way.
    pub fn way(&self, packet: &Value) -> Vec<&Value> {
        let mut way: Vec<&Value> = self.hops().filter(|hop| hop["packet"] == *packet).collect();
        way.sort_by_key(|hop| hop["hop"].as_u64());
        way
    }

    /// The packets that belong to a flow.
    pub fn packets_of(&self, flow: &Value) -> Vec<&Value> {
        self.journeys().filter(|j| j["flow"] == *flow).map(|j| &j["packet"]).collect()
    }

    /// What no single line can get wrong, but lines together can.
    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        match self.lines.first() {
            Some(first) if first["type"] == "meta" => {}
            _ => found.push("the first line is no meta".to_owned()),
        }
        if self.of_type("meta").count() > 1 {
            found.push("there is more than one meta".to_owned());
        }
        let mut ways: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for hop in self.hops() {
            let number = |key: &str| hop[key].as_u64().unwrap_or_default();
            ways.entry(number("packet")).or_default().push((number("hop"), number("ts")));
        }
        for (packet, way) in &mut ways {
            way.sort_unstable();
            if *packet == 0 {
                found.push("a hop belongs to no packet".to_owned());
            }
            if !way.iter().map(|(hop, _)| *hop).eq(1..=way.len() as u64) {
                found.push(format!("packet {packet}: its hops are not numbered 1, 2, 3, …"));
            }
            if !way.is_sorted_by_key(|(_, ts)| *ts) {
                found.push(format!("packet {packet}: time runs backwards along its way"));
            }
        }
        self.check_journeys(&ways, &mut found);
        found
    }

    /// How many hops of each packet are on record before its journey is.
    fn hops_before_journeys(&self) -> BTreeMap<u64, u64> {
        let (mut seen, mut told) = (BTreeMap::<u64, u64>::new(), BTreeMap::new());
        for line in &self.lines {
            let packet = line["packet"].as_u64().unwrap_or_default();
            if line["type"] == "hop" {
                *seen.entry(packet).or_default() += 1;
            } else if line["type"] == "journey" {
                told.insert(packet, seen.get(&packet).copied().unwrap_or_default());
            }
        }
        told
    }

    fn check_journeys(&self, ways: &BTreeMap<u64, Vec<(u64, u64)>>, found: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        let mut flows: BTreeMap<u64, u64> = BTreeMap::new();
        let told = self.hops_before_journeys();
        for journey in self.journeys() {
            let number = |key: &str| journey[key].as_u64().unwrap_or_default();
            let packet = number("packet");
            *flows.entry(number("flow")).or_default() += 1;
            if !seen.insert(packet) {
                found.push(format!("packet {packet} has more than one journey"));
            }
            let hops = ways.get(&packet).map_or(0, Vec::len) as u64;
            // What a socket lets go of long after is on record behind the journey, which stands.
            if hops != number("hops") && told.get(&packet) != Some(&number("hops")) {
                found.push(format!("packet {packet}: {hops} hops, its journey says otherwise"));
            }
        }
        let mut judged = BTreeSet::new();
        for verdict in self.verdicts() {
            let number = |key: &str| verdict[key].as_u64().unwrap_or_default();
            let flow = number("flow");
            if !judged.insert(flow) {
                found.push(format!("flow {flow} has more than one verdict"));
            }
            if flows.get(&flow).copied() != Some(number("packets") + number("related")) {
                found.push(format!("flow {flow}: its verdict counts other packets than there are"));
            }
            if number("delivered") > number("packets") {
                found.push(format!("flow {flow}: more delivered than seen"));
            }
            let strays = verdict["evidence"].as_array().into_iter().flatten();
            for packet in strays.filter_map(Value::as_u64) {
                if !seen.contains(&packet) {
                    found.push(format!("flow {flow}: evidence {packet} is no packet on record"));
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write;

    use super::*;

    const META: &str = r#"{"type":"meta","version":1,"tool":"lasthop 0","kernel":"6","hostname":"h","start":"2026-01-01T00:00:00Z","start_monotonic_ns":"5","filter":"udp","probes":["a"]}"#;

    /// One packet that goes from a client over a router and dies there.
    pub fn example() -> String {
        let mut text = format!("{META}\n");
        for (hop, ts, hook, netns, rest) in [
            (1, 10, "tc-egress", "client", ""),
            (2, 20, "tc-ingress", "router", ""),
            (3, 30, "drop", "router", r#","drop":{"reason":"NETFILTER_DROP","silent":false}"#),
        ] {
            let _ = writeln!(
                text,
                "{{\"type\":\"hop\",\"ts\":{ts},\"cpu\":0,\"packet\":1,\"hop\":{hop},\"hook\":\"{hook}\",\
                 \"netns\":{{\"inode\":1,\"name\":\"{netns}\"}},\"len\":60{rest}}}"
            );
        }
        text += r#"{"type":"journey","packet":1,"flow":1,"outcome":"dropped","hops":3,"first":{},"last":{}}"#;
        text += "\n";
        text += r#"{"type":"verdict","flow":1,"outcome":"dropped","packets":1,"delivered":0,"forward":{"proto":"udp","src":"10.0.0.1","dst":"10.0.0.2"},"where":{"netns":"router"},"reason":"NETFILTER_DROP","text":"dropped in router","next":[],"evidence":[1]}"#;
        text + "\n"
    }

    fn problems(text: &str) -> Vec<String> {
        Recording::parse(text.as_bytes()).err().unwrap_or_default()
    }

    #[test]
    fn a_good_recording_is_accepted() {
        assert_eq!(problems(&example()), Vec::<String>::new());
    }

    #[test]
    fn what_breaks_the_contract_is_found() {
        for (from, to, what) in [
            ("{\"type\":\"hop\",\"ts\":10", "hello\n{\"type\":\"hop\",\"ts\":10", "no JSON"),
            ("\"ts\":20", "\"ts\":40", "backwards"),
            ("\"hop\":3", "\"hop\":4", "numbered"),
            ("\"hops\":3", "\"hops\":2", "its journey"),
            ("\"packets\":1", "\"packets\":3", "counts other packets"),
            ("\"delivered\":0", "\"delivered\":2", "more delivered"),
            ("\"evidence\":[1]", "\"evidence\":[9]", "evidence 9"),
            ("\"type\":\"meta\"", "\"type\":\"metal\"", "unknown type"),
            (
                "{\"type\":\"meta\"",
                "{\"type\":\"lost\",\"cpu\":0,\"count\":1,\"ts\":1}\n{\"type\":\"meta\"",
                "no meta",
            ),
            ("\"evidence\":[1]}\n", "\"evidence\":[1]}", "cut off"),
        ] {
            let broken = example().replace(from, to);
            assert_ne!(broken, example(), "{from} is not in the example");
            let found = problems(&broken);
            assert!(found.iter().any(|p| p.contains(what)), "{from} to {to}: {found:?}");
        }
    }
}
