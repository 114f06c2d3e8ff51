//! What conntrack answers over netlink.

use lasthop::fuzzing::conntrack;

/// Panics where the reader of answers breaks a promise.
pub fn check(data: &[u8]) {
    let (_, entry) = conntrack(data);
    // Zone 0 is left out by the kernel.
    assert!(entry.zone.is_some());
    assert_eq!(conntrack(data).1, entry);
}
