//! The rules, one file each, and the sentences that they share.

mod black_hole;
mod delivered;
mod dropped;
mod forwarded;
mod in_flight;
mod misaddressed;
mod reply_not_translated;
mod sentence;
mod vanished;

pub use black_hole::black_hole;
pub use delivered::delivered;
pub use dropped::{dropped, dropped_by_ovs};
pub use forwarded::forwarded;
pub use in_flight::in_flight;
pub use misaddressed::misaddressed;
pub use reply_not_translated::reply_not_translated;
pub use vanished::vanished;
