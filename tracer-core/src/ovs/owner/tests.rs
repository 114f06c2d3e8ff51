use super::*;

/// What Open vSwitch 3.1.0 printed, unchanged.
macro_rules! printed {
    ($name:literal) => {
        Trace::parse(include_str!(concat!("../fixtures/trace-", $name, ".txt"))).ok()
    };
}

fn question(ct_states: &[&str], actions: &str) -> Question {
    Question {
        packet: 7,
        dp: Some("ovs-system".to_owned()),
        in_port: Some("p-c".to_owned()),
        key: "in_port(8),eth_type(0x0800)".to_owned(),
        ct_states: ct_states.iter().map(|s| (*s).to_owned()).collect(),
        blind: false,
        last_key: None,
        actions: Some(actions.to_owned()),
    }
}

#[test]
fn no_flow_behind_a_patch_port() {
    let live = printed!("br-local");
    let found =
        conclude(&question(&["new|trk", "new|trk"], "drop"), &Traced { live, ..Traced::default() });
    assert_eq!((found.packet, found.kind), (7, TraceKind::NoMatch));
    assert_eq!((found.bridge.as_deref(), found.table), (Some("br-local"), Some(0)));
    assert_eq!(found.cookie, None);
    assert_eq!(found.show.as_deref(), Some("ovs-ofctl dump-flows br-local table=0"));
    assert_eq!(found.fix.as_deref(), Some("ovs-ofctl add-flow br-local action=normal"));
    assert_eq!((found.disagrees, found.passes_simulated), (None, false));
    assert_eq!(
        found.asked.as_deref(),
        Some(
            "ovs-appctl ofproto/trace ovs-system 'in_port(8),eth_type(0x0800)' \
             --ct-next new,trk --ct-next new,trk"
        )
    );
}

#[test]
fn a_rule_to_a_port_that_is_gone_with_the_line_that_removes_it() {
    let live = printed!("missing-port");
    let found = conclude(&question(&[], "drop"), &Traced { live, ..Traced::default() });
    assert_eq!((found.kind, found.table), (TraceKind::MissingPort, Some(61)));
    assert_eq!(found.port.as_deref(), Some("775"));
    assert_eq!((found.priority, found.cookie.as_deref()), (Some(12), Some("0x9b52dfee970c9aa7")));
    assert_eq!(found.rule_actions.as_deref(), Some("output:775"));
    assert_eq!(
        found.fix.as_deref(),
        Some(
            "ovs-ofctl --strict del-flows br-int \"cookie=0x9b52dfee970c9aa7/-1,table=61,\
             priority=12,reg6=0x3,dl_dst=0a:58:a9:fe:00:01\""
        )
    );
}

#[test]
fn a_simulation_that_passes_what_died_says_why() {
    let traced =
        Traced { live: printed!("ct-invalid"), plain: printed!("normal"), ..Traced::default() };
    let found = conclude(&question(&["inv|trk"], "drop"), &traced);
    assert_eq!((found.kind, found.table, found.priority), (TraceKind::Rule, Some(10), Some(60)));
    assert!(found.passes_simulated && found.fix.is_none());
    let why = found.disagrees.unwrap();
    assert!(why.starts_with("a simulated trace would have passed it"), "{why}");
    assert!(why.ends_with("this one came out inv|trk"), "{why}");
    assert_eq!(
        found.show.as_deref(),
        Some("ovs-ofctl dump-flows br-int \"cookie=0xdead/-1,table=10\"")
    );
}

#[test]
fn what_conntrack_made_of_it_is_not_assumed() {
    let traced = |live| Traced { live, ..Traced::default() };
    let blind = || Question { blind: true, actions: None, ..question(&[], "") };
    let found = conclude(&blind(), &traced(printed!("ct-invalid")));
    assert_eq!((found.kind, found.table), (TraceKind::Unknown, None));
    assert!(found.lacks.unwrap().contains("assume trk|new"));
    // Where the tables do not ask conntrack nothing is assumed.
    let found = conclude(&blind(), &traced(printed!("drop")));
    assert_eq!((found.kind, found.lacks), (TraceKind::Rule, None));
}

#[test]
fn tables_that_send_on_what_died_make_the_flow_stale() {
    let traced = Traced { live: printed!("normal"), ..Traced::default() };
    let found = conclude(&question(&[], "drop"), &traced);
    assert_eq!((found.kind, found.bridge.as_deref()), (TraceKind::Passes, Some("br-tun")));
    assert_eq!((found.table, found.rule_actions.as_deref()), (Some(0), Some("NORMAL")));
    assert_eq!(found.words.as_deref(), Some("no learned MAC for destination, flooding"));
    assert_eq!(found.show.as_deref(), Some("ovs-ofctl dump-flows br-tun table=0"));
    assert_eq!(found.fix, None);
    let why = found.disagrees.unwrap();
    assert!(why.contains("`1,1400,5`") && why.contains("`drop`"), "{why}");
    let found = conclude(&question(&[], "1,1400,5"), &traced);
    assert_eq!((found.kind, found.disagrees), (TraceKind::Passes, None));
}

#[test]
fn the_last_pass_as_it_was_overrules_the_simulation_of_all() {
    let traced =
        Traced { live: printed!("normal"), last: printed!("no-match"), ..Traced::default() };
    let found = conclude(&question(&["est|trk"], "drop"), &traced);
    assert_eq!((found.kind, found.bridge.as_deref()), (TraceKind::NoMatch, Some("br-int")));
    assert_eq!(found.datapath_actions.as_deref(), Some("drop"));
}

