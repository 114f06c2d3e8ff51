//! The protocols that have a name in the grammar.

use tracer_common::flow::proto;

use super::words::Word;

/// The protocols that have a name in the grammar.
const PROTOS: [(&str, u16); 6] = [
    ("tcp", proto::TCP),
    ("udp", proto::UDP),
    ("icmp", proto::ICMP),
    ("icmp6", proto::ICMP6),
    ("sctp", proto::SCTP),
    ("arp", proto::ARP),
];

/// The protocol that a word names.
pub fn number(word: &Word) -> Option<u16> {
    PROTOS.iter().find(|(name, _)| *name == word.text).map(|(_, number)| *number)
}

/// The name of a protocol.
pub fn name(number: u16) -> Option<&'static str> {
    PROTOS.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}
