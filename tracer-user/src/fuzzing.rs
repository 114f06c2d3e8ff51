//! Entries for the fuzz targets (`fuzz/`) to parsers that nothing else outside of this crate calls.
//!
//! Not part of the interface. It is always compiled, because `tests/seeds.rs` runs the seeds of every
//! target through the same entries on stable: a feature or a `cfg` would have this crate built twice
//! for that. The linker leaves it out of the binary, where nothing calls it.

pub use crate::command::explain::fuzzing::explain;
pub use crate::netfilter::fuzzing::{Blamed, conntrack, iproute, iptables, nft};
pub use crate::ovs::fuzzing::{flow, ports, vlan};
pub use crate::topology::fuzzing::links;
