use super::*;

/// A fixture is what Open vSwitch 3.1.0 printed, unchanged.
macro_rules! printed {
    ($name:literal) => {
        Trace::parse(include_str!(concat!("../fixtures/trace-", $name, ".txt"))).unwrap()
    };
}

fn end(trace: &Trace) -> (String, u8, Reason) {
    let end = trace.passes.last().unwrap().end().unwrap();
    (end.step.bridge.to_string(), end.step.table, end.reason)
}

fn rule(matching: &str, priority: u16, cookie: u64) -> Met {
    Met::Rule(Arc::new(Rule { matching: matching.to_owned(), priority, cookie }))
}

#[test]
fn a_patch_port_leads_to_a_bridge_without_a_matching_flow() {
    let trace = printed!("br-local");
    let states: Vec<_> = trace.passes.iter().map(|p| p.ct_state.as_deref()).collect();
    assert_eq!(states, [None, Some("trk|new"), Some("trk|new")]);
    assert_eq!(end(&trace), ("br-local".to_owned(), 0, Reason::NoMatch));
    let tables: Vec<_> = trace.passes[2].steps.iter().map(|s| (&*s.bridge, s.table)).collect();
    assert_eq!(tables, [("br-int", 20), ("br-int", 30), ("br-local", 0)]);
    assert_eq!(trace.passes[2].steps[1].met, rule("", 1, 0x77));
    assert!(trace.passes[0].end().is_none(), "it goes on after the recirculation");
}

#[test]
fn an_invalid_packet_meets_the_rule_for_such() {
    let trace = printed!("ct-invalid");
    assert_eq!(trace.passes[1].ct_state.as_deref(), Some("inv|trk"));
    assert_eq!(end(&trace), ("br-int".to_owned(), 10, Reason::Rule));
    let last = trace.passes[1].end().unwrap();
    assert_eq!(last.step.met, rule("ct_state=+inv+trk", 60, 0xdead));
}

#[test]
fn a_port_that_is_gone_is_named() {
    let trace = printed!("missing-port");
    assert_eq!(end(&trace), ("br-int".to_owned(), 61, Reason::MissingPort("775".to_owned())));
    let last = trace.passes[0].end().unwrap();
    let expected = rule("reg6=0x3,dl_dst=0a:58:a9:fe:00:01", 12, 0x9b52_dfee_970c_9aa7);
    assert_eq!(last.step.met, expected);
}

#[test]
fn a_line_belongs_to_its_table_however_deep_others_go_in_between() {
    let trace = printed!("nested");
    let steps = &trace.passes[0].steps;
    let shape: Vec<_> = steps.iter().map(|s| (&*s.bridge, s.table, s.lines.len())).collect();
    assert_eq!(
        shape,
        [
            ("br-int", 0, 6),
            ("br-int", 1, 1),
            ("br-int", 2, 3),
            ("br-int", 3, 9),
            ("br-int", 9, 1),
            ("br-tun", 0, 3),
            ("br-int", 40, 1),
            ("br-int", 0, 1),
            ("br-tun", 0, 2),
            ("br-int", 0, 1),
            ("br-int", 30, 1),
        ]
    );
    assert_eq!(steps[0].lines.last(), Some(&Line::Action("group:7".to_owned())));
    assert_eq!(steps[3].lines.last(), Some(&Line::Action("resubmit(,40)".to_owned())));
    assert!(steps[3].lines.contains(&Line::Warning("Nonexistent output port".to_owned())));
    assert!(!trace.passes[0].drops(), "other branches go out");
}

#[test]
fn a_register_may_hold_the_port_that_is_gone() {
    let mut pass = printed!("nested").passes.remove(0);
    pass.actions = Some("drop".to_owned());
    assert_eq!(pass.end().unwrap().reason, Reason::MissingPort("0".to_owned()));
}

#[test]
fn a_drop_rule_and_no_rule_are_told_apart() {
    assert_eq!(end(&printed!("drop")), ("br-int".to_owned(), 0, Reason::Rule));
    assert_eq!(end(&printed!("no-match")), ("br-int".to_owned(), 0, Reason::NoMatch));
    assert!(printed!("normal").passes[0].end().is_none());
}

