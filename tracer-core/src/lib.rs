//! lasthop's pure half: records of a trace in, journeys and verdicts out.
//!
//! No clock, no I/O, no unsafe code: time is what the records say, and what a system
//! has to be asked for comes in as a record too. That is why `explain` gives the same verdicts from
//! a recording, on any machine, and why each rule of judgement is tested without a kernel.
//!
//! The way of the data: the records of [`record`] are joined into packets, journeys and flows by
//! [`reconstruct`], [`verdict`] judges each flow. [`drops`] makes rows of what the kernel counted,
//! [`ruleset`] holds netfilter's rules against a packet, [`ovs`] knows the language of Open vSwitch.

#![forbid(unsafe_code)]

pub mod drops;
pub mod ovs;
pub mod reconstruct;
pub mod record;
pub mod ruleset;
pub mod tame;
pub mod verdict;
