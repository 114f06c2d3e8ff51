//! What Open vSwitch itself says: action lists in its own words, the names of its ports, and the
//! rule that a packet met its end in.

pub mod actions;
