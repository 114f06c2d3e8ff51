use super::*;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::HookName::Drop;
use crate::verdict::hook::{Hook, Layer};

fn facts() -> Facts {
    let syn = hop(Drop, 1, 1).tuple(tuple("tcp", "10.0.0.1", 4000, "10.0.0.2", 80)).tcp("S");
    let hook = Hook { point: HookPoint::Forward, layer: Layer::Ip };
    Facts::of(&syn.on("router", "eth0", None), hook).unwrap()
}

fn parse(text: &str) -> Saved {
    super::parse(text.as_bytes()).unwrap()
}

fn holds(rule: &str) -> Tri {
    let saved =
        parse(&format!("*filter\n:FORWARD ACCEPT [0:0]\n[1:2] -A FORWARD {rule}\nCOMMIT\n"));
    saved.rule("filter", "FORWARD", 0).unwrap().holds(&facts())
}

#[test]
fn what_a_rule_asks_is_held_against_the_packet() {
    for yes in [
        "-p tcp -m tcp --dport 80 -j DROP",
        "-s 10.0.0.0/8 ! -d 10.0.0.3/32 -i eth+ -j DROP",
        "-p tcp -m multiport --dports 1:5,80 -m comment --comment \"a -p udp b\" -j DROP",
        "-m conntrack --ctstate INVALID,NEW -p tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
    ] {
        assert_eq!(holds(yes), Tri::Yes, "{yes}");
    }
    for no in ["-p udp -j DROP", "-i lo -j DROP", "-p tcp --dport 81: -j DROP", "! -p tcp -j DROP"]
    {
        assert_eq!(holds(no), Tri::No, "{no}");
    }
    for maybe in ["-m statistic --mode random --probability 0.5 -j DROP", "-o eth1 -j DROP"] {
        assert_eq!(holds(maybe), Tri::Maybe, "{maybe}");
    }
}

#[test]
fn chains_are_followed_to_the_rule_that_drops() {
    let saved = parse(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:web - [0:0]\n\
         -A FORWARD -p udp -j ACCEPT\n-A FORWARD -p tcp --dport 80 -j web\n\
         -A web -s 10.9.0.0/16 -j RETURN\n-A web -j DROP\nCOMMIT\n",
    );
    let found = saved.candidates(&facts(), &mut Steps::default());
    assert_eq!(found.len(), 1, "{found:?}");
    let rule = &found[0].rule;
    assert!(found[0].certain);
    assert_eq!((rule.chain.as_str(), rule.number), ("web", Some(2)));
    let open =
        parse("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m recent --set -j ACCEPT\nCOMMIT\n");
    let found = open.candidates(&facts(), &mut Steps::default());
    assert_eq!(found.len(), 1);
    assert!(!found[0].certain && found[0].rule.number.is_none());
}
