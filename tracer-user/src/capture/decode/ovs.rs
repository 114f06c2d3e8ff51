//! What Open vSwitch was doing with the packet.

use nix::errno::Errno;
use tracer_common::abi::{DEV_NAME_BYTES, FLAG_LINK_HEADER, Hook};
use tracer_common::codec::Decoded;
use tracer_common::ovs::{
    FROM_USERSPACE, KNOWS_CMD, KNOWS_KEY, KNOWS_LIST, KNOWS_RESULT, NO_PORT, OvsFacts,
};
use tracer_common::packet::VlanTag;

use tracer_core::ovs::actions::{CT_STATES, CtLayout, Form, text_of};
use tracer_core::ovs::flow_key::{self, Headers, Place, Port};
use tracer_core::record::{Ovs, Upcall};

/// `OVS_CS_F_TRACKED`.
const TRACKED: u8 = 0x20;

/// What an event says of Open vSwitch, in numbers: packet after packet of a flow says the same.
#[derive(PartialEq, Eq, Hash)]
pub struct OvsNumbers {
    hook: Hook,
    facts: OvsFacts,
    /// The bytes of the action list that were recorded.
    list: Box<[u8]>,
    /// Of the packet, where its flow key can be told.
    headers: Option<Headers>,
    /// The device's name, where that is all that is known of the port.
    device: Option<[u8; DEV_NAME_BYTES]>,
}

impl OvsNumbers {
    /// `None` for an event of another hook.
    pub fn of(decoded: &Decoded<'_>) -> Option<Self> {
        let facts = *decoded.ovs.as_ref()?;
        let knows = |bit| facts.known & bit != 0;
        // Where the module has no BTF the datapath's own notes cannot be read. What a vport receives
        // is in its first pass, and comes by the vport's device, which has the vport's name.
        let by_device =
            !knows(KNOWS_KEY) && decoded.hook == Hook::OvsReceive && facts.in_port_no == NO_PORT;
        let has_key = by_device || knows(KNOWS_KEY) && facts.in_port_no != NO_PORT;
        Some(Self {
            hook: decoded.hook,
            facts,
            list: if knows(KNOWS_LIST) { decoded.list.into() } else { Box::default() },
            headers: has_key.then(|| headers(decoded)).flatten(),
            device: by_device.then_some(decoded.event.dev_name),
        })
    }

    /// In words. `ct`: how the kernel keeps `ct` actions.
    pub fn record(&self, ct: Option<&CtLayout>) -> Ovs {
        let facts = &self.facts;
        let knows = |bit| facts.known & bit != 0;
        let mut ovs = Ovs {
            dp: name(&facts.dp),
            in_port: name(&facts.in_port),
            in_port_no: number(facts.in_port_no),
            port: name(&facts.port),
            port_no: number(facts.port_no),
            from_userspace: knows(FROM_USERSPACE),
            ..Ovs::default()
        };
        if knows(KNOWS_KEY) {
            flow_key(&mut ovs, facts);
            ovs.key = number(facts.in_port_no).and_then(|n| self.key_text(Port::Number(n)));
        } else if let Some(device) = &self.device {
            ovs.key = name(device)
                .filter(|name| is_plain(name))
                .and_then(|name| self.key_text(Port::Name(&name)));
            ovs.recirc_id = ovs.key.is_some().then_some(0);
        }
        if knows(KNOWS_LIST) {
            ovs.actions = Some(text_of(&self.list, Form::Memory(ct)));
            ovs.empty = Some(facts.list_len == 0);
            ovs.cut = self.list.len() < facts.list_len as usize;
        }
        if self.hook == Hook::OvsUpcall {
            ovs.upcall = Some(upcall(facts));
        }
        ovs
    }

    /// The whole key; `None` where the packet's headers are not all to be had.
    fn key_text(&self, in_port: Port<'_>) -> Option<String> {
        let facts = &self.facts;
        let tracked = facts.ct_state & TRACKED != 0;
        let place = Place {
            in_port,
            recirc_id: facts.recirc_id,
            ct_state: if tracked { facts.ct_state } else { 0 },
            ct_zone: facts.ct_zone,
            ct_mark: facts.ct_mark,
            ct_label: u128::from_le_bytes(facts.ct_label),
        };
        self.headers.map(|headers| flow_key::text(&place, &headers))
    }
}