/// As the incident of a service without a way out was told, by Open vSwitch 2.13.
#[test]
fn an_older_text_reads_alike() {
    let text = "\
Flow: tcp,in_port=2,dl_dst=0a:58:a9:fe:00:01

bridge(\"br-int\")
----------------
    thaw
        Resuming from table 41
41. reg15=0x2,metadata=0x5, priority 100, cookie 0xcd5edc4b
    set_field:0x8001->reg15
    push:NXM_OF_IN_PORT[]
    output:118

    bridge(\"br-local\")
    ------------------
         0. reg0=0x2, priority 0
            drop
    set_field:0x8001->reg15
    pop:NXM_OF_IN_PORT[]
     -> NXM_OF_IN_PORT[] is now 118

Final flow: unchanged
Megaflow: recirc_id=0x9,eth,ip,in_port=2,nw_frag=no
Datapath actions: drop
";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(end(&trace), ("br-local".to_owned(), 0, Reason::NoMatch));
    let steps = &trace.passes[0].steps;
    assert_eq!((steps.len(), steps[0].lines.len()), (2, 6));
}

#[test]
fn what_stops_the_translation_as_a_whole_is_the_reason() {
    let text = "Flow: ip\n\nbridge(\"b\")\n-----\n 0. priority 1\n    resubmit(,0)\n\
                \x20    >>>> over max translation depth 64 <<<<\n\nFinal flow: unchanged\n\
                Megaflow: x\nDatapath actions: drop\n\
                Translation failed (Recursion too deep), packet is dropped.\n";
    let trace = Trace::parse(text).unwrap();
    let reason = Reason::Refused("Recursion too deep".to_owned());
    assert_eq!(end(&trace), ("b".to_owned(), 0, reason));
}

#[test]
fn a_ttl_that_is_used_up_ends_it_at_the_rule_that_takes_it() {
    let text = "Flow: ip,nw_ttl=1\n\nbridge(\"br0\")\n-----\n 0. in_port=1, priority 7\n    resubmit(,1)\n \
                1. ip, priority 100, cookie 0x12\n    set_field:1->reg0,dec_ttl\n    resubmit(,2)\n \
                2. priority 0\n    output:2\n\nFinal flow: unchanged\nMegaflow: x\n\
                Datapath actions: userspace(pid=1,controller(reason=2,dont_send=1,rule_cookie=0x12))\n";
    let trace = Trace::parse(text).unwrap();
    let reason = Reason::Refused("its TTL is used up, which ends it".to_owned());
    assert_eq!(end(&trace), ("br0".to_owned(), 1, reason));
    let elsewhere = text.replace("reason=2", "reason=1");
    assert!(Trace::parse(&elsewhere).unwrap().passes[0].end().is_none());
    let copied = text.replace("actions: ", "actions: 3,");
    assert!(Trace::parse(&copied).unwrap().passes[0].end().is_none());
}

/// As Open vSwitch 3.1.0 prints a `ct` action without others inside.
#[test]
fn a_ct_action_without_others_inside_drops_nothing() {
    let text = "Flow: ip\n\nbridge(\"b\")\n-----\n 0. ip, priority 100\n    ct(commit,zone=9)\n    drop\n    \
                resubmit(,4)\n 4. reg0=0, priority 5, cookie 0x4\n    load:1->NXM_NX_REG0[]\n\n\
                Final flow: unchanged\nMegaflow: x\nDatapath actions: ct(commit,zone=9)\n";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(end(&trace), ("b".to_owned(), 4, Reason::Rule));
    let action = |text: &str| Line::Action(text.to_owned());
    assert_eq!(
        trace.passes[0].steps[0].lines,
        [action("ct(commit,zone=9)"), action("resubmit(,4)")]
    );
    // Of one that drops.
    let drops = text.replace("    ct(commit,zone=9)\n", "");
    assert_eq!(end(&Trace::parse(&drops).unwrap()), ("b".to_owned(), 0, Reason::Rule));
}

#[test]
fn a_list_without_a_way_out_leads_nowhere() {
    for actions in [
        "drop",
        "ct(commit,zone=5)",
        "push_vlan(vid=3,pcp=0)",
        "sample(sample=1.0%,actions(userspace(pid=42,sFlow(vid=0,pcp=0,output=1))))",
        "userspace(pid=1,ipfix(output_port=4294967295))",
        "check_pkt_len(size=200,gt(drop),le(ct_clear))",
        "clone(drop),set(ipv4(ttl=63))",
        "meter(0)",
    ] {
        assert!(leads_nowhere(actions), "{actions}");
    }
    for actions in [
        "2",
        "set(ipv4(ttl=63)),3",
        "ct(commit,zone=5,nat(src=1.2.3.4)),recirc(0x1)",
        "clone(1),ct_clear",
        "check_pkt_len(size=200,gt(drop),le(2))",
        "userspace(pid=42,slow_path(action))",
        "clone(clone(push_vlan(vid=12,pcp=0),2),drop)",
    ] {
        assert!(!leads_nowhere(actions), "{actions}");
    }
}

#[test]
fn other_text_is_no_trace() {
    for text in
        ["", "Cannot find the datapath", "bridge(\"x\")\n 0. priority 1\n    drop\n", "====\n"]
    {
        assert!(Trace::parse(text).is_err(), "{text:?}");
    }
}

fn printed(actions: &str, tables: &str) -> String {
    format!("Flow: udp\n\nbridge(\"b\")\n-----\n{tables}\nDatapath actions: {actions}\n")
}

#[test]
fn lists_may_be_nested_as_deep_as_they_like() {
    for list in
        ["clone(", "check_pkt_len(size=1,gt(", "sample(", "{", "userspace(", "userspace(sFlow("]
    {
        for end in ["", "1", "drop", ")", ")))),1"] {
            let actions = list.repeat(180_000 / list.len()) + end;
            let text = printed(&actions, " 0. priority 100, cookie 0x1\n    drop\n");
            let trace = Trace::parse(&text).unwrap();
            let leads =
                !list.starts_with("userspace(") && list.starts_with('c') && end.ends_with('1');
            let leads = leads || list == "userspace(";
            assert_eq!(trace.end().is_none(), leads, "{list} {end}");
        }
    }
    let longest = printed(&"drop,".repeat(60_000), "");
    assert_eq!(Trace::parse(&longest), Err("a list of actions in it is longer than 256 KiB"));
}

/// The processor's time that this thread has taken: whatever else the machine does.
fn spent() -> std::time::Duration {
    // Its first number is nanoseconds on a processor (Documentation/scheduler/sched-stats.rst).
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    std::time::Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Of a megabyte, which is all that is taken of an answer.
#[test]
fn the_longest_text_is_read_at_once() {
    let long = "x".repeat(500_000);
    let many = |line: &str| line.repeat(500_000 / line.len());
    let rule = " 0. priority 1\n";
    for tables in [
        many(" 0. priority 1\n    drop\n"),
        format!(" 0. {long}, priority 1\n    group:1\n{}", many("    bucket 1\n")),
        format!("bridge(\"{long}\n{}", many(rule)),
        format!("{rule}    ct({long}\n{}", many("    x\n")),
        format!("{rule}{}", many("    output:1\n     >> Nonexistent output port\n")),
        format!("{rule}{}", many("     -> x\n     >> Nonexistent output port\n")),
        many(" 0. priority 1\n      x\n    y\n"),
        many("====\n==== \n"),
    ] {
        let begun = spent();
        let trace = Trace::parse(&printed("drop", &tables));
        let kept = trace.as_ref().map_or(0, |trace| trace.passes.len());
        drop(trace.as_ref().map(Trace::end));
        let took = spent().saturating_sub(begun);
        assert!(took.as_secs() < 2, "{kept} {took:?} {}", &tables[..40]);
    }
    let lines = "x\n".repeat(MAX_LINES + 1);
    assert!(Trace::parse(&printed("drop", &lines)).is_err());
}
