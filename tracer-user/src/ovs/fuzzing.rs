//! What Open vSwitch's databases answer, for the fuzz target.

use super::answer::{Row, Rows, TABLE, read};
pub use super::ovn::fuzzing::flow;
pub use super::ports::fuzzing::ports;
pub use super::vlan::fuzzing::vlan;

/// The rows of an answer, where it has some.
pub(super) fn rows<R: Row>(answer: &[u8]) -> Option<Vec<R>> {
    let Rows(rows) = read(answer, TABLE).ok()?;
    rows.ok()
}
