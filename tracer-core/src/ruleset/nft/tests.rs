use super::*;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::HookName::Drop;
use crate::ruleset::parse_saved;
use crate::verdict::hook::{Hook, HookPoint, Layer};

const FORWARD: Hook = Hook { point: HookPoint::Forward, layer: Layer::Ip };

fn syn(dport: u16) -> Facts {
    let syn = hop(Drop, 1, 1).tuple(tuple("tcp", "10.0.0.1", 4000, "10.0.0.2", dport)).tcp("S");
    Facts::of(&syn.on("router", "eth0", None), FORWARD).unwrap()
}

fn ruleset(policy: &str, rules: &[&str]) -> Ruleset {
    let rules: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(n, expr)| {
            let (chain, expr) = expr.split_once(' ').unwrap();
            format!(
                r#"{{"rule":{{"family":"inet","table":"t","chain":"{chain}","handle":{},"expr":{expr}}}}}"#,
                n + 10
            )
        })
        .collect();
    let json = format!(
        r#"{{"nftables":[
        {{"set":{{"family":"inet","name":"bad","table":"t","type":"ipv4_addr","handle":3,
            "elem":[{{"prefix":{{"addr":"10.1.0.0","len":16}}}},{{"range":["10.0.0.1","10.0.0.9"]}}]}}}},
        {{"chain":{{"family":"inet","table":"t","name":"sub","handle":1}}}},
        {{"chain":{{"family":"inet","table":"t","name":"forward","handle":2,"type":"filter",
            "hook":"forward","prio":0,"policy":"{policy}"}}}},
        {}]}}"#,
        rules.join(",")
    );
    Ruleset::parse(json.as_bytes()).unwrap()
}

/// Handles of the candidates, negative where not certain; 0 is the policy.
fn found(policy: &str, rules: &[&str], dport: u16) -> Vec<i64> {
    let candidates =
        ruleset(policy, rules).candidates(&syn(dport), &["inet"], &mut Steps::default());
    let number = |c: &Candidate| {
        let handle = i64::try_from(c.rule.handle.unwrap_or(0)).unwrap_or(i64::MAX);
        if c.certain { handle } else { -handle }
    };
    candidates.iter().map(number).collect()
}

const DPORT: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[22,{"range":[80,90]}]}}}"#;
const LIMIT: &str = r#"{"limit":{"rate":1,"burst":5,"per":"second"}}"#;

#[test]
fn the_rule_that_matches_is_found_and_those_behind_it_are_not() {
    let drop = format!("forward [{DPORT},{{\"counter\":{{}}}},{{\"drop\":null}}]");
    assert_eq!(found("accept", &[&drop, "forward [{\"drop\":null}]"], 80), [10]);
    assert_eq!(found("accept", &[&drop, "forward [{\"drop\":null}]"], 91), [11]);
    assert_eq!(found("drop", &[&drop], 91), [0]);
    assert_eq!(found("accept", &[&drop], 91), [0_i64; 0]);
}

#[test]
fn what_cannot_be_told_leaves_both_in_question() {
    let limited = format!("forward [{LIMIT},{{\"drop\":null}}]");
    assert_eq!(found("accept", &[&limited, "forward [{\"drop\":null}]"], 80), [-10, -11]);
    // A set that limits each of its elements, and what nobody knows yet.
    let set = r#"{"set":{"op":"add","elem":{"payload":{"protocol":"ip","field":"saddr"}},"set":"@m","stmt":[{"limit":{"rate":1,"per":"minute"}}]}}"#;
    for unsure in [set, r#"{"of nft 9":{}}"#] {
        let rule = format!("forward [{unsure},{{\"drop\":null}}]");
        assert_eq!(found("accept", &[&rule, "forward [{\"drop\":null}]"], 80), [-10, -11]);
    }
    let known = r#"forward [{"log":null},{"counter":{}},{"mangle":{}},{"drop":null}]"#;
    assert_eq!(found("accept", &[known], 80), [10]);
    // A translation is a verdict.
    let translated = r#"forward [{"dnat":{"addr":"10.0.0.3"}}]"#;
    assert_eq!(found("drop", &[translated, "forward [{\"drop\":null}]"], 80), [0_i64; 0]);
    let accepted = format!("forward [{LIMIT},{{\"accept\":null}}]");
    assert_eq!(found("accept", &[&accepted, "forward [{\"drop\":null}]"], 80), [-11]);
}

