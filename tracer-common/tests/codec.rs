//! Events as the kernel side lays them out in memory, read back.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../fuzz/src/codec.rs"]
mod invariants;

use std::mem::offset_of;

use proptest::collection::vec;
use proptest::prelude::*;
use tracer_common::abi::{
    DEV_NAME_BYTES, Event, HEADER_BYTES, PART_CT, PART_OVS, PART_OVS_LIST, PART_OVS_LONG_LIST,
    PART_STACK, Record, STACK_DEPTH, Stack,
};
use tracer_common::codec::{Error, decode};
use tracer_common::ovs::{LIST_BYTES, LONG_LIST_BYTES, OvsFacts};

const PLAIN: usize = size_of::<Event>();
const WITH_STACK: usize = size_of::<Record<Stack>>();

/// The fields in the order in which `Event` declares them: in a `repr(C)` structure that is the
/// order in memory, and this one has no gaps.
fn encode(e: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [e.ts, e.life, e.skb, e.parent, e.location] {
        out.extend(word.to_ne_bytes());
    }
    for word in [e.netns, e.ifindex, e.cpu, e.len, e.reason, e.mark] {
        out.extend(word.to_ne_bytes());
    }
    for half in [e.protocol, e.vlan_tci, e.vlan_proto, e.header_len, e.l3_offset] {
        out.extend(half.to_ne_bytes());
    }
    out.extend([e.hook, e.flags, e.pkt_type, e.parts, e.ip_summed, e.pad]);
    out.extend(e.dev_name);
    out.extend(e.headers);
    out
}

fn event() -> impl Strategy<Value = Event> {
    let lengths = (0..=HEADER_BYTES as u16).prop_flat_map(|len| (Just(len), 0..=len));
    (
        any::<[u64; 5]>(),
        any::<[u32; 6]>(),
        any::<[u16; 3]>(),
        lengths,
        (1_u8..=12, any::<u8>(), any::<u8>(), any::<u8>()),
        any::<[u8; DEV_NAME_BYTES]>(),
        vec(any::<u8>(), HEADER_BYTES),
    )
        .prop_map(|(words, ints, halves, lengths, bytes, dev_name, headers)| {
            let [ts, life, skb, parent, location] = words;
            let [netns, ifindex, cpu, len, reason, mark] = ints;
            let [protocol, vlan_tci, vlan_proto] = halves;
            let ((header_len, l3_offset), (hook, flags, pkt_type, ip_summed)) = (lengths, bytes);
            Event {
                ts,
                life,
                skb,
                parent,
                location,
                netns,
                ifindex,
                cpu,
                len,
                reason,
                mark,
                protocol,
                vlan_tci,
                vlan_proto,
                header_len,
                l3_offset,
                hook,
                flags,
                pkt_type,
                parts: 0,
                ip_summed,
                pad: 0,
                dev_name,
                headers: headers.try_into().unwrap(),
            }
        })
}

/// As [`encode`]: the fields in the order in which `OvsFacts` declares them.
fn encode_ovs(f: &OvsFacts) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [f.in_port_no, f.port_no, f.recirc_id, f.ct_mark] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(f.ct_label);
    out.extend(f.list_len.to_ne_bytes());
    out.extend(f.result.to_ne_bytes());
    out.extend(f.ct_zone.to_ne_bytes());
    out.extend([f.ct_state, f.cmd, f.known]);
    out.extend(f.pad);
    for name in [f.dp, f.in_port, f.port] {
        out.extend(name);
    }
    out
}

fn ovs() -> impl Strategy<Value = OvsFacts> {
    (any::<[u32; 5]>(), any::<i32>(), any::<u16>(), any::<[u8; 3]>(), any::<[[u8; 16]; 4]>())
        .prop_map(|(words, result, ct_zone, bytes, names)| {
            let [in_port_no, port_no, recirc_id, ct_mark, list_len] = words;
            let ([ct_state, cmd, known], [ct_label, dp, in_port, port]) = (bytes, names);
            let list_len = list_len % 4096;
            OvsFacts {
                in_port_no,
                port_no,
                recirc_id,
                ct_mark,
                ct_label,
                list_len,
                result,
                ct_zone,
                ct_state,
                cmd,
                known,
                dp,
                in_port,
                port,
                ..OvsFacts::NONE
            }
        })
}

/// Why bytes are refused.
fn refusal(bytes: &[u8]) -> Error {
    decode(bytes).expect_err("no event")
}

