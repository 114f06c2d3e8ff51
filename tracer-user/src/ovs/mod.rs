//! What Open vSwitch itself says: action lists in its own words, the names of its ports, and the
//! rule that a packet met its end in.

pub mod answer;
pub mod asking;
mod columns;
pub mod find;
pub(crate) mod fuzzing;
pub mod home;
pub mod ovn;
pub mod ports;
pub mod rpc;
mod trust;
pub mod vlan;