#[test]
fn named_sets_flags_and_states_are_understood() {
    let set = r#"forward [{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@bad"}},{"drop":null}]"#;
    assert_eq!(found("accept", &[set], 80), [10]);
    let flags = r#"forward [{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},[1,2,4,16]]},"right":2}},{"drop":null}]"#;
    assert_eq!(found("accept", &[flags], 80), [10]);
    let state = |right: &str| {
        format!(
            r#"forward [{{"match":{{"op":"in","left":{{"ct":{{"key":"state"}}}},"right":{right}}}}},{{"drop":null}}]"#
        )
    };
    assert_eq!(found("accept", &[&state("1")], 80), [10]);
    assert_eq!(found("accept", &[&state("[2,4]")], 80), [0_i64; 0]);
    let name = r#"forward [{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth*"}},{"drop":null}]"#;
    assert_eq!(found("accept", &[name], 80), [10]);
    let out = r#"forward [{"match":{"op":"==","left":{"meta":{"key":"oifname"}},"right":"eth1"}},{"drop":null}]"#;
    assert_eq!(found("accept", &[out], 80), [-10]);
    let udp = r#"forward [{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":80}},{"drop":null}]"#;
    assert_eq!(found("accept", &[udp], 80), [0_i64; 0]);
}

#[test]
fn chains_and_verdict_maps_are_followed() {
    let jump = "forward [{\"jump\":{\"target\":\"sub\"}}]";
    let back = format!("sub [{DPORT},{{\"return\":null}}]");
    let rules = [jump, &back, "sub [{\"drop\":null}]"];
    assert_eq!(found("accept", &rules, 80), [0_i64; 0]);
    assert_eq!(found("accept", &rules, 91), [12]);
    // By which rule it came there, its text where there is one.
    let candidates =
        ruleset("accept", &rules).candidates(&syn(91), &["inet"], &mut Steps::default());
    let via = |c: &Candidate| c.rule.via.iter().map(|j| j.chain.clone()).collect::<Vec<_>>();
    assert_eq!(candidates.iter().map(via).collect::<Vec<_>>(), [["forward"]]);
    let map = r#"forward [{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[1,{"accept":null}],[80,{"drop":null}]]}}}]"#;
    assert_eq!(found("accept", &[map], 80), [10]);
    assert_eq!(found("accept", &[map, "forward [{\"drop\":null}]"], 1), [0_i64; 0]);
}

#[test]
fn iptables_save_tells_what_nft_leaves_out() {
    let json = r#"{"nftables":[{"chain":{"family":"ip","table":"filter","name":"FORWARD","handle":1,"type":"filter","hook":"forward","prio":0,"policy":"accept"}},
        {"rule":{"family":"ip","table":"filter","chain":"FORWARD","handle":2,"expr":[{"xt":{"type":"match","name":"conntrack"}},{"drop":null}]}},
        {"rule":{"family":"ip","table":"filter","chain":"FORWARD","handle":3,"expr":[{"xt":{"type":"match","name":"statistic"}},{"drop":null}]}}]}"#;
    let saved = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate NEW -j DROP\n\
                 -A FORWARD -m statistic --mode random -j DROP\nCOMMIT\n";
    let mut rules = Ruleset::parse(json.as_bytes()).unwrap();
    assert_eq!(rules.has_foreign(), [true, false]);
    rules.learn_foreign(false, parse_saved(saved.as_bytes()).unwrap());
    let found = rules.candidates(&syn(80), &["ip"], &mut Steps::default());
    assert_eq!(found.iter().map(|c| c.rule.handle).collect::<Vec<_>>(), [Some(3)]);
}

