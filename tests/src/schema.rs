//! What an NDJSON line must look like: CONTRACT's section "NDJSON", declared on its own, so that a
//! key renamed in the collector is an error here.

use serde_json::Value;

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
];

const HOOKS: &[&str] = &[
    "tc-ingress",
    "tc-egress",
    "drop",
    "consume",
    "deliver",
    "clone",
    "ovs-receive",
    "ovs-upcall",
    "ovs-actions",
    "ovs-output",
    "ovs-answer",
    "ct",
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

const TUPLE: &[Field] = &[
    must("proto", Kind::Text),
    must("src", Kind::Address),
    may("sport", SHORT),
    must("dst", Kind::Address),
    may("dport", SHORT),
];
const NETNS: &[Field] = &[must("inode", WORD), may("name", Kind::Text)];
const PEER: &[Field] = &[must("netns", WORD), must("ifindex", WORD), may("name", Kind::Text)];
const DEV: &[Field] = &[
    must("ifindex", WORD),
    must("name", Kind::Text),
    may("kind", Kind::Text),
    may("mac", Kind::Mac),
    may("peer", Kind::Object(PEER)),
    may("master", Kind::Text),
    may("mtu", WORD),
    may("bridge", Kind::Text),
    may("ofport", WORD),
    may("bond", Kind::Text),
];
const ETH: &[Field] = &[must("src", Kind::Mac), must("dst", Kind::Mac)];
const VLAN: Kind = Kind::Object(&[
    must("id", Kind::Number(4095)),
    must("tpid", SHORT),
    must("pcp", Kind::Number(7)),
]);
const IP: &[Field] = &[
    may("id", WORD),
    must("ttl", BYTE),
    must("len", WORD),
    may("df", Kind::Flag),
    may("frag_offset", SHORT),
    may("more_fragments", Kind::Flag),
];
const TCP: &[Field] = &[
    must("flags", Kind::Text),
    must("seq", WORD),
    must("ack", WORD),
    may("window", SHORT),
    may("data", WORD),
    may("scale", BYTE),
];
const ICMP: &[Field] = &[
    must("type", BYTE),
    must("code", BYTE),
    may("id", SHORT),
    may("seq", SHORT),
    may("mtu", WORD),
    may("about", Kind::Object(TUPLE)),
];
const ARP: &[Field] =
    &[must("op", Kind::Text), must("sender_mac", Kind::Mac), must("target_mac", Kind::Mac)];
const TUNNEL: &[Field] = &[
    must("kind", Kind::OneOf(&["vxlan", "geneve", "gre", "ipip"])),
    may("key", WORD),
    must("src", Kind::Address),
    must("dst", Kind::Address),
];
const CT: &[Field] = &[
    may("state", Kind::Text),
    may("zone", SHORT),
    may("mark", WORD),
    may("orig", Kind::Object(TUPLE)),
    may("reply", Kind::Object(TUPLE)),
    may("nat", Kind::List(&Kind::OneOf(&["src", "dst"]))),
    may("status", Kind::List(&Kind::Text)),
    may("labels", Kind::Text),
    may("icmp_ids", Kind::List(&SHORT)),
    may("entry", Kind::Text),
];
const OVS: &[Field] = &[
    may("dp", Kind::Text),
    may("in_port", Kind::Text),
    may("in_port_no", WORD),
    may("port", Kind::Text),
    may("port_no", WORD),
    may("recirc_id", WORD),
    may("actions", Kind::Text),
    may("empty", Kind::Flag),
    may("cut", Kind::Flag),
    may("ct_state", Kind::Text),
    may("ct_zone", SHORT),
    may("ct_mark", WORD),
    may("ct_label", Kind::Text),
    may("from_userspace", Kind::Flag),
    may("upcall", Kind::Object(UPCALL)),
    may("key", Kind::Text),
];
const UPCALL: &[Field] = &[may("cmd", Kind::Text), may("result", Kind::Text)];
const DROP: &[Field] = &[
    may("reason", Kind::Text),
    may("subsystem", Kind::Text),
    may("symbol", Kind::Text),
    may("offset", LONG),
    must("silent", Kind::Flag),
];
const PLACE: &[Field] = &[must("symbol", Kind::Text), must("offset", LONG)];
const WHERE: &[Field] = &[
    may("netns", Kind::Text),
    may("dev", Kind::Text),
    may("hook", Kind::OneOf(HOOKS)),
    may("symbol", Kind::Text),
    may("bridge", Kind::Text),
];

const META: &[Field] = &[
    must("version", WORD),
    must("tool", Kind::Text),
    must("kernel", Kind::Text),
    must("hostname", Kind::Text),
    must("start", Kind::Text),
    must("start_monotonic_ns", Kind::Decimal),
    must("filter", Kind::Text),
    must("probes", Kind::List(&Kind::Text)),
    may("blind", Kind::List(&Kind::Text)),
];
const HOP: &[Field] = &[
    must("ts", LONG),
    must("cpu", WORD),
    must("packet", LONG),
    must("hop", WORD),
    must("hook", Kind::OneOf(HOOKS)),
    may("netns", Kind::Object(NETNS)),
    may("dev", Kind::Object(DEV)),
    may("eth", Kind::Object(ETH)),
    may("vlan", Kind::List(&VLAN)),
    may("tuple", Kind::Object(TUPLE)),
    may("ip", Kind::Object(IP)),
    may("tcp", Kind::Object(TCP)),
    may("icmp", Kind::Object(ICMP)),
    may("arp", Kind::Object(ARP)),
    may("tunnel", Kind::Object(TUNNEL)),
    may("ct", Kind::Object(CT)),
    may("ovs", Kind::Object(OVS)),
    may("drop", Kind::Object(DROP)),
    may("by", Kind::Object(PLACE)),
    may("stack", Kind::List(&Kind::Text)),
    must("len", WORD),
    may("bad_checksum", Kind::Flag),
    may("pkt_type", Kind::Text),
    may("life", LONG),
    may("parent", LONG),
    may("skb", Kind::Text),
    may("fingerprint", Kind::Hex),
];
const JOURNEY: &[Field] = &[
    must("packet", LONG),
    must("flow", LONG),
    must("outcome", Kind::OneOf(OUTCOMES)),
    must("hops", WORD),
    must("first", Kind::Object(WHERE)),
    must("last", Kind::Object(WHERE)),
];
const OVS_TRACE_KINDS: &[&str] =
    &["rule", "no-match", "missing-port", "refused", "fragment", "passes", "unknown"];
const LOGICAL_FLOW: &[Field] = &[
    must("uuid", Kind::Text),
    must("pipeline", Kind::Text),
    must("table", WORD),
    may("stage", Kind::Text),
    may("datapath", Kind::Text),
    must("priority", WORD),
    must("match", Kind::Text),
    must("actions", Kind::Text),
];
const ACL: &[Field] = &[
    must("uuid", Kind::Text),
    may("name", Kind::Text),
    must("direction", Kind::Text),
    must("priority", WORD),
    must("match", Kind::Text),
    must("action", Kind::Text),
];
const OVS_TRACE: &[Field] = &[
    must("packet", LONG),
    must("kind", Kind::OneOf(OVS_TRACE_KINDS)),
    may("bridge", Kind::Text),
    may("table", BYTE),
    may("priority", SHORT),
    may("match", Kind::Text),
    may("cookie", Kind::Text),
    may("rule_actions", Kind::Text),
    may("port", Kind::Text),
    may("words", Kind::Text),
    may("ct_states", Kind::List(&Kind::Text)),
    may("passes_simulated", Kind::Flag),
    may("disagrees", Kind::Text),
    may("datapath_actions", Kind::Text),
    may("asked", Kind::Text),
    may("show", Kind::Text),
    may("fix", Kind::Text),
    may("logical_flow", Kind::Object(LOGICAL_FLOW)),
    may("acl", Kind::Object(ACL)),
    may("lacks", Kind::Text),
];
const VERDICT: &[Field] = &[
    must("flow", LONG),
    must("outcome", Kind::OneOf(OUTCOMES)),
    must("packets", LONG),
    must("delivered", LONG),
    may("related", LONG),
    may("forward", Kind::Object(TUPLE)),
    may("translated", Kind::Object(TUPLE)),
    may("where", Kind::Object(WHERE)),
    may("due", Kind::Object(WHERE)),
    may("reason", Kind::Text),
    must("text", Kind::Text),
    must("next", Kind::List(&Kind::Text)),
    must("evidence", Kind::List(&LONG)),
    may("incomplete", Kind::Flag),
    may("rule", Kind::Object(OVS_TRACE)),
];
const DROPS: &[Field] = &[
    must("ts", LONG),
    may("reason", Kind::Text),
    may("subsystem", Kind::Text),
    may("symbol", Kind::Text),
    may("netns", Kind::Text),
    may("dev", Kind::Text),
    must("count", LONG),
    must("bytes", LONG),
    may("offset", LONG),
    may("proto", Kind::Text),
    may("src", Kind::Address),
    may("sport", SHORT),
    may("dst", Kind::Address),
    may("dport", SHORT),
    may("stack", Kind::List(&Kind::Text)),
    may("ovs_port", Kind::Text),
    may("meaning", Kind::Text),
    may("next", Kind::List(&Kind::Text)),
    may("everyday", Kind::Text),
    may("rest", Kind::Flag),
    may("silent", Kind::Flag),
    may("folded", LONG),
];
const END: &[Field] = &[must("ts", LONG)];
const CT_ENTRY: &[Field] = &[
    may("orig", Kind::Object(TUPLE)),
    may("reply", Kind::Object(TUPLE)),
    may("zone", SHORT),
    may("mark", WORD),
    must("status", WORD),
    may("timeout", WORD),
];
const CONNTRACK: &[Field] = &[
    must("ts", LONG),
    must("netns", Kind::Object(NETNS)),
    may("tuple", Kind::Object(TUPLE)),
    may("zone", SHORT),
    may("entry", Kind::Object(CT_ENTRY)),
    may("count", WORD),
    may("max", WORD),
    may("failed", Kind::Text),
];
const RULE: Kind = Kind::Object(&[
    must("family", Kind::Text),
    must("table", Kind::Text),
    must("chain", Kind::Text),
    may("handle", LONG),
    may("number", LONG),
    may("text", Kind::Text),
]);
const NETFILTER: &[Field] = &[
    must("ts", LONG),
    must("netns", Kind::Object(NETNS)),
    must("tuple", Kind::Object(TUPLE)),
    must("hook", Kind::Text),
    must("way", Kind::Text),
    must("rules", Kind::List(&RULE)),
    may("certain", Kind::Flag),
    may("failed", Kind::Text),
];
const LOST: &[Field] = &[must("cpu", WORD), must("count", LONG), must("ts", LONG)];

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
