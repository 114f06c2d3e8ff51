//! The commands, one file each; each `run` returns the exit status.

mod child;
pub mod doctor;
pub mod drops;
pub mod explain;
pub mod hurry;
mod live;
mod meta;
pub mod output;
mod stop;
mod supervisor;
pub mod trace;
