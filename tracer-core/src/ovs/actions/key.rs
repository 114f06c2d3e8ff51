//! Key attributes (`OVS_KEY_ATTR_*`), as far as `set` actions carry them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attrs::{be16_at, be32_at, bytes_at, whole_u16, whole_u32};
use super::out::{Out, flags, hash_hex, long_hex, put};
use super::{nsh, tunnel};

/// What a byte range of a key is, which decides how OVS prints it.
#[derive(Clone, Copy)]
enum Kind {
    Mac,
    Ipv4,
    Ipv6,
    /// An IPv6 flow label: 32 bits, of which 20 are used.
    Label,
    Decimal8,
    Hex8,
    Decimal16,
    Fragment,
}

struct Field {
    name: &'static str,
    at: usize,
    kind: Kind,
}

const fn field(name: &'static str, at: usize, kind: Kind) -> Field {
    Field { name, at, kind }
}

/// A key that is a C structure: its attribute, name, size and members, in the order of OVS's text
/// (`include/uapi/linux/openvswitch.h`, `struct ovs_key_*`).
struct Structure(u16, &'static str, usize, &'static [Field]);

const STRUCTURES: &[Structure] = &[
    Structure(4, "eth", 12, &[field("src", 0, Kind::Mac), field("dst", 6, Kind::Mac)]),
    Structure(
        7,
        "ipv4",
        12,
        &[
            field("src", 0, Kind::Ipv4),
            field("dst", 4, Kind::Ipv4),
            field("proto", 8, Kind::Decimal8),
            field("tos", 9, Kind::Hex8),
            field("ttl", 10, Kind::Decimal8),
            field("frag", 11, Kind::Fragment),
        ],
    ),
    Structure(
        8,
        "ipv6",
        40,
        &[
            field("src", 0, Kind::Ipv6),
            field("dst", 16, Kind::Ipv6),
            field("label", 32, Kind::Label),
            field("proto", 36, Kind::Decimal8),
            field("tclass", 37, Kind::Hex8),
            field("hlimit", 38, Kind::Decimal8),
            field("frag", 39, Kind::Fragment),
        ],
    ),
    Structure(9, "tcp", 4, PORTS),
    Structure(10, "udp", 4, PORTS),
    Structure(17, "sctp", 4, PORTS),
    Structure(11, "icmp", 2, ICMP),
    Structure(12, "icmpv6", 2, ICMP),
    Structure(
        13,
        "arp",
        24,
        &[
            field("sip", 0, Kind::Ipv4),
            field("tip", 4, Kind::Ipv4),
            field("op", 8, Kind::Decimal16),
            field("sha", 10, Kind::Mac),
            field("tha", 16, Kind::Mac),
        ],
    ),
    Structure(
        14,
        "nd",
        28,
        &[field("target", 0, Kind::Ipv6), field("sll", 16, Kind::Mac), field("tll", 22, Kind::Mac)],
    ),
];
const PORTS: &[Field] = &[field("src", 0, Kind::Decimal16), field("dst", 2, Kind::Decimal16)];
const ICMP: &[Field] = &[field("type", 0, Kind::Decimal8), field("code", 1, Kind::Decimal8)];

/// `OVS_CS_F_*`, in the order of the bits.
pub const CT_STATES: &[(u32, &str)] = &[
    (0x01, "new"),
    (0x02, "est"),
    (0x04, "rel"),
    (0x08, "rpl"),
    (0x10, "inv"),
    (0x20, "trk"),
    (0x40, "snat"),
    (0x80, "dnat"),
];

/// `set(NAME(…))` of a whole key attribute; `false` where it is none that is known.
pub fn set(out: &mut Out, kind: u16, value: &[u8]) -> bool {
    write(out, kind, value, None)
}

/// `set(NAME(…))` of a key attribute that is followed by a mask of the same size: only what the
/// mask covers.
pub fn set_masked(out: &mut Out, kind: u16, both: &[u8]) -> bool {
    if kind == nsh::KEY {
        return nsh::set_masked(out, both);
    }
    let (value, mask) = both.split_at(both.len() / 2);
    value.len() == mask.len() && write(out, kind, value, Some(mask))
}

/// Whether `len` is the size of this key, which a `set` can carry.
pub fn is_settable(kind: u16, len: usize) -> bool {
    let structure = || STRUCTURES.iter().any(|s| s.0 == kind && s.2 == len);
    let stack = kind == MPLS && len != 0 && len.is_multiple_of(4);
    stack || (numbers(kind).is_some() && len == 4) || (kind == LABELS && len == 16) || structure()
}

const LABELS: u16 = 25;
const MPLS: u16 = 21;

/// Keys that are one native number.
const fn numbers(kind: u16) -> Option<&'static str> {
    Some(match kind {
        2 => "skb_priority",
        15 => "skb_mark",
        19 => "dp_hash",
        20 => "recirc_id",
        24 => "ct_mark",
        _ => return None,
    })
}

