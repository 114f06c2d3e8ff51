//! The keys of every record, and what may stand behind each.

use super::{BYTE, Field, Kind, LONG, OUTCOMES, SHORT, WORD, may, must};

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

const TUPLE: &[Field] = &[
    must("proto", Kind::Text),
    must("src", Kind::Address),
    may("sport", SHORT),
    must("dst", Kind::Address),
    may("dport", SHORT),
];
const NETNS: &[Field] = &[must("inode", WORD), may("name", Kind::Text), may("path", Kind::Text)];
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
    may("dport", SHORT),
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

pub(super) const META: &[Field] = &[
    must("version", WORD),
    must("tool", Kind::Text),
    must("kernel", Kind::Text),
    must("hostname", Kind::Text),
    must("start", Kind::Text),
    must("start_monotonic_ns", Kind::Decimal),
    may("ready", LONG),
    may("ring", LONG),
    must("filter", Kind::Text),
    must("probes", Kind::List(&Kind::Text)),
    may("blind", Kind::List(&Kind::Text)),
    may("unseen", Kind::List(&Kind::Text)),
];
pub(super) const HOP: &[Field] = &[
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
pub(super) const JOURNEY: &[Field] = &[
    must("packet", LONG),
    must("flow", LONG),
    must("outcome", Kind::OneOf(OUTCOMES)),
    must("hops", WORD),
    must("first", Kind::Object(WHERE)),
    must("last", Kind::Object(WHERE)),
];
const OVS_TRACE_KINDS: &[&str] =
    &["rule", "no-match", "missing-port", "refused", "fragment", "passes", "mirrored", "unknown"];
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
pub(super) const OVS_TRACE: &[Field] = &[
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
const ALSO: &[Field] = &[
    must("outcome", Kind::OneOf(OUTCOMES)),
    must("packets", LONG),
    must("where", Kind::Object(WHERE)),
    may("reason", Kind::Text),
    must("evidence", Kind::List(&LONG)),
];
pub(super) const VERDICT: &[Field] = &[
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
    may("also", Kind::List(&Kind::Object(ALSO))),
    may("incomplete", Kind::Flag),
    may("rule", Kind::Object(OVS_TRACE)),
];
const FLOWS: &[Field] = &[
    may("delivered", LONG),
    may("forwarded", LONG),
    may("dropped", LONG),
    may("dropped-by-ovs", LONG),
    may("upcall-lost", LONG),
    may("reply-not-translated", LONG),
    may("misaddressed", LONG),
    may("vanished", LONG),
    may("in-flight", LONG),
];
pub(super) const SUMMARY: &[Field] = &[
    must("ts", LONG),
    must("flows", LONG),
    must("packets", LONG),
    must("delivered", LONG),
    must("outcomes", Kind::Object(FLOWS)),
];
pub(super) const DROPS: &[Field] = &[
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
pub(super) const END: &[Field] = &[must("ts", LONG)];
const CT_ENTRY: &[Field] = &[
    may("orig", Kind::Object(TUPLE)),
    may("reply", Kind::Object(TUPLE)),
    may("zone", SHORT),
    may("mark", WORD),
    must("status", WORD),
    may("timeout", WORD),
];
pub(super) const CONNTRACK: &[Field] = &[
    must("ts", LONG),
    must("netns", Kind::Object(NETNS)),
    may("tuple", Kind::Object(TUPLE)),
    may("zone", SHORT),
    may("entry", Kind::Object(CT_ENTRY)),
    may("count", WORD),
    may("max", WORD),
    may("failed", Kind::Text),
];
const JUMP: &[Field] = &[must("chain", Kind::Text), may("text", Kind::Text)];
const RULE: Kind = Kind::Object(&[
    must("family", Kind::Text),
    must("table", Kind::Text),
    must("chain", Kind::Text),
    may("handle", LONG),
    may("number", LONG),
    may("via", Kind::List(&Kind::Object(JUMP))),
    may("text", Kind::Text),
]);
pub(super) const NETFILTER: &[Field] = &[
    must("ts", LONG),
    must("netns", Kind::Object(NETNS)),
    must("tuple", Kind::Object(TUPLE)),
    must("hook", Kind::Text),
    must("way", Kind::Text),
    must("rules", Kind::List(&RULE)),
    may("certain", Kind::Flag),
    may("partial", Kind::Flag),
    may("read", Kind::List(&Kind::Text)),
    may("failed", Kind::Text),
];
pub(super) const ROUTING: &[Field] = &[
    must("ts", LONG),
    must("netns", Kind::Object(NETNS)),
    must("dev", Kind::Text),
    must("dst", Kind::Address),
    may("forwarding", Kind::Flag),
    may("holder", Kind::Text),
    may("state", Kind::OneOf(&["tentative", "dadfailed"])),
    may("out", Kind::Text),
    may("far_end", Kind::Address),
    may("failed", Kind::Text),
];
pub(super) const LOST: &[Field] = &[
    must("cpu", WORD),
    must("count", LONG),
    must("ts", LONG),
    may("what", Kind::Text),
    may("hook", Kind::OneOf(HOOKS)),
    may("since", LONG),
    may("until", LONG),
];
