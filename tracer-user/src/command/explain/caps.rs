//! How much of a line is held. lasthop's own lines are a few KiB long; what a recording has beyond that
//! is cut, since thousands of lines are held at once.

use std::sync::Arc;

use tracer_core::reconstruct::asked::Answer;
use tracer_core::record::{Hop, Netns, OvsTrace, Rule};

/// Lines that are no longer than that are taken as they are, bytes.
const ORDINARY: usize = 4096;
/// A name: the kernel's are shorter (`KSYM_NAME_LEN` is 512), bytes.
const NAME: usize = 512;
/// A list of actions, a flow key, a rule, a sentence, bytes.
const TEXT: usize = 8192;
/// How many callers, VLAN tags, rules.
const MANY: usize = 64;

/// Cuts what is longer than any that lasthop writes of a hop. `line`: how long its line is.
pub fn hop(mut hop: Hop, line: usize) -> Hop {
    if line <= ORDINARY {
        return hop;
    }
    hop.vlan.truncate(MANY);
    hop.netns = hop.netns.map(|netns| shared(netns, self::netns));
    hop.dev = hop.dev.map(|dev| {
        shared(dev, |dev| {
            name(&mut dev.name);
            let peer = dev.peer.as_mut().and_then(|peer| peer.name.as_mut());
            let names = [&mut dev.kind, &mut dev.master, &mut dev.bridge, &mut dev.bond];
            names.into_iter().flatten().chain(peer).for_each(name);
        })
    });
    hop.tunnel = hop.tunnel.map(|tunnel| shared(tunnel, |tunnel| name(&mut tunnel.kind)));
    hop.ovs = hop.ovs.map(|ovs| {
        shared(ovs, |ovs| {
            ovs.cut |= ovs.actions.as_ref().is_some_and(|actions| actions.len() > TEXT);
            [&mut ovs.actions, &mut ovs.key].into_iter().flatten().for_each(text);
            let ports = [&mut ovs.dp, &mut ovs.in_port, &mut ovs.port];
            let states = [&mut ovs.ct_state, &mut ovs.ct_label];
            ports.into_iter().chain(states).flatten().for_each(name);
            if let Some(upcall) = &mut ovs.upcall {
                [&mut upcall.cmd, &mut upcall.result].into_iter().flatten().for_each(name);
            }
        })
    });
    hop.ct = hop.ct.map(|ct| {
        shared(ct, |ct| {
            names(&mut ct.nat);
            names(&mut ct.status);
            let texts = [&mut ct.state, &mut ct.labels, &mut ct.entry];
            texts.into_iter().flatten().for_each(name);
        })
    });
    hop.drop = hop.drop.map(|drop| {
        shared(drop, |drop| {
            let names = [&mut drop.reason, &mut drop.subsystem, &mut drop.symbol];
            names.into_iter().flatten().for_each(name);
        })
    });
    hop.by = hop.by.map(|by| shared(by, |by| name(&mut by.symbol)));
    hop.stack = hop.stack.map(|stack| {
        let mut callers = stack.iter().take(MANY).cloned().collect();
        names(&mut callers);
        callers.into()
    });
    hop
}

/// Likewise of an answer.
pub fn answer(mut answer: Answer, line: usize) -> Answer {
    if line <= ORDINARY {
        return answer;
    }
    match &mut answer {
        Answer::OpenVswitch(trace) => ovs_trace(trace),
        Answer::Conntrack(conntrack) => {
            netns(&mut conntrack.netns);
            conntrack.failed.iter_mut().for_each(text);
        }
        Answer::Netfilter(netfilter) => {
            netns(&mut netfilter.netns);
            [&mut netfilter.hook, &mut netfilter.way].into_iter().for_each(name);
            netfilter.failed.iter_mut().for_each(text);
            names(&mut netfilter.read);
            netfilter.certain &= netfilter.rules.len() <= MANY;
            let mut rules: Vec<_> = netfilter.rules.iter().take(MANY).cloned().collect();
            rules.iter_mut().for_each(rule);
            netfilter.rules = rules.into();
        }
        Answer::Routing(routing) => {
            netns(&mut routing.netns);
            let names = [&mut routing.holder, &mut routing.state, &mut routing.out];
            names.into_iter().flatten().chain([&mut routing.dev]).for_each(name);
            routing.failed.iter_mut().for_each(text);
        }
    }
    answer
}

