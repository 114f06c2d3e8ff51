//! The rules, one file each, and the sentences that they share.

mod black_hole;
mod delivered;
mod dropped;
mod dropped_by_ovs;
mod forwarded;
mod in_flight;
mod misaddressed;
mod others;
mod reply_not_translated;
mod sentence;
mod unanswered;
mod unknown;
mod unsent;
mod upcall_lost;
mod vanished;

pub use black_hole::black_hole;
pub use delivered::delivered;
pub use dropped::dropped;
pub use dropped_by_ovs::dropped_by_ovs;
pub use forwarded::forwarded;
pub use in_flight::in_flight;
pub use misaddressed::misaddressed;
pub use others::{commands as commands_besides, listed as besides};
pub use reply_not_translated::reply_not_translated;
pub use unanswered::unanswered;
pub use unknown::unknown;
pub use unsent::unsent;
pub use upcall_lost::upcall_lost;
pub use vanished::vanished;
