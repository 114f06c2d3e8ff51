//! The network service header (RFC 8300): `push_nsh` and `set(nsh(…))`.

use super::attrs::{Attrs, be32_at, bytes_at};
use super::out::{Out, long_hex, put};

/// `OVS_KEY_ATTR_NSH`.
pub const KEY: u16 = 28;

/// `OVS_NSH_KEY_ATTR_BASE`, `_MD1`, `_MD2`.
const BASE: u16 = 1;
const MD1: u16 = 2;
const MD2: u16 = 3;

/// `push_nsh(…)`; `false` where it cannot be read.
pub fn push(out: &mut Out, value: &[u8]) -> bool {
    let Some(nsh) = Attrs::new(value).only().filter(|attr| attr.kind == KEY) else {
        return false;
    };
    let attrs = Attrs::new(nsh.value);
    let Some(base) = attrs.value_of(BASE).and_then(base) else {
        return false;
    };
    let more = match (attrs.value_of(MD1), attrs.value_of(MD2)) {
        (Some(md1), _) => contexts(md1),
        (None, Some(md2)) => Some(format!(",md2={}", long_hex(md2))),
        (None, None) => None,
    };
    put!(out, "push_nsh({base}{})", more.unwrap_or_default());
    true
}

/// `set(nsh(…))` of the whole header.
pub fn set(out: &mut Out, value: &[u8]) -> bool {
    let attrs = Attrs::new(value);
    let Some(base) = attrs.value_of(BASE).and_then(base) else {
        return false;
    };
    put!(out, "set(nsh({base}{}))", attrs.value_of(MD1).and_then(contexts).unwrap_or_default());
    true
}

/// `set(nsh(…))` where each attribute is followed by its mask.
pub fn set_masked(out: &mut Out, value: &[u8]) -> bool {
    let attrs = Attrs::new(value);
    let mut words = Vec::new();
    if let Some(both) = attrs.value_of(BASE) {
        let (Some(value), Some(mask)) = (bytes_at::<8>(both, 0), bytes_at::<8>(both, 8)) else {
            return false;
        };
        for (name, (value, mask)) in
            ["flags", "ttl", "mdtype", "np"].iter().zip(value.into_iter().zip(mask))
        {
            words.extend(byte(name, value, mask));
        }
        let path = |bytes: [u8; 8]| u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let (spi, covered) = (path(value) >> 8, path(mask) >> 8);
        words.extend(word("spi", spi, if covered == 0xff_ffff { u32::MAX } else { covered }));
        words.extend(byte("si", value[7], mask[7]));
    }
    if let Some(both) = attrs.value_of(MD1) {
        for i in 0..4 {
            let (Some(value), Some(mask)) = (be32_at(both, i * 4), be32_at(both, 16 + i * 4))
            else {
                return false;
            };
            words.extend(word(&format!("c{}", i + 1), value, mask));
        }
    }
    put!(out, "set(nsh({}))", words.join(","));
    true
}

/// `struct ovs_nsh_key_base`: flags, ttl, mdtype, np, then path and index in one number.
fn base(value: &[u8]) -> Option<String> {
    let [flags, ttl, mdtype, np] = bytes_at(value, 0)?;
    let path = be32_at(value, 4).filter(|_| value.len() == 8)?;
    Some(format!(
        "flags={flags},ttl={ttl},mdtype={mdtype},np={np},spi={:#x},si={}",
        path >> 8,
        path & 0xff
    ))
}

fn contexts(md1: &[u8]) -> Option<String> {
    let one = |i: usize| Some(format!(",c{}={:#x}", i + 1, be32_at(md1, i * 4)?));
    (0..4).map(one).collect()
}

fn byte(name: &str, value: u8, mask: u8) -> Option<String> {
    match mask {
        0 => None,
        0xff => Some(format!("{name}={value}")),
        mask => Some(format!("{name}={value:#04x}/{mask:#04x}")),
    }
}

fn word(name: &str, value: u32, mask: u32) -> Option<String> {
    match mask {
        0 => None,
        u32::MAX => Some(format!("{name}={value:#x}")),
        mask => Some(format!("{name}={value:#x}/{mask:#010x}")),
    }
}
