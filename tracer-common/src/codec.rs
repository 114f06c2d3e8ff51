//! Reads events back from the bytes that the ring buffer hands over.

use core::mem::offset_of;

use crate::abi::{
    DEV_NAME_BYTES, Event, HEADER_BYTES, Hook, PART_CT, PART_OVS, PART_OVS_LIST,
    PART_OVS_LONG_LIST, PART_STACK, STACK_DEPTH, Stack,
};
use crate::conntrack::Ct;
use crate::ovs::{LIST_BYTES, LONG_LIST_BYTES, OvsFacts};

/// Why bytes are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not the size of an [`Event`] with the parts that it announces.
    Size(usize),
    /// Parts that this version does not know.
    Parts(u8),
    /// A hook number that this version does not know.
    Hook(u8),
    /// A length inside the event that points outside it.
    Length,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Size(n) => write!(f, "an event of {n} bytes, which no version of lasthop writes"),
            Self::Parts(n) => write!(f, "an event with parts {n:#x}, which are not all known"),
            Self::Hook(n) => write!(f, "an event from hook number {n}, which is not known"),
            Self::Length => write!(f, "an event whose lengths contradict each other"),
        }
    }
}

impl core::error::Error for Error {}

/// An event and where it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Its hook.
    pub hook: Hook,
    /// The event.
    pub event: Event,
    /// All 0 where none was recorded.
    pub stack: Stack,
    /// The conntrack entry that the skb carries.
    pub ct: Option<Ct>,
    /// What Open vSwitch was doing with the packet.
    pub ovs: Option<OvsFacts>,
    /// The action list that it runs, as far as it was recorded; empty where none was.
    pub list: &'a [u8],
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or(Error::Size(bytes.len()))
}

/// Reads one event.
///
/// # Errors
/// [`Error`] when the bytes are not an event of this version.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Error> {
    macro_rules! int {
        ($kind:ty, $field:ident) => {
            <$kind>::from_ne_bytes(array(bytes, offset_of!(Event, $field))?)
        };
    }
    let event = Event {
        ts: int!(u64, ts),
        life: int!(u64, life),
        skb: int!(u64, skb),
        parent: int!(u64, parent),
        location: int!(u64, location),
        netns: int!(u32, netns),
        ifindex: int!(u32, ifindex),
        cpu: int!(u32, cpu),
        len: int!(u32, len),
        reason: int!(u32, reason),
        mark: int!(u32, mark),
        protocol: int!(u16, protocol),
        vlan_tci: int!(u16, vlan_tci),
        vlan_proto: int!(u16, vlan_proto),
        header_len: int!(u16, header_len),
        l3_offset: int!(u16, l3_offset),
        hook: int!(u8, hook),
        flags: int!(u8, flags),
        pkt_type: int!(u8, pkt_type),
        parts: int!(u8, parts),
        ip_summed: int!(u8, ip_summed),
        pad: 0,
        dev_name: array::<DEV_NAME_BYTES>(bytes, offset_of!(Event, dev_name))?,
        headers: array::<HEADER_BYTES>(bytes, offset_of!(Event, headers))?,
    };
    let hook = Hook::from_number(event.hook).ok_or(Error::Hook(event.hook))?;
    if usize::from(event.header_len) > HEADER_BYTES || event.l3_offset > event.header_len {
        return Err(Error::Length);
    }
    if event.parts & !PARTS != 0 {
        return Err(Error::Parts(event.parts));
    }
    let mut rest = Rest { bytes, at: size_of::<Event>() };
    let stack = if event.parts & PART_STACK != 0 { rest.stack()? } else { [0; STACK_DEPTH] };
    let ct = if event.parts & PART_CT != 0 { Some(rest.ct()?) } else { None };
    let ovs = if event.parts & PART_OVS != 0 { Some(rest.ovs()?) } else { None };
    let list = rest.list(event.parts, ovs.as_ref())?;
    if rest.at != bytes.len() {
        return Err(Error::Size(bytes.len()));
    }
    Ok(Decoded { hook, event, stack, ct, ovs, list })
}

/// All parts that this version knows.
const PARTS: u8 = PART_STACK | PART_CT | PART_OVS | PART_OVS_LIST | PART_OVS_LONG_LIST;

/// The parts that are still to be read, each behind the one before.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn stack(&mut self) -> Result<Stack, Error> {
        let mut stack = [0; STACK_DEPTH];
        for (i, slot) in stack.iter_mut().enumerate() {
            *slot = u64::from_ne_bytes(array(self.bytes, self.at + i * size_of::<u64>())?);
        }
        self.at += size_of::<Stack>();
        Ok(stack)
    }

    fn ct(&mut self) -> Result<Ct, Error> {
        let ct = Ct::decode(&array::<{ size_of::<Ct>() }>(self.bytes, self.at)?)?;
        self.at += size_of::<Ct>();
        Ok(ct)
    }

    fn ovs(&mut self) -> Result<OvsFacts, Error> {
        macro_rules! field {
            ($field:ident) => {
                array(self.bytes, self.at + offset_of!(OvsFacts, $field))?
            };
            ($kind:ty, $field:ident) => {
                <$kind>::from_ne_bytes(field!($field))
            };
        }
        let facts = OvsFacts {
            in_port_no: field!(u32, in_port_no),
            port_no: field!(u32, port_no),
            recirc_id: field!(u32, recirc_id),
            ct_mark: field!(u32, ct_mark),
            ct_label: field!(ct_label),
            list_len: field!(u32, list_len),
            result: field!(i32, result),
            ct_zone: field!(u16, ct_zone),
            ct_state: field!(u8, ct_state),
            cmd: field!(u8, cmd),
            known: field!(u8, known),
            pad: [0; 3],
            dp: field!(dp),
            in_port: field!(in_port),
            port: field!(port),
        };
        self.at += size_of::<OvsFacts>();
        Ok(facts)
    }

    fn list(&mut self, parts: u8, ovs: Option<&OvsFacts>) -> Result<&'a [u8], Error> {
        let room = match parts & (PART_OVS_LIST | PART_OVS_LONG_LIST) {
            0 => return Ok(&[]),
            PART_OVS_LIST => LIST_BYTES,
            PART_OVS_LONG_LIST => LONG_LIST_BYTES,
            _ => return Err(Error::Parts(parts)),
        };
        let Some(facts) = ovs else { return Err(Error::Parts(parts)) };
        let held = (facts.list_len as usize).min(room);
        let list = self.bytes.get(self.at..self.at + held);
        self.at += room;
        list.ok_or(Error::Size(self.bytes.len()))
    }
}
