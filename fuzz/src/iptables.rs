//! `iptables-save` to the rules that may have dropped some packets.

use lasthop::fuzzing::{Blamed, iptables};

/// Panics where the reader of rules breaks a promise.
pub fn check(text: &str) {
    for blamed in iptables(text.as_bytes()).into_iter().flatten() {
        sane(&blamed);
        for (rule, _) in &blamed.rules {
            let shown = rule.text.as_deref().unwrap_or_default();
            assert!(shown == "policy DROP" || text.contains(shown), "{shown:?} was made up");
        }
    }
}

/// Where a rule surely dropped the packet, none behind it can have.
pub fn sane(blamed: &Blamed) {
    let mut before = blamed.rules.iter().rev().skip(1);
    assert!(before.all(|(_, certain)| !certain), "{blamed:?}");
}
