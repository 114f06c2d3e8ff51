//! lasthop's collector: everything on the user side of the ring buffer that touches the system.
//!
//! The way of the data is one straight line: [`capture`] reads events and decodes them into the
//! records of [`tracer_core::record`], tracer-core joins them into packets, journeys and flows and
//! judges each flow, [`render`] prints. [`netfilter`], [`ovs`] and [`topology`] ask the node.

mod beneath;
pub mod capture;
mod cgroup;
pub mod cli;
pub mod command;
mod few;
pub mod filter;
#[doc(hidden)]
pub mod fuzzing;
pub mod kernel;
pub mod netfilter;
pub mod ovs;
pub mod preflight;
pub mod privileges;
pub mod render;
pub mod report;
pub mod topology;
