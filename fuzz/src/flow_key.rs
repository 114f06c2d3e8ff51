//! A frame to the flow key that `ofproto/trace` is given, a command line of root's.

use tracer_common::packet::VlanTag;
use tracer_core::ovs::flow_key::{Headers, Place, Port, text};

/// Panics where the writer of flow keys breaks a promise. The last two bytes are a tag that the
/// kernel keeps beside the frame.
pub fn check(data: &[u8]) {
    let Some((frame, tag)) = data.split_last_chunk::<2>() else { return };
    let tag = VlanTag { tpid: 0x8100, tci: u16::from_be_bytes(*tag) };
    for tag in [None, Some(tag)] {
        let Some(headers) = Headers::read(frame, tag) else { continue };
        let first = Place { in_port: Port::Number(1), ..Place::default() };
        let later = Place {
            in_port: Port::Name("tap0"),
            recirc_id: u32::MAX,
            ct_state: 0x21,
            ct_zone: 7,
            ct_mark: 1,
            ct_label: u128::MAX,
        };
        for place in [first, later] {
            let key = text(&place, &headers);
            let known = |c: char| c.is_ascii_alphanumeric() || "(),=/:.+-|_".contains(c);
            assert!(key.chars().all(known), "{key:?}");
            assert_eq!(key.matches('(').count(), key.matches(')').count(), "{key}");
        }
    }
}
