//! Answers about three tables, to the VLAN that explains a loss.

use super::{Rows, explain};
use crate::ovs::fuzzing::rows;
use tracer_core::record::OvsVlan;

/// By the tables of interfaces, ports and bridges: of a frame that came into `br0` by `tap0`.
pub fn vlan([interfaces, ports, bridges]: [&[u8]; 3], tagged: Option<u16>) -> Option<OvsVlan> {
    let tables =
        Rows { interfaces: rows(interfaces)?, ports: rows(ports)?, bridges: rows(bridges)? };
    explain(&tables, "br0", "tap0", tagged)
}
