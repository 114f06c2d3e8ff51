//! From hops to packets, journeys and flows.
//!
//! Pure: no clock, no I/O. Memory is bounded: a packet whose fate is told is folded
//! into its flow ([`flow`]), a flow that has been silent longest gives way to new ones ([`flows`]).

pub mod asked;
pub mod everyday;
pub mod fate;
pub mod flow;
pub mod flows;
pub mod gaps;
mod identity;
pub mod kinds;
mod listeners;
pub mod nat;
pub mod ovs;
pub mod owner;
pub mod packet;
mod part;
pub mod pieces;
pub mod question;
pub mod related;
pub mod segment;
pub mod services;
mod settled;
pub mod sight;
mod story;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tracked;
pub mod tuple;
pub mod twins;
mod way;

pub use story::Story;
pub use way::Way;

/// A map that is looked into for every hop. Its hashing is quick, and seeded anew in each process:
/// what a recording holds cannot be made to collide.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
