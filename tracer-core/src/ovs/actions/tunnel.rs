//! `set(tunnel(…))`: what a tunnel port is told about the packet to send (`OVS_TUNNEL_KEY_ATTR_*`).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::attrs::{Attr, Attrs, be16_at, be32_at, bytes_at, u32_at};
use super::out::{Out, flags, hash_hex, long_hex, put};

/// `OVS_KEY_ATTR_TUNNEL`.
pub const KEY: u16 = 16;

/// `FLOW_TNL_F_*` of OVS's `packets.h`.
const FLAGS: &[(u32, &str)] = &[(1, "oam"), (2, "df"), (4, "csum"), (8, "key")];

/// `set(tunnel(…))` from its nested attributes.
pub fn set(out: &mut Out, value: &[u8]) {
    out.put("set(tunnel(");
    let (mut bits, mut attrs) = (0, Attrs::new(value));
    for attr in attrs.by_ref() {
        bits |= match attr.kind {
            0 => 8,
            5 => 2,
            6 => 4,
            7 => 1,
            _ => 0,
        };
        // Of the flags, only `key` has a value; padding (14) has none either.
        if !matches!(attr.kind, 5 | 6 | 7 | 14) {
            out.comma();
            match member(&attr) {
                Some(text) => out.put(&text),
                None => unknown(out, &attr),
            }
        }
    }
    out.comma();
    put!(out, "flags({})", flags(bits, FLAGS, "|"));
    if !attrs.rest().is_empty() {
        out.cut();
    }
    out.put("))");
}

fn unknown(out: &mut Out, attr: &Attr<'_>) {
    put!(out, "key{}(", attr.kind);
    out.raw(attr.value);
    out.put(")");
}

fn member(attr: &Attr<'_>) -> Option<String> {
    let v = attr.value;
    let ipv4 = || bytes_at::<4>(v, 0).filter(|_| v.len() == 4).map(Ipv4Addr::from);
    let ipv6 = || bytes_at::<16>(v, 0).filter(|_| v.len() == 16).map(Ipv6Addr::from);
    let byte = || v.first().filter(|_| v.len() == 1).copied();
    let port = || be16_at(v, 0).filter(|_| v.len() == 2);
    Some(match attr.kind {
        0 => format!("tun_id={:#x}", u64::from_be_bytes(v.try_into().ok()?)),
        1 => format!("src={}", ipv4()?),
        2 => format!("dst={}", ipv4()?),
        3 => format!("tos={}", hash_hex(byte()?.into())),
        4 => format!("ttl={}", byte()?),
        8 => format!("geneve({})", geneve(v)?),
        9 => format!("tp_src={}", port()?),
        10 => format!("tp_dst={}", port()?),
        11 => format!("vxlan({})", vxlan(v)?),
        12 => format!("ipv6_src={}", ipv6()?),
        13 => format!("ipv6_dst={}", ipv6()?),
        15 => format!("erspan({})", erspan(v)?),
        _ => return None,
    })
}

/// Geneve options (RFC 8926, 3.5).
fn geneve(mut options: &[u8]) -> Option<String> {
    let mut text = String::new();
    while !options.is_empty() {
        let class = be16_at(options, 0)?;
        let [kind, len] = bytes_at(options, 2)?;
        let len = usize::from(len & 0x1f) * 4;
        let data = options.get(4..4 + len)?;
        let (class, kind) = (hash_hex(class.into()), hash_hex(kind.into()));
        let data = if len == 0 { String::new() } else { format!(",{}", long_hex(data)) };
        let _ = write!(text, "{{class={class},type={kind},len={len}{data}}}");
        options = options.get(4 + len..)?;
    }
    Some(text)
}

/// `OVS_VXLAN_EXT_GBP`: group policy.
fn vxlan(options: &[u8]) -> Option<String> {
    let attr = Attrs::new(options).only().filter(|attr| attr.kind == 1)?;
    let raw = u32_at(attr.value, 0).filter(|_| attr.value.len() == 4)?;
    Some(format!("gbp(id={},flags={})", raw & 0xffff, hash_hex(((raw >> 16) & 0xff).into())))
}

/// `struct erspan_metadata`: version, then the index, or direction and hardware id.
fn erspan(meta: &[u8]) -> Option<String> {
    match u32_at(meta, 0)? {
        1 => Some(format!("ver=1,idx={}", hash_hex(be32_at(meta, 4)?.into()))),
        2 => {
            // struct erspan_md2: timestamp, sgt, then hwid (upper 2 bits) | ft | p and
            // o | gra | dir | hwid (lower 4 bits).
            let [high, low] = bytes_at(meta, 10)?;
            let (dir, hwid) = ((low >> 3) & 1, (high & 3) << 4 | low >> 4);
            Some(format!("ver=2,dir={dir},hwid={}", hash_hex(hwid.into())))
        }
        _ => None,
    }
}
