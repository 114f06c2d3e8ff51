//! From the kernel's hooks to records: load, attach, read, decode.

mod ahead;
mod cgroup_root;
pub mod counters;
pub mod counting;
pub mod decode;
mod egress;
mod entry;
pub mod kernel_log;
pub mod load;
pub mod losses;
mod memory;
pub mod misses;
pub mod object;
pub mod ovs;
pub mod ports;
pub mod probes;
mod refusal;
pub mod ring;
pub mod session;
mod syscall;
mod tap;
mod verifier;
