//! Reads events back from the bytes that the ring buffer hands over.

use core::mem::offset_of;

use crate::abi::{
    DEV_NAME_BYTES, Event, HEADER_BYTES, Hook, PART_CT, PART_STACK, STACK_DEPTH, Stack,
};
use crate::conntrack::Ct;

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
pub struct Decoded {
    /// Its hook.
    pub hook: Hook,
    /// The event.
    pub event: Event,
    /// All 0 where none was recorded.
    pub stack: Stack,
    /// The conntrack entry that the skb carries.
    pub ct: Option<Ct>,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or(Error::Size(bytes.len()))
}

/// Reads one event.
///
/// # Errors
/// [`Error`] when the bytes are not an event of this version.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Error> {
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
        pad: [0; 2],
        dev_name: array::<DEV_NAME_BYTES>(bytes, offset_of!(Event, dev_name))?,
        headers: array::<HEADER_BYTES>(bytes, offset_of!(Event, headers))?,
    };
    let hook = Hook::from_number(event.hook).ok_or(Error::Hook(event.hook))?;
    if usize::from(event.header_len) > HEADER_BYTES || event.l3_offset > event.header_len {
        return Err(Error::Length);
    }
    if event.parts & !(PART_STACK | PART_CT) != 0 {
        return Err(Error::Parts(event.parts));
    }
    let mut at = size_of::<Event>();
    let mut stack = [0; STACK_DEPTH];
    if event.parts & PART_STACK != 0 {
        for (i, slot) in stack.iter_mut().enumerate() {
            *slot = u64::from_ne_bytes(array(bytes, at + i * size_of::<u64>())?);
        }
        at += size_of::<Stack>();
    }
    let mut ct = None;
    if event.parts & PART_CT != 0 {
        ct = Some(Ct::decode(&array::<{ size_of::<Ct>() }>(bytes, at)?)?);
        at += size_of::<Ct>();
    }
    if at != bytes.len() {
        return Err(Error::Size(bytes.len()));
    }
    Ok(Decoded { hook, event, stack, ct })
}
