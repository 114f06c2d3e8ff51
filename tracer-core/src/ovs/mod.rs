//! The language of Open vSwitch: action lists, flow keys, and the answers of `ofproto/trace`.

pub mod actions;
pub mod flow_key;
pub mod owner;
pub mod pipeline;
