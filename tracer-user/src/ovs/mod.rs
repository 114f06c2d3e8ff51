//! What Open vSwitch itself says: action lists in its own words, the names of its ports, and the
//! rule that a packet met its end in.

pub mod actions;
pub mod answer;
pub mod asking;
mod columns;
pub mod find;
pub mod flow_key;
pub(crate) mod fuzzing;
pub mod home;
pub mod ovn;
pub mod owner;
pub mod pipeline;
pub mod ports;
pub mod rpc;
mod trust;
pub mod vlan;
