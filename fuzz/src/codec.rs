//! Bytes of the ring buffer to an event.

use tracer_common::abi::{
    Event, HEADER_BYTES, PART_CT, PART_OVS, PART_OVS_LIST, PART_OVS_LONG_LIST, PART_STACK, Stack,
};
use tracer_common::codec::{Error, decode};
use tracer_common::conntrack::Ct;
use tracer_common::ovs::{LIST_BYTES, LONG_LIST_BYTES, OvsFacts};

/// Panics where the decoder breaks a promise.
pub fn check(data: &[u8]) {
    match decode(data) {
        Ok(decoded) => {
            assert_eq!(data.len(), size_with(decoded.event.parts));
            assert_eq!(decoded.hook as u8, decoded.event.hook);
            assert!(decoded.event.l3_offset <= decoded.event.header_len);
            assert!(usize::from(decoded.event.header_len) <= HEADER_BYTES);
            let announces = |part| decoded.event.parts & part != 0;
            assert!(announces(PART_STACK) || decoded.stack.iter().all(|a| *a == 0));
            assert_eq!(announces(PART_OVS), decoded.ovs.is_some());
            let whole = decoded.ovs.map_or(0, |facts| facts.list_len as usize);
            assert!(decoded.list.len() <= whole);
            assert!(
                decoded.list.is_empty()
                    || announces(PART_OVS) && announces(PART_OVS_LIST | PART_OVS_LONG_LIST)
            );
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            assert!(matches!(why, Error::Size(_)) || data.len() >= size_of::<Event>());
        }
    }
}

/// Bytes of an event that announces these parts.
fn size_with(parts: u8) -> usize {
    let sizes = [
        (PART_STACK, size_of::<Stack>()),
        (PART_CT, size_of::<Ct>()),
        (PART_OVS, size_of::<OvsFacts>()),
        (PART_OVS_LIST, LIST_BYTES),
        (PART_OVS_LONG_LIST, LONG_LIST_BYTES),
    ];
    let announced = sizes.iter().filter(|(part, _)| parts & part != 0).map(|(_, size)| size);
    size_of::<Event>() + announced.sum::<usize>()
}
