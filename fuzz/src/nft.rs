//! `nft -j list ruleset`, and behind it, a byte 0 between them, `nft -a list ruleset` and
//! `iptables-nft-save`; to the rules that may have dropped some packets.

use super::iptables::sane;
use lasthop::fuzzing::nft;

/// Panics where the reader of rulesets breaks a promise.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (json, readable, saved) = (part(), part(), part());
    for blamed in nft(json, readable, saved).into_iter().flatten() {
        sane(&blamed);
    }
}
