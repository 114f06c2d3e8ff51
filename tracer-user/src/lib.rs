//! lasthop's collector: everything on the user side of the ring buffer.
//!
//! The way of the data is one straight line: [`capture`] reads events and decodes them into the
//! records of [`model`], [`reconstruct`] joins them into packets, journeys and flows, [`verdict`]
//! judges each flow, [`render`] prints. [`reconstruct`] and [`verdict`] are pure: no clock, no I/O,
//! no globals.

mod beneath;
pub mod capture;
mod cgroup;
pub mod cli;
pub mod command;
pub mod drops;
mod few;
pub mod filter;
#[doc(hidden)]
pub mod fuzzing;
pub mod kernel;
pub mod model;
pub mod netfilter;
pub mod ovs;
pub mod preflight;
pub mod privileges;
pub mod reconstruct;
pub mod render;
pub mod report;
pub mod topology;
pub mod verdict;