/// What a flow key has of the packet's own headers.
fn headers(decoded: &Decoded<'_>) -> Option<Headers> {
    let event = &decoded.event;
    let has_link = event.flags & FLAG_LINK_HEADER != 0;
    let frame = event.headers.get(..usize::from(event.header_len)).filter(|_| has_link)?;
    let tag = VlanTag { tpid: event.vlan_proto, tci: event.vlan_tci };
    Headers::read(frame, (tag.tpid != 0).then_some(tag))
}

fn flow_key(ovs: &mut Ovs, facts: &OvsFacts) {
    ovs.recirc_id = Some(facts.recirc_id);
    if facts.ct_state & TRACKED != 0 {
        ovs.ct_state = Some(ct_state(facts.ct_state));
        ovs.ct_zone = Some(facts.ct_zone);
    }
    ovs.ct_mark = (facts.ct_mark != 0).then_some(facts.ct_mark);
    // A 128-bit number in network byte order (`ovs_key_ct_labels`).
    let label = u128::from_le_bytes(facts.ct_label);
    ovs.ct_label = (label != 0).then(|| format!("{label:#x}"));
}

/// Whether a flow key can hold this name of a port: nothing in it ends the name before its end.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}

/// `new|trk`, as `ovs-dpctl` joins them.
fn ct_state(bits: u8) -> String {
    let set = CT_STATES.iter().filter(|(bit, _)| u32::from(bits) & bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

fn upcall(facts: &OvsFacts) -> Upcall {
    let failed = facts.known & KNOWS_RESULT != 0 && facts.result != 0;
    Upcall {
        // `enum ovs_packet_cmd`.
        cmd: match facts.cmd {
            _ if facts.known & KNOWS_CMD == 0 => None,
            1 => Some("miss".to_owned()),
            2 => Some("action".to_owned()),
            other => Some(other.to_string()),
        },
        result: failed.then(|| match Errno::from_raw(-facts.result) {
            Errno::UnknownErrno => facts.result.to_string(),
            // In the kernel only; as a caller of it would see it.
            errno => format!("{errno:?}"),
        }),
    }
}

fn number(port: u32) -> Option<u32> {
    (port != NO_PORT).then_some(port)
}

fn name(bytes: &[u8]) -> Option<String> {
    let name = bytes.split(|b| *b == 0).next().filter(|name| !name.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::abi::{Event, STACK_DEPTH};

    fn read(hook: Hook, facts: OvsFacts, list: &[u8]) -> Ovs {
        read_event(&Event { hook: hook as u8, ..NOTHING }, facts, list)
    }

    fn read_event(event: &Event, facts: OvsFacts, list: &[u8]) -> Ovs {
        let hook = Hook::from_number(event.hook).unwrap();
        let decoded = Decoded {
            hook,
            event: *event,
            stack: [0; STACK_DEPTH],
            ct: None,
            ovs: Some(facts),
            list,
        };
        OvsNumbers::of(&decoded).unwrap().record(None)
    }

    const NOTHING: Event = Event {
        ts: 0,
        life: 0,
        skb: 0,
        parent: 0,
        location: 0,
        netns: 0,
        ifindex: 0,
        cpu: 0,
        len: 0,
        reason: 0,
        mark: 0,
        protocol: 0,
        vlan_tci: 0,
        vlan_proto: 0,
        header_len: 0,
        l3_offset: 0,
        hook: 0,
        flags: 0,
        pkt_type: 0,
        parts: 0,
        ip_summed: 0,
        pad: 0,
        dev_name: [0; 16],
        headers: [0; tracer_common::abi::HEADER_BYTES],
    };

    fn key(ct_state: u8) -> OvsFacts {
        OvsFacts { known: KNOWS_KEY, ct_state, ct_zone: 5, recirc_id: 7, ..OvsFacts::NONE }
    }

    #[test]
    fn conntrack_has_a_state_where_the_packet_went_through_it() {
        let seen = read(Hook::OvsActions, key(0x30), &[]);
        assert_eq!((seen.ct_state.as_deref(), seen.ct_zone), (Some("inv|trk"), Some(5)));
        assert_eq!((seen.recirc_id, seen.ct_mark, seen.ct_label), (Some(7), None, None));
        let fresh = read(Hook::OvsActions, key(0), &[]);
        assert_eq!((fresh.ct_state, fresh.ct_zone), (None, None));
    }

    #[test]
    fn nothing_is_known_of_what_the_kernel_does_not_tell() {
        let seen = read(Hook::OvsActions, OvsFacts::NONE, &[]);
        assert_eq!(seen, Ovs::default());
        assert_eq!(read(Hook::OvsUpcall, OvsFacts::NONE, &[]).upcall, Some(Upcall::default()));
    }

    #[test]
    fn a_received_packet_has_a_key_where_the_datapaths_own_cannot_be_read() {
        // An echo request, padded.
        let frame = [
            &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..],
            &[0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2][..],
            &[8, 0, 0, 0, 0, 1, 0, 1],
        ]
        .concat();
        let received = |name: &[u8]| {
            let mut event = Event { hook: Hook::OvsReceive as u8, ..NOTHING };
            event.flags = FLAG_LINK_HEADER;
            event.header_len = frame.len() as u16;
            event.headers[..frame.len()].copy_from_slice(&frame);
            event.dev_name[..name.len()].copy_from_slice(name);
            read_event(&event, OvsFacts::NONE, &[])
        };
        let seen = received(b"p-c");
        let key = seen.key.unwrap();
        assert!(key.starts_with("in_port(p-c),eth(src=02:00:00:00:00:01,"), "{key}");
        assert!(key.contains("ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1"), "{key}");
        assert_eq!(seen.recirc_id, Some(0));
        // A name that would end its own parenthesis.
        assert_eq!(received(b"a)b").key, None);
        // Where they can be read, the port is known by its number, and the key is of the first pass.
        let numbered = OvsFacts { in_port_no: 3, ..OvsFacts::NONE };
        let seen = read(Hook::OvsReceive, numbered, &[]);
        assert_eq!((seen.key, seen.recirc_id, seen.in_port_no), (None, None, Some(3)));
    }

    #[test]
    fn a_list_is_empty_or_whole_or_cut() {
        // `output:3`, as netlink has it: length, type, value.
        let [l, t, p] = [8_u16.to_ne_bytes(), 1_u16.to_ne_bytes(), [3, 0]];
        let output = [l[0], l[1], t[0], t[1], p[0], p[1], 0, 0];
        let facts = |list_len| OvsFacts { known: KNOWS_LIST, list_len, ..OvsFacts::NONE };
        let text = |len, list: &[u8]| {
            let seen = read(Hook::OvsActions, facts(len), list);
            (seen.actions.unwrap(), seen.empty.unwrap(), seen.cut)
        };
        assert_eq!(text(0, &[]), ("drop".to_owned(), true, false));
        assert_eq!(text(8, &output), ("3".to_owned(), false, false));
        assert_eq!(text(4000, &output), ("3".to_owned(), false, true));
    }

    #[test]
    fn an_upcall_says_why_and_what_came_of_it() {
        let known = KNOWS_CMD | KNOWS_RESULT;
        let facts = |cmd, result| OvsFacts { known, cmd, result, ..OvsFacts::NONE };
        let told = |cmd, result| {
            let upcall = read(Hook::OvsUpcall, facts(cmd, result), &[]).upcall.unwrap();
            (upcall.cmd.unwrap(), upcall.result)
        };
        assert_eq!(told(1, 0), ("miss".to_owned(), None));
        assert_eq!(told(2, -11), ("action".to_owned(), Some("EAGAIN".to_owned())));
        assert_eq!(told(9, -100_000), ("9".to_owned(), Some("-100000".to_owned())));
    }
}