#[test]
fn without_an_answer_nothing_is_said() {
    let found = conclude(&question(&[], "drop"), &Traced::default());
    assert_eq!((found.kind, found.bridge, found.show), (TraceKind::Unknown, None, None));
}

#[test]
fn lists_are_compared_without_their_recirculations() {
    assert_eq!(plain("ct(zone=1),recirc(0x2)"), plain("ct(zone=1),recirc(0x1f)"));
    assert_ne!(plain("ct(zone=1),recirc(0x2)"), plain("ct(zone=2),recirc(0x2)"));
    assert!(is_assumed("new|trk") && is_assumed("trk|new") && !is_assumed("est|trk"));
}

/// `ofproto/trace` of Open vSwitch 3.1 stops at the hash that a select group wants.
const HASH: &str = r#"Flow: tcp,in_port=1

bridge("br-int")
----------------
 0. in_port=1, priority 100
    group:1
     -> no live bucket

Final flow: unchanged
Megaflow: recirc_id=0,eth,tcp,in_port=1
Datapath actions: hash(l4(0)),recirc(0x2)
"#;

#[test]
fn of_a_trace_that_strays_or_stops_nothing_is_said() {
    let asked =
        Question { last_key: Some("recirc_id(0x5)".to_owned()), ..question(&[], "ct_clear") };
    for (text, question) in [
        (HASH, asked.clone()),
        (include_str!("../fixtures/trace-drop.txt"), asked),
        (HASH, question(&[], "drop")),
    ] {
        let traced = Traced { live: Trace::parse(text).ok(), ..Traced::default() };
        let found = conclude(&question, &traced);
        assert_eq!(found.kind, TraceKind::Unknown, "{text}");
        // Which bucket it is is not known, but which rule has it chosen.
        let chosen = found.lacks.as_deref() == Some(UNFOLLOWED);
        assert_eq!(found.bridge.as_deref(), chosen.then_some("br-int"), "{text}");
        assert!(found.lacks.is_some() && found.disagrees.is_none());
    }
    // The last pass resumes below the rule, and shows none.
    let resumed = Trace::parse(
        "Flow: ip\n\nbridge(\"br-int\")\n---\n    thaw\n\nFinal flow: unchanged\nMegaflow: x\n\
         Datapath actions: hash(l4(0)),recirc(0x2)\n",
    );
    let traced = Traced { live: Trace::parse(HASH).ok(), last: resumed.ok(), plain: None };
    let found = conclude(&question(&[], "drop"), &traced);
    assert_eq!(found.rule_actions.as_deref(), Some("group:1"));
    // That it does not follow a packet is no reason to say that it passes.
    let traced = Traced {
        live: Trace::parse(include_str!("../fixtures/trace-drop.txt")).ok(),
        plain: Trace::parse(HASH).ok(),
        last: None,
    };
    assert!(!conclude(&question(&[], "drop"), &traced).passes_simulated);
}

/// What is printed of one table in br0, and the datapath actions that it comes to.
fn of_one_table(table: &str, actions: &str) -> OvsTrace {
    let text = format!(
        "Flow: ip,in_port=1\n\nbridge(\"br0\")\n-----\n{table}\nFinal flow: unchanged\nMegaflow: x\n\
         Datapath actions: {actions}\n"
    );
    let live = Some(Trace::parse(&text).unwrap());
    conclude(&question(&[], actions), &Traced { live, ..Traced::default() })
}

#[test]
fn a_port_that_takes_nothing_is_no_rule_that_drops() {
    let found = of_one_table(" 0. priority 32768\n", "drop");
    assert_eq!((found.kind, found.rule_actions.as_deref()), (TraceKind::Refused, Some("")));
    assert!(found.words.unwrap().contains("STP"));
}

#[test]
fn a_rule_that_sends_it_where_nothing_goes_says_so() {
    for action in ["output:11", "group:9"] {
        let found = of_one_table(&format!(" 0. priority 100, cookie 0x21\n    {action}\n"), "drop");
        assert_eq!((found.kind, found.rule_actions.as_deref()), (TraceKind::Refused, Some(action)));
        assert!(found.words.unwrap().contains("nothing goes out by it"));
    }
    // What is said of the port goes first.
    let told = " 0. priority 100\n    output:1\n     >> skipping output to input port\n";
    assert_eq!(of_one_table(told, "drop").words.as_deref(), Some("skipping output to input port"));
}

#[test]
fn a_rule_that_takes_its_port_from_a_register_is_not_to_be_deleted() {
    let missing = |action: &str| {
        let port = "     -> output port is 0\n     >> Nonexistent output port\n";
        of_one_table(&format!(" 65. priority 7\n    {action}\n{port}"), "drop")
    };
    let found = missing("output:NXM_NX_REG15[]");
    assert_eq!((found.kind, found.port.as_deref()), (TraceKind::MissingPort, Some("0")));
    assert_eq!(found.fix, None);
    assert!(missing("output:0").fix.is_some());
}

#[test]
fn what_goes_out_though_no_rule_sends_it_is_a_mirrors_copy() {
    let found = of_one_table(" 0. in_port=1, priority 100, cookie 0x14\n    drop\n", "4");
    assert_eq!((found.kind, found.cookie.as_deref()), (TraceKind::Mirrored, Some("0x14")));
    assert!(!found.drops());
    let found = of_one_table(" 0. priority 100\n    output:3\n", "4");
    assert_eq!((found.kind, found.rule_actions.as_deref()), (TraceKind::Passes, Some("output:3")));
    // Of two ways none is known to be the packet's.
    let both = " 1. priority 50\n    output:2\n";
    assert_eq!(of_one_table(both, "check_pkt_len(size=9,gt(drop),le(1))").rule_actions, None);
}
