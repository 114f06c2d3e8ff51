//! All drops on the node, counted: what the kernel's maps hold becomes rows with names and words.
//!
//! Pure, as reconstruct and verdict are: no clock, no I/O.

mod everyday;
mod fold;
mod ledger;
mod row;
mod tally;

pub use everyday::why_everyday;
pub use fold::Folded;
pub use ledger::{Counted, Ledger, Line};
pub use row::Names;
pub use tally::{Entry, Tally};

#[cfg(test)]
mod tests;
