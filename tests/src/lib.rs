//! The reproduction harness: drives the finished binary and judges it from outside.
//!
//! It never imports the collector: what a recording must look like is declared here a second time
//! ([`schema`]), what the kernel calls its drop reasons is read here a second time
//! ([`kernel_drops`]), so that an error in one is not repeated in the other.

pub mod bed;
pub mod bpf_objects;
pub mod expect;
pub mod kernel_drops;
pub mod lasthop;
pub mod machine;
pub mod process;
pub mod recording;
pub mod report;
pub mod scenario;
pub mod schema;
pub mod signals;
pub mod standing;
pub mod trial;
pub mod usage;
