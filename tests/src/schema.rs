//! What an NDJSON line must look like: CONTRACT's section "NDJSON", declared on its own, so that a
//! key renamed in the collector is an error here.

mod records;

use serde_json::Value;

use self::records::{
    CONNTRACK, DROPS, END, HOP, JOURNEY, LOST, META, NETFILTER, OVS_TRACE, ROUTING, SUMMARY,
    VERDICT,
};

/// Every outcome a journey or a verdict can have.
pub const OUTCOMES: &[&str] = &[
    "delivered",
    "forwarded",
    "dropped",
    "dropped-by-ovs",
    "upcall-lost",
    "reply-not-translated",
    "misaddressed",
    "vanished",
    "in-flight",
    "unknown",
];

/// The largest number that jq keeps exact.
const EXACT: u64 = 1 << 53;

enum Kind {
    Text,
    /// A whole number from 0 to this.
    Number(u64),
    Flag,
    Address,
    Mac,
    /// A number too large for JSON, as decimal text.
    Decimal,
    Hex,
    OneOf(&'static [&'static str]),
    Object(&'static [Field]),
    List(&'static Kind),
}

struct Field {
    name: &'static str,
    required: bool,
    kind: Kind,
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, required: false, kind }
}

const BYTE: Kind = Kind::Number(255);
const SHORT: Kind = Kind::Number(65_535);
const WORD: Kind = Kind::Number(u32::MAX as u64);
const LONG: Kind = Kind::Number(EXACT);

/// What is wrong with one line; nothing when it is valid.
pub fn problems(line: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Some(kind) = line.get("type").and_then(Value::as_str) else {
        return vec!["no \"type\"".to_owned()];
    };
    let fields = match kind {
        "meta" => META,
        "hop" => HOP,
        "journey" => JOURNEY,
        "verdict" => VERDICT,
        "ovs-trace" => OVS_TRACE,
        "drops" => DROPS,
        "lost" => LOST,
        "conntrack" => CONNTRACK,
        "netfilter" => NETFILTER,
        "routing" => ROUTING,
        "summary" => SUMMARY,
        "end" => END,
        _ => return vec![format!("unknown type {kind:?}")],
    };
    check_object(kind, line, fields, &mut found);
    check_exact(kind, line, &mut found);
    check_drop(line, &mut found);
    found
}

/// A drop is told by the hook `drop`, or where the kernel only says that it consumed the packet, by
/// another hook and an object that calls it silent.
fn check_drop(line: &Value, found: &mut Vec<String>) {
    // A `lost` record has a hook too: where the events would have been.
    if line["type"] != "hop" {
        return;
    }
    let told = line.get("hook").is_some_and(|hook| hook == "drop");
    let silent = line.get("drop").map(|drop| drop["silent"] == true);
    if told != (silent == Some(false)) && silent != Some(true) {
        found.push("hook \"drop\" and the object \"drop\" go together".to_owned());
    }
}

fn check_object(path: &str, value: &Value, fields: &[Field], found: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        found.push(format!("{path} is no object: {value}"));
        return;
    };
    for field in fields {
        let path = format!("{path}.{}", field.name);
        match object.get(field.name) {
            Some(value) => check(&path, value, &field.kind, found),
            None if field.required => found.push(format!("{path} is missing")),
            None => {}
        }
    }
}

fn check(path: &str, value: &Value, kind: &Kind, found: &mut Vec<String>) {
    let text = value.as_str();
    let good = match kind {
        Kind::Text => text.is_some_and(|t| !t.contains('\0')),
        Kind::Number(most) => value.as_u64().is_some_and(|n| n <= *most),
        Kind::Flag => value.is_boolean(),
        Kind::Address => text.is_some_and(is_canonical_address),
        Kind::Mac => text.is_some_and(is_mac),
        Kind::Decimal => text.is_some_and(|t| t.parse::<u64>().is_ok()),
        Kind::Hex => text.is_some_and(|t| t.bytes().all(|b| b.is_ascii_hexdigit())),
        Kind::OneOf(names) => text.is_some_and(|t| names.contains(&t)),
        Kind::Object(fields) => {
            check_object(path, value, fields, found);
            true
        }
        Kind::List(item) => {
            for (n, value) in value.as_array().into_iter().flatten().enumerate() {
                check(&format!("{path}[{n}]"), value, item, found);
            }
            value.is_array()
        }
    };
    if !good {
        found.push(format!("{path} has a value it cannot have: {value}"));
    }
}

/// RFC 5952 for IPv6: the text is what the address is printed as.
fn is_canonical_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_string() == text)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let is_byte = |p: &&str| {
        p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    parts.len() == 6 && parts.iter().all(is_byte)
}

/// Numbers in keys that this schema does not know must be exact too.
fn check_exact(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Number(n) if n.as_u64().is_some_and(|n| n > EXACT) => {
            found.push(format!("{path} is past 2^53: {n}"));
        }
        Value::Array(items) => items.iter().for_each(|item| check_exact(path, item, found)),
        Value::Object(object) => {
            for (key, value) in object {
                check_exact(&format!("{path}.{key}"), value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hop() -> Value {
        json!({"type":"hop","ts":1,"cpu":0,"packet":1,"hop":1,"hook":"tc-ingress","len":60,
            "netns":{"inode":4_026_532_281_u32,"name":"r"},"eth":{"src":"02:00:00:00:00:01",
            "dst":"ff:ff:ff:ff:ff:ff"},"tuple":{"proto":"tcp","src":"fd00::1","dst":"fd00::2"}})
    }

    fn with(pointer: &str, value: Value) -> Vec<String> {
        let mut line = hop();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        line.pointer_mut(parent).expect("a parent")[key] = value;
        problems(&line)
    }

    #[test]
    fn a_good_hop_is_good_and_new_keys_are_welcome() {
        assert_eq!(problems(&hop()), Vec::<String>::new());
        assert_eq!(with("/colour", json!("red")), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_value_is_named() {
        for (pointer, value) in [
            ("/hook", json!("tc-sideways")),
            ("/ts", json!("1")),
            ("/ts", json!(-1)),
            ("/ts", json!(1.5)),
            ("/cookie", json!(1_u64 << 60)),
            ("/eth/src", json!("02:00:00:00:00:0G")),
            ("/tuple/src", json!("FD00::1")),
            ("/tuple/dport", json!(70_000)),
            ("/netns", json!("router")),
            ("/vlan", json!([{"id": 5000, "tpid": 33_024, "pcp": 0}])),
            ("/drop", json!({"silent": false})),
            ("/type", json!("hopp")),
        ] {
            let found = with(pointer, value);
            assert_eq!(found.len(), 1, "{pointer}: {found:?}");
        }
    }

    #[test]
    fn each_required_key_is_required() {
        for key in ["ts", "cpu", "packet", "hop", "hook", "len"] {
            let mut line = hop();
            line.as_object_mut().expect("an object").remove(key);
            assert_eq!(problems(&line), [format!("hop.{key} is missing")]);
        }
    }
}