fn rule(rule: &mut Rule) {
    [&mut rule.family, &mut rule.table, &mut rule.chain].into_iter().for_each(name);
    rule.text.iter_mut().for_each(text);
    rule.via.truncate(MANY);
    for jump in &mut rule.via {
        name(&mut jump.chain);
        jump.text.iter_mut().for_each(text);
    }
}

fn ovs_trace(trace: &mut OvsTrace) {
    // Of half a match no command is made.
    if trace.r#match.as_ref().is_some_and(|matching| matching.len() > TEXT) {
        trace.fix = None;
    }
    let texts = [
        &mut trace.r#match,
        &mut trace.rule_actions,
        &mut trace.words,
        &mut trace.disagrees,
        &mut trace.datapath_actions,
        &mut trace.asked,
        &mut trace.show,
        &mut trace.fix,
        &mut trace.lacks,
    ];
    texts.into_iter().flatten().for_each(text);
    [&mut trace.bridge, &mut trace.cookie, &mut trace.port].into_iter().flatten().for_each(name);
    names(&mut trace.ct_states);
    if let Some(vlan) = &mut trace.vlan {
        name(&mut vlan.port);
        names(&mut vlan.inside);
        vlan.outside.truncate(MANY);
        for port in &mut vlan.outside {
            name(&mut port.port);
            port.trunks.truncate(MANY);
        }
    }
    if let Some(flow) = &mut trace.logical_flow {
        [&mut flow.r#match, &mut flow.actions].into_iter().for_each(text);
        [&mut flow.uuid, &mut flow.pipeline].into_iter().for_each(name);
        [&mut flow.stage, &mut flow.datapath].into_iter().flatten().for_each(name);
    }
    if let Some(acl) = &mut trace.acl {
        [&mut acl.uuid, &mut acl.direction, &mut acl.action].into_iter().for_each(name);
        text(&mut acl.r#match);
        acl.name.iter_mut().for_each(name);
    }
}

/// What lines share is changed for this one only.
fn shared<T: Clone>(mut value: Arc<T>, change: impl FnOnce(&mut T)) -> Arc<T> {
    change(Arc::make_mut(&mut value));
    value
}

fn netns(netns: &mut Netns) {
    netns.name.iter_mut().for_each(name);
}

fn names(all: &mut Vec<String>) {
    all.truncate(MANY);
    all.iter_mut().for_each(name);
    all.shrink_to_fit();
}

fn name(name: &mut String) {
    cut(name, NAME);
}

fn text(text: &mut String) {
    cut(text, TEXT);
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::reconstruct::testing::{HopExt, hop as one};
    use tracer_core::record::HookName;

    #[test]
    fn what_is_longer_than_any_of_ours_is_cut() {
        let long = "é".repeat(300_000);
        let mut hostile = one(HookName::OvsActions, 1, 1).on(&long, &long, Some(&long));
        hostile = hostile.in_ovs(|ovs| {
            (ovs.actions, ovs.key, ovs.dp) =
                (Some(long.clone()), Some(long.clone()), Some(long.clone()));
        });
        hostile.stack = Some(vec![long.clone(); 1000].into());
        let line = serde_json::to_string(&hostile).unwrap().len();
        let held = hop(hostile.clone(), line);
        assert!(held.ovs.as_ref().unwrap().cut);
        assert_eq!(held.stack.as_ref().unwrap().len(), MANY);
        let dev = held.dev.as_ref().unwrap();
        assert!(dev.name.len() <= NAME + '…'.len_utf8() && dev.name.ends_with("é…"));
        assert!(serde_json::to_string(&held).unwrap().len() < 64 << 10);
        // Those of ours are left as they are.
        assert_eq!(hop(hostile.clone(), ORDINARY), hostile);
    }

    #[test]
    fn no_command_is_made_of_half_a_match() {
        let trace = |matching: String| OvsTrace {
            r#match: Some(matching),
            fix: Some("x".to_owned()),
            ..OvsTrace::default()
        };
        let held = |matching: usize| {
            let trace = Answer::OpenVswitch(Box::new(trace("x".repeat(matching))));
            match answer(trace, 1 << 20) {
                Answer::OpenVswitch(trace) => trace,
                _ => unreachable!("another answer"),
            }
        };
        assert!(held(TEXT).fix.is_some());
        let cut = held(TEXT + 1);
        assert_eq!((cut.fix, cut.r#match.unwrap().len()), (None, TEXT + '…'.len_utf8()));
    }
}
