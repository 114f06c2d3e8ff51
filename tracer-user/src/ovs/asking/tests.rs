//! Against a control socket that answers as `ovs-vswitchd` does.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;
use tracer_core::record::TraceKind;

const BR_LOCAL: &str = include_str!("../../../../tracer-core/src/ovs/fixtures/trace-br-local.txt");
const CT_INVALID: &str =
    include_str!("../../../../tracer-core/src/ovs/fixtures/trace-ct-invalid.txt");

type Calls = Arc<Mutex<Vec<Vec<String>>>>;

/// A run directory with a daemon that gives each call to `answer`; `None` is never answered.
fn daemon(answer: fn(&[String]) -> Option<Result<String, String>>) -> (tempfile::TempDir, Calls) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ovs-vswitchd.pid"), "4194400\n").unwrap();
    let listener = UnixListener::bind(dir.path().join("ovs-vswitchd.4194400.ctl")).unwrap();
    let calls = Calls::default();
    let seen = calls.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 65_536];
            let n = stream.read(&mut request).await.unwrap_or(0);
            // Who only looks who is there asks nothing.
            if n == 0 {
                continue;
            }
            let request: Value = serde_json::from_slice(&request[..n]).unwrap();
            assert_eq!(request["method"], "ofproto/trace");
            let words: Vec<String> = serde_json::from_value(request["params"].clone()).unwrap();
            let reply = answer(&words);
            seen.lock().unwrap().push(words);
            match reply {
                Some(Ok(text)) => {
                    let reply = json!({"id": 0, "error": null, "result": text}).to_string();
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
                Some(Err(text)) => {
                    let reply = json!({"id": 0, "error": text, "result": null}).to_string();
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
                None => held.push(stream),
            }
        }
    });
    (dir, calls)
}

fn question(ct_states: &[&str], last_key: Option<&str>) -> Question {
    Question {
        packet: 3,
        dp: Some("ovs-system".to_owned()),
        in_port: Some("p-c".to_owned()),
        key: "in_port(8),eth()".to_owned(),
        ct_states: ct_states.iter().map(|s| (*s).to_owned()).collect(),
        blind: false,
        last_key: last_key.map(str::to_owned),
        actions: None,
    }
}

async fn ask(dir: &tempfile::TempDir, questions: Vec<Question>) -> Vec<OvsTrace> {
    let path = dir.path().to_owned();
    let mut asking = Asking::of(&Handle::current(), Whom::At(path));
    for question in questions {
        asking.ask(question);
    }
    asking.rest(std::future::pending()).await
}

#[tokio::test(flavor = "current_thread")]
async fn the_rule_comes_back_and_nothing_but_the_key_is_sent() {
    let (dir, calls) = daemon(|_| Some(Ok(BR_LOCAL.to_owned())));
    let answers = ask(&dir, vec![question(&["new|trk"], None)]).await;
    assert_eq!(answers.len(), 1);
    let found = &answers[0];
    assert_eq!((found.packet, found.kind), (3, TraceKind::NoMatch));
    assert_eq!((found.bridge.as_deref(), found.lacks.as_deref()), (Some("br-local"), None));
    let calls = calls.lock().unwrap();
    assert_eq!(*calls, [["ovs-system", "in_port(8),eth()", "--ct-next", "new,trk"]]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_live_state_that_is_not_assumed_is_asked_about_both_ways() {
    let (dir, calls) = daemon(|words| {
        let live = words.iter().any(|word| word == "inv,trk");
        let out = CT_INVALID.replace("Datapath actions: drop", "Datapath actions: 5");
        Some(Ok(if live { CT_INVALID.to_owned() } else { out }))
    });
    let found = ask(&dir, vec![question(&["inv|trk"], None)]).await.remove(0);
    assert_eq!((found.kind, found.cookie.as_deref()), (TraceKind::Rule, Some("0xdead")));
    assert!(found.passes_simulated && found.disagrees.unwrap().contains("inv|trk"));
    assert_eq!(calls.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_refused_is_asked_in_another_way_or_left_out() {
    let (dir, calls) = daemon(|words| {
        Some(match words[0].as_str() {
            "ovs-system" => Err("Cannot find the datapath\n".to_owned()),
            key if key.starts_with("recirc_id") => {
                Err("no recirculation data for recirc_id 0x9\n".to_owned())
            }
            _ => Ok(BR_LOCAL.to_owned()),
        })
    });
    let question = question(&["new|trk"], Some("recirc_id(0x9),in_port(8)"));
    let found = ask(&dir, vec![question]).await.remove(0);
    assert_eq!((found.kind, found.lacks), (TraceKind::NoMatch, None));
    assert_eq!(calls.lock().unwrap().len(), 4);
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_is_what_the_answer_lacks() {
    let (dir, _) = daemon(|_| Some(Err("no OpenFlow port for datapath port 7\n".to_owned())));
    let found = ask(&dir, vec![question(&[], None)]).await.remove(0);
    assert_eq!(found.kind, TraceKind::Unknown);
    assert_eq!(found.lacks.as_deref(), Some("no OpenFlow port for datapath port 7"));
}

#[tokio::test(flavor = "current_thread")]
async fn who_does_not_answer_is_asked_once() {
    let (dir, calls) = daemon(|_| None);
    let begun = std::time::Instant::now();
    let questions = (0..20).map(|_| question(&["inv|trk"], Some("x"))).collect();
    let answers = ask(&dir, questions).await;
    assert!(begun.elapsed() < 3 * super::super::rpc::LIMIT);
    assert_eq!((answers.len(), calls.lock().unwrap().len()), (20, 1));
    let lacks = "ovs-vswitchd did not answer within 2 s";
    assert!(answers.iter().all(|a| a.lacks.as_deref() == Some(lacks) && !a.drops()));
}

#[tokio::test(flavor = "current_thread")]
async fn without_a_daemon_the_answer_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let found = ask(&dir, vec![question(&[], None)]).await.remove(0);
    assert!(found.lacks.unwrap().starts_with("no running ovs-vswitchd"));
}

#[tokio::test(flavor = "current_thread")]
async fn who_is_told_to_end_waits_no_longer_and_says_so() {
    let (dir, _) = daemon(|_| None);
    let mut asking = Asking::of(&Handle::current(), Whom::At(dir.path().to_owned()));
    (0..3).for_each(|packet| asking.ask(Question { packet, ..question(&[], None) }));
    let begun = std::time::Instant::now();
    let answers = asking.rest(std::future::ready(())).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(answers.iter().map(|a| a.packet).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(answers.iter().all(|a| a.lacks.as_deref() == Some(ENDED) && !a.drops()));
}

#[tokio::test(flavor = "current_thread")]
async fn a_trace_that_is_none_is_told_and_not_asked_for_again() {
    let (dir, calls) = daemon(|_| Some(Ok(format!("Datapath actions: {}", "x".repeat(1 << 19)))));
    let answers = ask(&dir, (0..5).map(|_| question(&["inv|trk"], Some("x"))).collect()).await;
    let lacks = "the answer of ovs-vswitchd to ofproto/trace is not understood (";
    assert!(answers.iter().all(|a| a.lacks.as_deref().unwrap().starts_with(lacks)), "{answers:?}");
    assert_eq!(calls.lock().unwrap().len(), usize::from(MAX_GARBLED));
}