fn write(out: &mut Out, kind: u16, value: &[u8], mask: Option<&[u8]>) -> bool {
    if let Some(Structure(_, name, size, fields)) = STRUCTURES.iter().find(|s| s.0 == kind) {
        if value.len() != *size {
            return false;
        }
        let members: Vec<_> = fields.iter().filter_map(|f| member(f, value, mask)).collect();
        put!(out, "set({name}({}))", members.join(","));
        return true;
    }
    if kind == tunnel::KEY && mask.is_none() {
        tunnel::set(out, value);
        return true;
    }
    if kind == nsh::KEY && mask.is_none() {
        return nsh::set(out, value);
    }
    let text = match kind {
        LABELS => labels(value, mask),
        MPLS => mpls(value, mask),
        22 => whole_u32(value).map(|state| format!("ct_state({})", flags(state, CT_STATES, "|"))),
        23 => whole_u16(value).map(|zone| format!("ct_zone({})", hash_hex(zone.into()))),
        _ => numbers(kind).zip(number(value, mask)).map(|(name, n)| format!("{name}({n})")),
    };
    if let Some(text) = &text {
        put!(out, "set({text})");
    }
    text.is_some()
}

/// `/mask`, where there is one that does not cover everything.
fn over(mask: Option<&[u8]>, text: impl FnOnce(&[u8]) -> Option<String>) -> Option<String> {
    match mask {
        Some(mask) if mask.iter().any(|b| *b != 0xff) => Some(format!("/{}", text(mask)?)),
        _ => Some(String::new()),
    }
}

fn number(value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    let hex = |bytes: &[u8]| whole_u32(bytes).map(|n| hash_hex(n.into()));
    Some(format!("{}{}", hex(value)?, over(mask, hex)?))
}

fn labels(value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    let hex =
        |bytes: &[u8]| Some(long_hex(&u128::from_ne_bytes(bytes.try_into().ok()?).to_be_bytes()));
    Some(format!("ct_label({}{})", hex(value)?, over(mask, hex)?))
}

/// Members of an MPLS label stack entry (RFC 3032): label, traffic class, TTL, bottom of stack.
pub fn lse(entry: u32) -> String {
    let (label, tc, bos, ttl) = (entry >> 12, (entry >> 9) & 7, (entry >> 8) & 1, entry & 0xff);
    format!("label={label},tc={tc},ttl={ttl},bos={bos}")
}

fn mpls(value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    let partial = mask.filter(|mask| mask.iter().any(|b| *b != 0xff));
    let entries = value.len() / 4;
    if entries == 0 || !value.len().is_multiple_of(4) {
        return None;
    }
    let one = |i: usize| {
        let key = be32_at(value, i * 4)?;
        let Some(mask) = partial else {
            return Some(lse(key));
        };
        let mask = be32_at(mask, i * 4)?;
        let part = |shift: u32, bits: u32| ((key >> shift) & bits, (mask >> shift) & bits);
        let (label, tc, ttl, bos) = (part(12, 0xf_ffff), part(9, 7), part(0, 0xff), part(8, 1));
        Some(format!(
            "label={}/{:#x},tc={}/{:x},ttl={}/{:#x},bos={}/{:x}",
            label.0, label.1, tc.0, tc.1, ttl.0, ttl.1, bos.0, bos.1
        ))
    };
    let all: Option<Vec<_>> = (0..entries).map(one).collect();
    Some(format!("mpls({})", all?.join(",")))
}

/// `name=value/mask`; `None` for a member that the mask leaves alone.
fn member(field: &Field, value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    let Field { name, at, kind } = *field;
    let size = match kind {
        Kind::Mac => 6,
        Kind::Ipv4 | Kind::Label => 4,
        Kind::Ipv6 => 16,
        Kind::Decimal16 => 2,
        Kind::Decimal8 | Kind::Hex8 | Kind::Fragment => 1,
    };
    let value = value.get(at..at + size)?;
    let mask = match mask {
        Some(mask) => Some(mask.get(at..at + size)?),
        None => None,
    };
    if mask.is_some_and(|mask| mask.iter().all(|b| *b == 0)) {
        return None;
    }
    // A label has 20 bits, and a mask of these is the whole.
    let label_bits = be32_at(mask.unwrap_or_default(), 0).unwrap_or_default() & 0xf_ffff;
    let whole = matches!(kind, Kind::Label) && label_bits == 0xf_ffff;
    let mask = mask.filter(|_| !whole);
    let over = over(mask, |mask| mask_text(kind, mask))?;
    Some(format!("{name}={}{over}", text(kind, value)?))
}

fn text(kind: Kind, bytes: &[u8]) -> Option<String> {
    Some(match kind {
        Kind::Mac => mac(bytes_at(bytes, 0)?),
        Kind::Ipv4 => Ipv4Addr::from(bytes_at::<4>(bytes, 0)?).to_string(),
        Kind::Ipv6 => Ipv6Addr::from(bytes_at::<16>(bytes, 0)?).to_string(),
        Kind::Label => hash_hex(be32_at(bytes, 0)?.into()),
        Kind::Decimal8 => bytes.first()?.to_string(),
        Kind::Hex8 => hash_hex((*bytes.first()?).into()),
        Kind::Decimal16 => be16_at(bytes, 0)?.to_string(),
        // OVS_FRAG_TYPE_*
        Kind::Fragment => (*["no", "first", "later"].get(usize::from(*bytes.first()?))?).to_owned(),
    })
}

fn mask_text(kind: Kind, bytes: &[u8]) -> Option<String> {
    match kind {
        Kind::Decimal8 | Kind::Hex8 | Kind::Fragment => Some(hash_hex((*bytes.first()?).into())),
        Kind::Decimal16 => Some(hash_hex(be16_at(bytes, 0)?.into())),
        other => text(other, bytes),
    }
}

/// A MAC address as text.
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}