/// Handles of the candidates among iptables' rules with these targets, negative where not certain.
fn found_by_target(targets: &[&str]) -> Vec<i64> {
    let rules: Vec<String> = targets
        .iter()
        .zip(2..)
        .map(|(name, handle)| {
            format!(
                r#"{{"rule":{{"family":"ip","table":"filter","chain":"FORWARD","handle":{handle},"expr":[{{"counter":{{}}}},{{"xt":{{"type":"target","name":"{name}"}}}}]}}}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"nftables":[{{"chain":{{"family":"ip","table":"filter","name":"FORWARD","handle":1,"type":"filter","hook":"forward","prio":0,"policy":"accept"}}}},{}]}}"#,
        rules.join(",")
    );
    let rules = Ruleset::parse(json.as_bytes()).unwrap();
    let number = |c: &Candidate| {
        let handle = i64::try_from(c.rule.handle.unwrap_or(0)).unwrap_or(i64::MAX);
        if c.certain { handle } else { -handle }
    };
    rules.candidates(&syn(80), &["ip"], &mut Steps::default()).iter().map(number).collect()
}

#[test]
fn targets_of_iptables_have_verdicts() {
    assert_eq!(found_by_target(&["REJECT"]), [2]);
    // It goes on behind some, may have ended by others, and has ended behind a REJECT.
    assert_eq!(found_by_target(&["LOG", "MARK", "REJECT", "REJECT"]), [4]);
    assert_eq!(found_by_target(&["NFQUEUE", "REJECT"]), [-3]);
    assert_eq!(found_by_target(&["LOG"]), [0_i64; 0]);
}

#[test]
fn a_rule_is_shown_as_people_write_it() {
    let readable = "table inet t { # handle 1\n\tchain forward { # handle 2\n\t\ttype filter hook \
                    forward priority filter; policy accept;\n\t\ttcp dport 80 drop # handle 10\n\t}\n}\n";
    let rule = format!("forward [{DPORT},{{\"drop\":null}}]");
    let mut rules = ruleset("accept", &[&rule]);
    rules.learn_texts(readable.as_bytes()).unwrap();
    let found = rules.candidates(&syn(80), &["inet"], &mut Steps::default());
    assert_eq!(found[0].rule.text.as_deref(), Some("tcp dport 80 drop"));
}

/// A packet of a VXLAN that has come to the host which is its other end.
fn in_vxlan(dport: Option<u16>, hook: Hook) -> Facts {
    let mut inner = hop(Drop, 1, 1).on("node", "eth0", None);
    inner.tunnel = Some(std::sync::Arc::new(crate::record::Tunnel {
        kind: "vxlan".to_owned(),
        key: Some(7),
        src: "192.0.2.1".parse().unwrap(),
        dst: "192.0.2.2".parse().unwrap(),
        dport,
    }));
    Facts::of(&inner, hook).unwrap()
}

#[test]
fn the_outermost_header_is_what_rules_see() {
    let rule = |left: &str, right: &str| {
        format!(
            r#"forward [{{"match":{{"op":"==","left":{left},"right":{right}}}}},{{"drop":null}}]"#
        )
    };
    let field = |protocol: &str, field: &str| {
        format!(r#"{{"payload":{{"protocol":"{protocol}","field":"{field}"}}}}"#)
    };
    for (left, right, outer, unknown_port) in [
        (field("udp", "dport"), "4789", Some(true), None),
        (field("udp", "dport"), "53", Some(false), None),
        (field("udp", "sport"), "1000", None, None),
        (field("ip", "saddr"), "\"192.0.2.1\"", Some(true), Some(true)),
        (field("ip", "saddr"), "\"10.0.0.1\"", Some(false), Some(false)),
        (field("icmp", "type"), "8", Some(false), Some(false)),
        (field("ip", "protocol"), "17", Some(true), Some(true)),
    ] {
        let rules = ruleset("accept", &[&rule(&left, right)]);
        for (dport, expected) in [(Some(4789), outer), (None, unknown_port)] {
            let found =
                rules.candidates(&in_vxlan(dport, FORWARD), &["inet"], &mut Steps::default());
            let told = found.first().map_or(Some(false), |c| c.certain.then_some(true));
            assert_eq!(told, expected, "{left} {right} {dport:?}");
        }
    }
}

#[test]
fn a_devices_own_chain_is_not_another_devices() {
    let json = |device: &str| {
        format!(
            r#"{{"nftables":[{{"chain":{{"family":"netdev","table":"t","name":"c","handle":1,
            "type":"filter","hook":"egress","prio":0,"policy":"accept","dev":{device}}}}},
            {{"rule":{{"family":"netdev","table":"t","chain":"c","handle":2,"expr":[{DPORT},{{"drop":null}}]}}}}]}}"#
        )
    };
    let hook = Hook { point: HookPoint::Egress, layer: Layer::Device };
    let facts = Facts { hook, ..syn(80) };
    for (device, found) in
        [(r#""eth0""#, true), (r#"["eth1","eth0"]"#, true), (r#""eth1""#, false), ("[]", true)]
    {
        let rules = Ruleset::parse(json(device).as_bytes()).unwrap();
        assert_eq!(
            !rules.candidates(&facts, &["netdev"], &mut Steps::default()).is_empty(),
            found,
            "{device}"
        );
    }
}

#[test]
fn a_bridges_rules_see_frames() {
    let port = hop(Drop, 1, 1)
        .tuple(tuple("tcp", "10.0.0.1", 4000, "10.0.0.2", 80))
        .tcp("S")
        .on("switch", "p2", Some("veth"))
        .enslaved()
        .to_mac("02:00:00:00:00:05");
    let hook = Hook { point: HookPoint::Forward, layer: Layer::Bridge };
    let facts = Facts::of(&port, hook).unwrap();
    let mut arp = port;
    (arp.ip, arp.tcp) = (None, None);
    arp.tuple.as_mut().unwrap().proto = crate::record::Proto::Arp;
    let arp = Facts::of(&arp, hook).unwrap();
    let ether = r#"{"payload":{"protocol":"ether","field":"type"}}"#;
    for (left, right, of_ip, of_arp) in [
        (ether, "8", true, false),
        (ether, "2054", false, true),
        (ether, "\"ip\"", true, false),
        (
            r#"{"payload":{"protocol":"ether","field":"daddr"}}"#,
            "\"02:00:00:00:00:05\"",
            true,
            true,
        ),
        (r#"{"meta":{"key":"obrname"}}"#, "\"br0\"", true, true),
        (r#"{"payload":{"protocol":"ip","field":"saddr"}}"#, "\"10.0.0.1\"", true, false),
    ] {
        let json = format!(
            r#"{{"nftables":[{{"chain":{{"family":"bridge","table":"filter","name":"FORWARD","handle":1,
            "type":"filter","hook":"forward","prio":-200,"policy":"accept"}}}},
            {{"rule":{{"family":"bridge","table":"filter","chain":"FORWARD","handle":2,"expr":[
            {{"match":{{"op":"==","left":{left},"right":{right}}}}},{{"drop":null}}]}}}}]}}"#
        );
        let rules = Ruleset::parse(json.as_bytes()).unwrap();
        let drops = |facts| {
            rules.candidates(facts, &["bridge"], &mut Steps::default()).iter().any(|c| c.certain)
        };
        assert_eq!((drops(&facts), drops(&arp)), (of_ip, of_arp), "{left} {right}");
    }
}