proptest! {
    #[test]
    fn what_open_vswitch_does_is_read_as_it_was_written(
        event in event(),
        facts in ovs(),
        long in any::<bool>(),
        fill in any::<u8>(),
    ) {
        let alone = Event { parts: PART_OVS, ..event };
        let mut bytes = encode(&alone);
        bytes.extend(encode_ovs(&facts));
        let decoded = decode(&bytes).unwrap();
        prop_assert_eq!((decoded.event, decoded.ovs, decoded.list), (alone, Some(facts), &[][..]));

        let (part, room) =
            if long { (PART_OVS_LONG_LIST, LONG_LIST_BYTES) } else { (PART_OVS_LIST, LIST_BYTES) };
        let mut bytes = encode(&Event { parts: PART_OVS | part, ..event });
        bytes.extend(encode_ovs(&facts));
        bytes.extend(vec![fill; room]);
        let decoded = decode(&bytes).unwrap();
        let held = room.min(facts.list_len as usize);
        prop_assert_eq!((decoded.ovs, decoded.list), (Some(facts), &vec![fill; held][..]));
        bytes.pop();
        prop_assert!(matches!(decode(&bytes), Err(Error::Size(_))));
        invariants::check(&bytes);
    }

    #[test]
    fn a_list_without_the_facts_is_refused(event in event(), list in vec(any::<u8>(), 3000)) {
        for parts in [PART_OVS_LIST, PART_OVS_LONG_LIST, PART_OVS_LIST | PART_OVS_LONG_LIST] {
            let mut bytes = encode(&Event { parts, ..event });
            bytes.extend(&list);
            prop_assert_eq!(refusal(&bytes), Error::Parts(parts));
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_written(
        event in event(), stack in any::<[u64; STACK_DEPTH]>(),
    ) {
        let mut bytes = encode(&event);
        let plain = decode(&bytes).unwrap();
        prop_assert_eq!(plain.event, event);
        prop_assert_eq!((plain.hook as u8, plain.stack), (event.hook, [0; STACK_DEPTH]));

        let event = Event { parts: PART_STACK, ..event };
        bytes = encode(&event);
        prop_assert_eq!(refusal(&bytes), Error::Size(PLAIN));
        bytes.extend(stack.iter().flat_map(|a| a.to_ne_bytes()));
        let full = decode(&bytes).unwrap();
        prop_assert_eq!((full.event, full.stack), (event, stack));
        bytes.push(0);
        prop_assert_eq!(refusal(&bytes), Error::Size(WITH_STACK + 1));
    }

    #[test]
    fn parts_that_are_not_known_are_refused(event in event(), parts in any::<u8>()) {
        let known = PART_STACK | PART_CT | PART_OVS | PART_OVS_LIST | PART_OVS_LONG_LIST;
        prop_assume!(parts & !known != 0);
        let event = Event { parts, ..event };
        prop_assert_eq!(refusal(&encode(&event)), Error::Parts(parts));
    }

    #[test]
    fn a_hook_that_is_not_known_is_refused(event in event(), hook in 13_u8..) {
        let event = Event { hook, ..event };
        prop_assert_eq!(refusal(&encode(&event)), Error::Hook(hook));
        prop_assert_eq!(refusal(&encode(&Event { hook: 0, ..event })), Error::Hook(0));
    }

    #[test]
    fn lengths_that_point_outside_are_refused(event in event(), beyond in any::<u16>()) {
        let long = Event { header_len: beyond.max(HEADER_BYTES as u16 + 1), ..event };
        prop_assert_eq!(refusal(&encode(&long)), Error::Length);
        let l3_offset = beyond.max(event.header_len + 1);
        prop_assert_eq!(refusal(&encode(&Event { l3_offset, ..event })), Error::Length);
    }

    #[test]
    fn any_bytes_give_an_event_or_an_error(bytes in vec(any::<u8>(), 0..WITH_STACK + LONG_LIST_BYTES)) {
        invariants::check(&bytes);
    }

    #[test]
    fn any_bytes_of_the_right_size_give_an_event_or_an_error(
        bytes in prop_oneof![vec(any::<u8>(), PLAIN), vec(any::<u8>(), WITH_STACK)],
        parts in any::<u8>(),
    ) {
        invariants::check(&bytes);
        let mut bytes = bytes;
        bytes[offset_of!(Event, parts)] = parts;
        invariants::check(&bytes);
    }
}

#[test]
fn every_other_size_is_refused() {
    for len in (0..=WITH_STACK + 64).filter(|len| *len != WITH_STACK) {
        let mut bytes = vec![0; len];
        for at in [offset_of!(Event, hook), offset_of!(Event, parts)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = 1;
            }
        }
        assert_eq!(decode(&bytes).unwrap_err(), Error::Size(len));
    }
}
