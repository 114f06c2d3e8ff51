//! What a scenario expects, and whether a recording shows it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::recording::Recording;

/// One twin's expectation.
///
/// A *pattern* is a part of a JSON object: every key in it must be there, with the same value. A
/// list in a pattern stands for any one of its members, or, against a list, for members that must
/// all be in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The exit status with `--exit-code`.
    pub exit: i32,
    /// Pattern that picks out the flow by its verdict's `forward`, and under the key `where` by its
    /// `where`; any flow when empty.
    #[serde(default)]
    pub flow: Map<String, Value>,
    /// Pattern of the flow's verdict.
    pub verdict: Value,
    /// The kernel's own names for the reason, of which the verdict must give one. Several where
    /// kernels differ.
    #[serde(default)]
    pub reason: Vec<String>,
    /// Words that the verdict's text must contain, in any case; `|` separates equally good ones.
    #[serde(default)]
    pub words: Vec<String>,
    /// Words that one of the verdict's next commands must contain; `|` likewise.
    #[serde(default)]
    pub next: Vec<String>,
    /// Other flows that were matched too, and what their verdicts must be.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// Ways: each must be that of some packet of the flow.
    #[serde(default)]
    pub path: Vec<Way>,
    /// Patterns of hops that no packet of the flow may have.
    #[serde(default)]
    pub never: Vec<Value>,
}

/// What is expected of one more flow.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Pattern that picks it out by its verdict's `forward`.
    pub flow: Map<String, Value>,
    /// Pattern of its verdict.
    pub verdict: Value,
}

/// Patterns of hops that one packet passes in this order, with any others between them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The hops.
    pub hops: Vec<Value>,
}

impl Expectation {
    /// What the recording does not show as expected; nothing when it is all there.
    pub fn failures(&self, recording: &Recording) -> Vec<String> {
        let verdict = match verdict_on(&self.flow, recording) {
            Ok(verdict) => verdict,
            Err(failure) => return vec![failure],
        };
        let mut failures = Vec::new();
        difference("verdict", &self.verdict, verdict, &mut failures);
        for other in &self.beside {
            match verdict_on(&other.flow, recording) {
                Ok(verdict) => {
                    difference("verdict beside", &other.verdict, verdict, &mut failures);
                }
                Err(failure) => failures.push(failure),
            }
        }
        self.check_words(verdict, &mut failures);
        self.check_ways(recording, verdict, &mut failures);
        failures
    }

    fn check_words(&self, verdict: &Value, failures: &mut Vec<String>) {
        let reason = verdict["reason"].as_str();
        if !self.reason.is_empty() && !self.reason.iter().any(|r| Some(r.as_str()) == reason) {
            failures.push(format!("verdict.reason: wanted {:?}, got {reason:?}", self.reason));
        }
        let text = verdict["text"].as_str().unwrap_or_default().to_lowercase();
        for word in &self.words {
            if !word.to_lowercase().split('|').any(|word| text.contains(word)) {
                failures.push(format!("verdict.text does not say {word:?}: {text:?}"));
            }
        }
        let commands = verdict["next"].to_string().to_lowercase();
        for word in &self.next {
            if !word.to_lowercase().split('|').any(|word| commands.contains(word)) {
                failures.push(format!("verdict.next has no {word:?}: {commands}"));
            }
        }
    }

    fn check_ways(&self, recording: &Recording, verdict: &Value, failures: &mut Vec<String>) {
        let packets = recording.packets_of(&verdict["flow"]);
        let ways: Vec<_> = packets.iter().map(|packet| recording.way(packet)).collect();
        for wanted in &self.path {
            let best = ways.iter().map(|way| passed(&wanted.hops, way)).max().unwrap_or(0);
            if let Some(missing) = wanted.hops.get(best) {
                failures.push(format!(
                    "no packet passes the wanted hops in order: number {} is missing: {missing}",
                    best + 1
                ));
            }
        }
        for unwanted in &self.never {
            if let Some(hop) = ways.iter().flatten().find(|hop| matches(unwanted, hop)) {
                failures.push(format!("a packet was where none may be, {unwanted}: {hop}"));
            }
        }
    }
}

