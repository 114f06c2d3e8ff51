//! Words on a datagram of which fragments are missing.

use crate::reconstruct::flow::Loss;
use crate::reconstruct::pieces::Pieces;

/// What came of it, and what did not.
pub fn what_came(pieces: &Pieces) -> String {
    let Pieces { came, whole, lacks_first } = *pieces;
    match (whole, lacks_first) {
        (Some(whole), true) => format!("{came} of its {whole} bytes came, without the first"),
        (Some(whole), false) => format!("{came} of its {whole} bytes came"),
        (None, true) => format!("{came} bytes came, neither the first nor the last fragment"),
        (None, false) => format!("{came} bytes came, and not the last fragment"),
    }
}

/// `: it waits for the other fragments of its datagram (…)`; empty where it does not.
pub fn waits(loss: &Loss) -> String {
    let Some(pieces) = &loss.pieces else { return String::new() };
    let is_v6 = loss.first.tuple.is_some_and(|tuple| tuple.src.is_ipv6());
    let until = if is_v6 {
        "net.ipv6.ip6frag_time (where conntrack holds them, nf_conntrack_frag6_timeout), 60 s"
    } else {
        "net.ipv4.ipfrag_time, 30 s"
    };
    format!(
        ": it waits for the other fragments of its datagram ({}); the kernel gives up after {until} \
         unless set otherwise",
        what_came(pieces)
    )
}
