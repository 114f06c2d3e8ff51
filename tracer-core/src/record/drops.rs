//! Drops of one kind, counted.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// Drops of one kind, counted since the beginning.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// Nanoseconds since the beginning.
    pub ts: u64,
    /// The kernel's own name of the reason, as in [`super::Drop::reason`].
    pub reason: Option<String>,
    /// As in [`super::Drop::subsystem`].
    pub subsystem: Option<String>,
    /// Function that dropped them.
    pub symbol: Option<String>,
    /// Bytes past that function's start.
    pub offset: Option<u64>,
    /// Name of the network namespace, or its inode as text where it has no name.
    pub netns: Option<String>,
    /// Device that they came in by or were to leave by.
    pub dev: Option<String>,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many a second over the last interval; absent at the end.
    pub rate: Option<f64>,
    /// `--by protocol` and `--by tuple`.
    pub proto: Option<String>,
    /// `--by address` and `--by tuple`.
    pub src: Option<IpAddr>,
    /// `--by tuple`.
    pub sport: Option<u16>,
    /// `--by address` and `--by tuple`.
    pub dst: Option<IpAddr>,
    /// `--by port` and `--by tuple`: the port that they were going to.
    pub dport: Option<u16>,
    /// `--by stack`: the kernel's call chain, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    /// `--by ovs-port`: the Open vSwitch port that the device is.
    pub ovs_port: Option<String>,
    /// No drop event of the kernel's: it was found by following what Open vSwitch did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// What the reason (or else the function) means, as a clause; why they are, where they are everyday
    /// life.
    pub meaning: Option<String>,
    /// Commands worth running next; none where they are everyday life.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// Why these are everyday life and nobody's trouble; absent where they may be.
    pub everyday: Option<String>,
    /// More was asked for with `--by`, and there was no room to tell these apart by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rest: bool,
    /// This row stands for that many that are not shown.
    pub folded: Option<u64>,
}
