//! The hooks, one file a kind of place. Each is a thin entry that hands over to [`crate::judge`]
//! and [`crate::emit`], and names the kernel prototype that it relies on.

mod clone;
mod count;
mod count_ovs;
mod deliver;
mod device;
mod drop;
mod ovs;
mod ovs_answer;