/// Sixteen chains, each of which calls the next one a hundred times, perhaps: more ways than there is time for.
#[test]
fn chains_that_call_each_other_have_an_end() {
    let chain = |n: usize| if n == 0 { "forward".to_owned() } else { format!("c{n}") };
    let jump =
        |n: usize| format!("{} [{LIMIT},{{\"jump\":{{\"target\":\"c{}\"}}}}]", chain(n), n + 1);
    let mut rules: Vec<String> = (0..15).flat_map(|n| vec![jump(n); 100]).collect();
    rules.push("forward [{\"drop\":null}]".to_owned());
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let mut steps = Steps::default();
    let found = ruleset("accept", &rules).candidates(&syn(80), &["inet"], &mut steps);
    assert!(steps.are_used_up() && found.iter().all(|c| !c.certain));
    // So many that may have refused it that not all are told.
    let limited = format!("forward [{LIMIT},{{\"drop\":null}}]");
    let many = vec![limited.as_str(); 1000];
    let mut steps = Steps::default();
    let found = ruleset("accept", &many).candidates(&syn(80), &["inet"], &mut steps);
    assert!(steps.are_used_up() && found.len() < 100);
}

#[test]
fn what_is_no_listing_is_refused() {
    let deep = format!(r#"{{"nftables":[{{"rule":{}"#, "[".repeat(100_000));
    for (json, why) in [
        ("", "EOF"),
        ("[]", "invalid type"),
        ("{}", "missing field"),
        (r#"{"nftables":7}"#, "invalid type"),
        (r#"{"nftables":[7]}"#, "invalid type"),
        (r#"{"nftables":[{"set":[]}]}"#, "invalid type"),
        (r#"{"nftables":[{"rule":{"expr":["#, "EOF"),
        (&deep, "recursion limit"),
    ] {
        let told = Ruleset::parse(json.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(
            told.starts_with("its answer was not understood: ") && told.contains(why),
            "{told}"
        );
    }
    let odd = r#"{"nftables":[{"rule":7},{"chain":[]},{"rule":{"expr":[[],{},{"match":1},{"vmap":[]}]}}]}"#;
    assert!(Ruleset::parse(odd.as_bytes()).is_ok());
}
