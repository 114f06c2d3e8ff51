//! A trace that begins in the midst of a connection.

use super::*;

/// What the server sends, as the client awaits it; the router's entry is on it.
fn pushed(ms: u64, life: u64) -> Vec<Hop> {
    let mut hops = reply(ms, life, "PA", &back(&out()));
    let mut known = entry(&out(), &back(&translated()));
    Arc::make_mut(&mut known).state = Some("reply".to_owned());
    hops[2].ct = Some(known);
    hops.push(at(Deliver, ms + 4, life, "client", "eth0", &back(&out()), "PA"));
    hops
}

#[test]
fn the_far_end_may_speak_first() {
    let mut hops = pushed(1, 1);
    hops.extend(forth(10, 2, "A"));
    let verdict = verdicts(hops.clone()).remove(0);
    assert_eq!((verdict.outcome, verdict.forward), (Outcome::Delivered, Some(out())));
    assert_eq!(verdict.translated, Some(translated()));

    hops.extend(reply(20, 3, "PA", &back(&translated())));
    hops.push(refused(24, 3, &back(&translated()), "PA"));
    let verdicts = verdicts(hops);
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    assert_eq!(verdicts[0].outcome, Outcome::ReplyNotTranslated);
    assert_eq!(verdicts[0].due.as_ref().unwrap().netns.as_deref(), Some("router"));
}
