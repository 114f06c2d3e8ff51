//! What the tests of the parser share.
#![allow(dead_code, reason = "each test crate uses its part")]
#![allow(missing_docs, clippy::unwrap_used, clippy::doc_markdown, reason = "test code")]

pub mod build;
pub mod describe;
pub mod frames;
pub mod pairs;
pub mod strategies;

#[path = "../../../fuzz/src/packet.rs"]
pub mod invariants;

pub use invariants::layers;
use tracer_common::tunnel::{Layer, quotation};

/// The bytes that hexadecimal digits stand for; white space is skipped.
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2));
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The innermost packet of a frame: what an ICMP error quotes is another.
pub fn innermost_packet(frame: &[u8]) -> Layer {
    let all = layers(frame);
    let is_error = |l: &&Layer| quotation(&l.network, &l.transport).is_some();
    *all.iter().find(is_error).or(all.last()).unwrap()
}
