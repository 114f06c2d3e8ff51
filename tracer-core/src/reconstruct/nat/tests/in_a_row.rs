//! Two routers that translate, one behind the other.

use super::*;

const INNER: &str = "inner";

fn between() -> Tuple {
    tuple("tcp", "10.0.0.1", 4000, "10.97.0.1", 8443)
}

fn inside() -> Tuple {
    tuple("tcp", "10.0.0.1", 4000, "10.98.0.2", 80)
}

#[test]
fn what_the_inner_one_does_not_undo_is_due_there() {
    let translating = |mut hop: Hop, orig: &Tuple, now: &Tuple| {
        hop.ct = Some(entry(orig, &back(now)));
        hop
    };
    let mut hops = vec![
        at(TcEgress, 1, 1, "client", "eth0", &out(), "S"),
        at(TcIngress, 2, 1, "router", "eth-c", &out(), "S"),
        translating(at(TcEgress, 3, 1, "router", "eth-s", &between(), "S"), &out(), &between()),
        at(TcIngress, 4, 1, INNER, "eth0", &between(), "S"),
        translating(at(TcEgress, 5, 1, INNER, "eth1", &inside(), "S"), &between(), &inside()),
        at(TcIngress, 6, 1, "server", "eth0", &inside(), "S"),
        at(Deliver, 7, 1, "server", "eth0", &inside(), "S"),
    ];
    let answer = back(&inside());
    let places = [
        (TcEgress, "server", "eth0"),
        (TcIngress, INNER, "eth1"),
        (TcEgress, INNER, "eth0"),
        (TcIngress, "router", "eth-s"),
        (TcEgress, "router", "eth-c"),
        (TcIngress, "client", "eth0"),
    ];
    let later = (10..).zip(places);
    hops.extend(later.map(|(ms, (hook, netns, dev))| at(hook, ms, 2, netns, dev, &answer, "SA")));
    hops.push(refused(20, 2, &answer, "SA"));
    let verdict = verdicts(hops).remove(0);
    assert_eq!(verdict.outcome, Outcome::ReplyNotTranslated);
    let due = verdict.due.unwrap();
    assert_eq!((due.netns.as_deref(), due.dev.as_deref()), (Some(INNER), Some("eth0")));
    assert!(verdict.text.contains("passed it in netns inner leaving by eth0"), "{}", verdict.text);
}