/// The one verdict on the flow, or what there is instead.
fn verdict_on<'a>(
    flow: &Map<String, Value>,
    recording: &'a Recording,
) -> Result<&'a Value, String> {
    let all = recording.verdicts();
    let mut forward = flow.clone();
    // Flows in two networks may look the same.
    let place = forward.remove("where").unwrap_or_else(|| Value::Object(Map::new()));
    let forward = Value::Object(forward);
    let is_meant = |v: &&Value| matches(&forward, &v["forward"]) && matches(&place, &v["where"]);
    let of_flow: Vec<&Value> = all.iter().copied().filter(is_meant).collect();
    let pattern = Value::Object(flow.clone());
    let [verdict] = of_flow[..] else {
        return Err(format!(
            "wanted one verdict on the flow {pattern}, got {}: {}",
            of_flow.len(),
            all.iter().map(|v| v["text"].to_string()).collect::<Vec<_>>().join(", ")
        ));
    };
    Ok(verdict)
}

/// How many of the wanted hops, from the first, the way passes in order.
fn passed(wanted: &[Value], way: &[&Value]) -> usize {
    let mut done = 0;
    for hop in way {
        if wanted.get(done).is_some_and(|pattern| matches(pattern, hop)) {
            done += 1;
        }
    }
    done
}

fn matches(pattern: &Value, value: &Value) -> bool {
    let mut failures = Vec::new();
    difference("", pattern, value, &mut failures);
    failures.is_empty()
}

fn difference(path: &str, pattern: &Value, value: &Value, failures: &mut Vec<String>) {
    match (pattern, value) {
        (Value::Object(wanted), _) => {
            for (key, pattern) in wanted {
                let value = value.get(key).unwrap_or(&Value::Null);
                difference(&format!("{path}.{key}"), pattern, value, failures);
            }
        }
        (Value::Array(wanted), Value::Array(values)) => {
            for pattern in wanted {
                if !values.iter().any(|value| matches(pattern, value)) {
                    failures.push(format!("{path}: wanted {pattern} in it, got {value}"));
                }
            }
        }
        (Value::Array(wanted), _) if wanted.iter().any(|pattern| matches(pattern, value)) => {}
        _ if pattern == value => {}
        _ => failures.push(format!("{path}: wanted {pattern}, got {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::tests::example;

    const GOOD: &str = r#"
        exit = 10
        flow = { src = "10.0.0.1" }
        verdict = { outcome = "dropped", where = { netns = ["router", "gateway"] } }
        reason = ["NETFILTER_DROP"]
        words = ["Router", "lost|dropped"]
        never = [{ netns = { name = "server" } }]
        [[path]]
        hops = [{ hook = "tc-egress", netns = { name = "client" } }, { hook = "drop" }]
    "#;

    fn failures(toml: &str) -> Vec<String> {
        let expectation: Expectation = toml::from_str(toml).expect("parses");
        expectation.failures(&Recording::parse(example().as_bytes()).expect("a good recording"))
    }

    #[test]
    fn what_is_there_is_found() {
        assert_eq!(failures(GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_is_not_there_is_missed() {
        for (from, to, what) in [
            ("\"dropped\"", "\"delivered\"", "verdict.outcome"),
            ("[\"router\", \"gateway\"]", "\"server\"", "verdict.where.netns"),
            ("NETFILTER_DROP", "NO_SOCKET", "verdict.reason"),
            ("\"Router\"", "\"firewall\"", "verdict.text"),
            ("10.0.0.1", "10.0.0.9", "got 0"),
            ("\"server\" }", "\"router\" }", "where none may be"),
            ("{ hook = \"drop\" }", "{ hook = \"deliver\" }", "number 2 is missing"),
            ("\"tc-egress\"", "\"tc-ingress\"", "number 1 is missing"),
        ] {
            let changed = GOOD.replace(from, to);
            assert_ne!(changed, GOOD, "{from} is not in the example");
            let found = failures(&changed);
            assert!(found.len() == 1 && found[0].contains(what), "{from} to {to}: {found:?}");
        }
    }

    #[test]
    fn hops_in_the_wrong_order_do_not_count() {
        let swapped = GOOD.replace(
            "{ hook = \"tc-egress\", netns = { name = \"client\" } }, { hook = \"drop\" }",
            "{ hook = \"drop\" }, { hook = \"tc-egress\" }",
        );
        assert!(failures(&swapped)[0].contains("number 2 is missing"));
    }

    #[test]
    fn a_pattern_list_against_a_list_wants_all_members() {
        let value = serde_json::json!({"vlan": [{"id": 20, "pcp": 0}], "evidence": [1, 2]});
        assert!(matches(&serde_json::json!({"vlan": [{"id": 20}]}), &value));
        assert!(!matches(&serde_json::json!({"vlan": [{"id": 20}, {"id": 30}]}), &value));
    }
}
