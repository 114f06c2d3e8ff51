//! Answers of OVN's databases, to a logical flow and its ACL.

use super::{AclRow, FlowRow, UuidRow};
use crate::ovs::fuzzing::rows;
use tracer_core::record::{Acl, LogicalFlow};

/// By the UUIDs of a table, and by one row of each of the two tables. `None`: one is not understood.
pub fn flow([uuids, flow, acl]: [&[u8]; 3]) -> Option<(LogicalFlow, Acl)> {
    let uuid = rows::<UuidRow>(uuids)?.first()?.uuid;
    let mut flow = rows::<FlowRow>(flow)?.pop()?;
    let acl = rows::<AclRow>(acl)?.pop()?;
    let hints = std::mem::take(&mut flow.external_ids);
    Some((flow.logical_flow(uuid, &hints), acl.acl(uuid)))
}
