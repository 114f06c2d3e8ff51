//! What `ofproto/trace` prints, to what became of the packet.

use tracer_core::ovs::owner::{Traced, conclude, switched};
use tracer_core::ovs::pipeline::{Trace, leads_nowhere, sends_out, words};
use tracer_core::reconstruct::owner::Question;
use tracer_core::record::OvsTrace;

/// Panics where the reader of traces breaks a promise. Three traces, a byte 0 between them: of the
/// packet as it was, of its last pass, and of the packet as somebody traces it by hand.
pub fn check(text: &str) {
    let mut texts = text.splitn(3, '\0');
    let mut trace = || texts.next().and_then(|text| Trace::parse(text).ok());
    let traced = Traced { live: trace(), last: trace(), plain: trace() };
    for trace in [&traced.live, &traced.last, &traced.plain].into_iter().flatten() {
        sane(trace);
    }
    for question in questions() {
        let found: OvsTrace = conclude(&question, &traced);
        assert_eq!(found.packet, question.packet);
        let _ = switched(&question, &traced, &found);
        // It goes onto the record.
        let line = serde_json::to_string(&found).expect("a record");
        assert_eq!(serde_json::from_str::<OvsTrace>(&line).expect("the same"), found);
    }
}

fn sane(trace: &Trace) {
    assert!(trace.passes.iter().any(|pass| pass.actions.is_some()));
    for pass in &trace.passes {
        let Some(actions) = &pass.actions else { continue };
        assert!(!(leads_nowhere(actions) && sends_out(actions)), "{actions:?}");
        assert_eq!(words(actions).collect::<Vec<_>>().join(","), *actions);
    }
    if let Some(end) = trace.end() {
        assert!(trace.passes.iter().any(|pass| pass.steps.contains(end.step)));
    }
}

/// What may have been asked: with all that is on the record of a packet, and with little.
fn questions() -> [Question; 2] {
    let key = "in_port(1),eth(),eth_type(0x8100),vlan(vid=7,pcp=0),encap(eth_type(0x0800))";
    let little = Question {
        packet: 1,
        dp: None,
        in_port: Some("tap0".to_owned()),
        key: key.to_owned(),
        ct_states: Vec::new(),
        blind: false,
        last_key: None,
        actions: None,
    };
    let much = Question {
        dp: Some("system@ovs-system".to_owned()),
        ct_states: vec!["inv|trk".to_owned(), "new|trk".to_owned()],
        blind: true,
        last_key: Some("recirc_id(0x1),in_port(1)".to_owned()),
        actions: Some("ct(zone=1),recirc(0x1)".to_owned()),
        ..little.clone()
    };
    [little, much]
}
