//! Answers about three tables, to the ports.

use super::Ports;
use crate::ovs::fuzzing::rows;

/// By the tables of interfaces, ports and bridges. `None`: one of them is not understood.
pub fn ports([interfaces, ports, bridges]: [&[u8]; 3]) -> Option<Ports> {
    Some(Ports::join(rows(interfaces)?, rows(ports)?, rows(bridges)?, None))
}
