use std::sync::Arc;

use crate::reconstruct::Story;
use crate::reconstruct::asked::Answer;
use crate::reconstruct::testing::{HopExt, hop};
use crate::record::HookName::{Drop, TcIngress};
use crate::record::{Hop, Jump, Netfilter, Rule, Tunnel};

/// Text and commands of the verdict about a packet that netfilter dropped below `caller`, where
/// these rules of `hook` were held against it.
fn told(
    caller: &str,
    tunnel: Option<Tunnel>,
    answer: (&str, &[Rule], &[&str]),
) -> (String, Vec<String>) {
    let at = |hop: Hop| hop.on("r", "s0", Some("veth")).paired();
    let mut end = at(hop(Drop, 2, 1)).because(Some("NETFILTER_DROP"), "nft_do_chain");
    end.stack = Some(Arc::new(["nft_do_chain+0x1".to_owned(), format!("{caller}+0x3f9")]));
    end.tunnel = tunnel.map(Arc::new);
    let (hook, rules, read) = answer;
    let answer = Netfilter {
        ts: 3_000_000,
        netns: (**end.netns.as_ref().unwrap()).clone(),
        tuple: end.tuple.unwrap(),
        hook: hook.to_owned(),
        way: "rules".to_owned(),
        rules: rules.into(),
        certain: true,
        partial: false,
        read: read.iter().map(|&whose| whose.to_owned()).collect(),
        failed: None,
    };
    let mut story = Story::new();
    story.observe(&mut at(hop(TcIngress, 1, 1)));
    story.observe(&mut end);
    story.answered(Answer::Netfilter(answer));
    let verdict = story.finish(20_000_000_000).1.remove(0);
    (verdict.text, verdict.next)
}

fn rule(family: &str, table: &str, chain: &str) -> Rule {
    Rule {
        family: family.to_owned(),
        table: table.to_owned(),
        chain: chain.to_owned(),
        handle: Some(2),
        number: None,
        priority: Some(0),
        text: Some("drop".to_owned()),
        via: Vec::new(),
    }
}

#[test]
fn a_rule_in_a_chain_of_its_own_is_shown_with_the_rule_that_led_there() {
    let jump =
        |chain: &str, text: &str| Jump { chain: chain.to_owned(), text: Some(text.to_owned()) };
    let via = vec![jump("FORWARD", "jump USER"), jump("USER", "udp dport 53 jump REFUSE")];
    let rule = Rule { via, ..rule("ip", "filter", "REFUSE") };
    let (text, next) = told("ip_forward", None, ("forward", &[rule], &["ip"]));
    assert!(
        text.contains(
            "chain REFUSE, priority 0, handle 2; come to from chain FORWARD by \"jump USER\", chain USER \
             by \"udp dport 53 jump REFUSE\") refused it"
        ),
        "{text}"
    );
    let list = |chain| format!("ip netns exec r nft -a list chain ip filter {chain}");
    assert_eq!(next, [list("REFUSE"), list("USER")]);
}

#[test]
fn that_no_rule_would_is_said_only_of_what_was_read() {
    for (caller, hook, read, words) in [
        ("__dev_queue_xmit", "egress", &["netdev"][..], "none of nftables' netdev rules"),
        ("ip_output", "postrouting", &["inet", "ip"], "none of nftables' inet and ip rules"),
        (
            "ip_forward",
            "forward",
            &["inet", "ip", "iptables"],
            "inet and ip rules or those of iptables",
        ),
        ("ip_forward", "forward", &[], "a rule that was not found, or by what is no rule"),
    ] {
        let (text, _) = told(caller, None, (hook, &[], read));
        assert!(text.contains(&format!("in its {hook} hook")) && text.contains(words), "{text}");
    }
}

#[test]
fn a_bridges_rule_is_shown_by_what_made_it() {
    let ours = rule("bridge", "fw", "f");
    let (text, next) = told("__br_forward", None, ("bridge forward", &[ours], &["bridge"]));
    assert!(text.contains("table bridge fw, chain f") && text.contains("bridge forward hook"));
    assert_eq!(next, ["ip netns exec r nft -a list chain bridge fw f"]);
    let ebtables = rule("bridge", "filter", "FORWARD");
    let (_, next) = told("__br_forward", None, ("bridge forward", &[ebtables], &["bridge"]));
    assert_eq!(next[1], "ip netns exec r ebtables -t filter -L FORWARD --Lc");
    let (_, next) = told("__br_forward", None, ("bridge forward", &[], &["bridge"]));
    assert_eq!(next[1], "ip netns exec r ebtables -L --Lc");
}

#[test]
fn a_rule_on_the_outer_header_is_said_to_be_one() {
    let tunnel = Tunnel {
        kind: "vxlan".to_owned(),
        key: Some(7),
        src: "192.0.2.1".parse().unwrap(),
        dst: "192.0.2.2".parse().unwrap(),
        dport: Some(4789),
    };
    let own = rule("ip", "t", "i");
    let (text, _) = told("ip_local_deliver", Some(tunnel), ("input", &[own], &["ip"]));
    assert!(text.contains("saw the vxlan packet around it (192.0.2.1 -> 192.0.2.2)"), "{text}");
}
