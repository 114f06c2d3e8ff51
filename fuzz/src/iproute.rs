//! What `ip` and `bridge` print as JSON.

use lasthop::fuzzing::iproute;

/// Panics where the reader breaks a promise.
pub fn check(text: &str) {
    let (holder, _) = iproute(text);
    let state = holder.map(|(_, state)| state).unwrap_or_default();
    assert!(matches!(state.as_str(), "" | "dadfailed" | "tentative"), "{state:?}");
}
