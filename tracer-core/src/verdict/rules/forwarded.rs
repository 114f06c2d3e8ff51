//! It left the node.

use crate::reconstruct::flow::Flow;
use crate::record::Outcome;
use crate::verdict::Finding;
use crate::verdict::rules::delivered::arrived;

/// Packets of the flow left through a device whose other end is not on this node, and none came to
/// harm here.
pub fn forwarded(flow: &Flow) -> Option<Finding> {
    if flow.out.left + flow.back.left == 0 {
        return None;
    }
    arrived(flow, Outcome::Forwarded)
}
