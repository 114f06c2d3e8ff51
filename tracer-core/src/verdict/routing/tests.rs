use crate::reconstruct::Story;
use crate::reconstruct::asked::Answer;
use crate::reconstruct::testing::{HopExt, hop, tuple};
use crate::record::HookName::{Drop, TcIngress};
use crate::record::{Hop, Routing, Tuple};

fn said(at: &Hop) -> Routing {
    Routing {
        ts: 3_000_000,
        netns: (**at.netns.as_ref().unwrap()).clone(),
        dev: at.dev.as_ref().unwrap().name.clone(),
        dst: at.tuple.unwrap().dst,
        forwarding: Some(false),
        holder: None,
        state: None,
        out: None,
        far_end: None,
        failed: None,
    }
}

/// Text and commands of the verdict about a packet that died here, with what was answered.
fn told(at: &Hop, change: Option<fn(&mut Routing)>) -> (String, Vec<String>) {
    let mut story = Story::new();
    let mut came = at.clone();
    (came.hook, came.drop, came.ts) = (TcIngress, None, 1_000_000);
    story.observe(&mut came);
    story.observe(&mut at.clone());
    if let Some(change) = change {
        let mut answer = said(at);
        change(&mut answer);
        story.answered(Answer::Routing(answer));
    }
    let verdict = story.finish(20_000_000_000).1.remove(0);
    (verdict.text, verdict.next)
}

fn v6() -> Tuple {
    tuple("udp", "fd05:1::2", 1, "fd05:2::2", 2)
}

type Change = fn(&mut Routing);

#[test]
fn what_is_for_another_host_is_not_forwarded() {
    let v4 = hop(Drop, 2, 1).on("r", "c0", Some("veth")).paired();
    let v4 = v4.because(Some("IP_INADDRERRORS"), "ip_error");
    let v6 = v4.clone().tuple(v6()).because(Some("IP_INADDRERRORS"), "ip6_forward");
    let (switch4, switch6) = ("net.ipv4.conf.c0.forwarding", "net.ipv6.conf.all.forwarding");
    let cases: [(&Hop, Option<Change>, &[&str], &str); 8] = [
        (&v4, None, &["10.0.0.2 is no address of this host", switch4], "ip -n r addr"),
        (&v4, Some(|_| ()), &["nobody here takes it", switch4], "ip -n r addr"),
        (
            &v4,
            Some(|a| a.out = Some("s0".to_owned())),
            &["forwarding is off", "leads on, out of s0"],
            "ip netns exec r sysctl net.ipv4.conf.c0.forwarding",
        ),
        // An on-link route: the sender took this host for another.
        (&v4, Some(|a| a.out = Some("c0".to_owned())), &["nobody here takes it"], "ip -n r addr"),
        (
            &v4,
            Some(|a| a.forwarding = Some(true)),
            &["right after, it was on"],
            "ip netns exec r sysctl net.ipv4.conf.c0.forwarding",
        ),
        (&v6, None, &["fd05:2::2 is no address of this host", switch6], "ip -n r -6 addr"),
        (
            &v6,
            Some(|a| (a.holder, a.state) = (Some("eth0".to_owned()), Some("dadfailed".to_owned()))),
            &["fd05:2::2 is on eth0 here", "dadfailed"],
            "ip -n r -6 addr",
        ),
        (
            &v6,
            Some(|a| a.out = Some("s0".to_owned())),
            &[switch6, "out of s0"],
            "ip netns exec r sysctl net.ipv6.conf.all.forwarding",
        ),
    ];
    for (at, change, words, first) in cases {
        let (text, next) = told(at, change);
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        assert_eq!(next[0], first, "{text}");
        assert!(next.iter().any(|c| c.contains("sysctl")), "{next:?}");
    }
}

#[test]
fn a_kernel_without_reasons_is_believed_only_with_an_answer() {
    let at = hop(Drop, 2, 1).on("r", "c0", Some("veth")).paired().because(None, "ip_error");
    assert!(told(&at, Some(|_| ())).0.contains("forwarding is off"));
    for change in [None, Some((|a| a.forwarding = Some(true)) as fn(&mut Routing))] {
        assert!(told(&at, change).0.contains("no route to the destination"));
    }
}

#[test]
fn a_tunnel_without_a_route_names_its_far_end() {
    let at = hop(Drop, 2, 1).on("c", "vx0", Some("vxlan"));
    let at = at.because(Some("IP_OUTNOROUTES"), "vxlan_xmit_one");
    let (text, next) = told(&at, Some(|a| a.far_end = "172.16.9.9".parse().ok()));
    assert!(text.contains("no route to the far end of the vxlan tunnel, 172.16.9.9"), "{text}");
    assert_eq!(
        next,
        [
            "ip -n c route get 172.16.9.9",
            "bridge -n c fdb show dev vx0",
            "ip -n c -d link show dev vx0",
        ]
    );
    let (text, next) = told(&at, None);
    assert!(text.contains("no route to the far end of the vxlan tunnel ["), "{text}");
    assert!(next.iter().all(|c| !c.contains("10.0.0.2")), "{next:?}");
}
