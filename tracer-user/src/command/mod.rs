//! The commands, one file each; each `run` returns the exit status.

pub mod drops;
pub mod explain;
