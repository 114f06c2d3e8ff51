//! The `ct` action: as netlink has it, and as the kernel keeps it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attrs::{Attrs, bytes_at, u16_at, u32_at, whole_u16};
use super::out::{Out, hash_hex, long_hex, put};

/// `AF_INET6` of Linux (include/linux/socket.h).
const AF_INET6: u16 = 10;

/// What an action tracks, and what it does to the connection.
#[derive(Debug, Default)]
struct Ct {
    commit: bool,
    force: bool,
    zone: u16,
    mark: Option<(u32, u32)>,
    /// Value and mask, highest byte first.
    label: Option<([u8; 16], [u8; 16])>,
    helper: Option<String>,
    timeout: Option<String>,
    nat: Option<Nat>,
}

/// How a connection is translated.
#[derive(Debug, Default)]
struct Nat {
    /// `src` or `dst`; absent: as the connection says.
    side: Option<&'static str>,
    addrs: Option<(IpAddr, Option<IpAddr>)>,
    ports: Option<(u16, Option<u16>)>,
    persistent: bool,
    hash: bool,
    random: bool,
}

/// Where `struct ovs_conntrack_info` keeps what (`net/openvswitch/conntrack.c`), as byte offsets
/// from the module's BTF; with it a `ct` action can be read from kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtLayout {
    /// Pointer to the helper.
    pub helper: u32,
    /// `zone.id`.
    pub zone: u32,
    /// The byte that holds the bit fields `commit` (1 bit), `nat` (3) and `force` (1), in that
    /// order from the lowest.
    pub flags: u32,
    /// `family`.
    pub family: u32,
    /// `mark`: value, then mask.
    pub mark: u32,
    /// `labels`: value, then mask.
    pub labels: u32,
    /// `timeout`, text; absent before Linux 5.2.
    pub timeout: Option<u32>,
    /// `range`, a `struct nf_nat_range2`; absent where the kernel has no NAT.
    pub range: Option<u32>,
    /// Size of the whole.
    pub size: u32,
}

/// `ct(…)` from the attributes `OVS_CT_ATTR_*`; `false` where they cannot be read.
pub fn netlink(out: &mut Out, value: &[u8]) -> bool {
    let mut ct = Ct::default();
    let mut attrs = Attrs::new(value);
    for attr in attrs.by_ref() {
        match (attr.kind, attr.value) {
            (1, _) => ct.commit = true,
            (2, v) => ct.zone = whole_u16(v).unwrap_or_default(),
            (3, v) => ct.mark = u32_at(v, 0).zip(u32_at(v, 4)),
            (4, v) => ct.label = label(v, 0),
            (5, v) => ct.helper = Some(c_text(v)),
            (6, v) => ct.nat = Some(nat_netlink(v)),
            (7, _) => ct.force = true,
            (9, v) => ct.timeout = Some(c_text(v)),
            // OVS does not print 8, the event mask, either.
            _ => {}
        }
    }
    if !attrs.rest().is_empty() {
        return false;
    }
    write(out, &ct);
    true
}

/// `ct(…)` from the kernel's own `struct ovs_conntrack_info`; `false` where it is not one.
pub fn memory(out: &mut Out, value: &[u8], layout: &CtLayout) -> bool {
    if value.len() != layout.size as usize {
        return false;
    }
    let Some(ct) = read_memory(value, layout) else {
        return false;
    };
    write(out, &ct);
    true
}

fn read_memory(value: &[u8], layout: &CtLayout) -> Option<Ct> {
    let at = |offset: u32| offset as usize;
    let [flags] = bytes_at(value, at(layout.flags))?;
    let helper: [u8; 8] = bytes_at(value, at(layout.helper))?;
    let mark = u32_at(value, at(layout.mark)).zip(u32_at(value, at(layout.mark) + 4))?;
    let labels = label(value, at(layout.labels))?;
    let timeout = match layout.timeout {
        Some(offset) => Some(c_text(&bytes_at::<32>(value, at(offset))?)),
        None => None,
    };
    let family = u16_at(value, at(layout.family))?;
    let bits = (flags >> 1) & 7;
    let range = layout.range.and_then(|offset| value.get(at(offset)..));
    Some(Ct {
        // The kernel keeps both bits for what userspace asked for with one word.
        commit: flags & 0x11 == 1,
        force: flags & 0x11 == 0x11,
        zone: u16_at(value, at(layout.zone))?,
        mark: (mark.1 != 0).then_some(mark),
        label: (labels.1 != [0; 16]).then_some(labels),
        // Its name is elsewhere.
        helper: (helper != [0; 8]).then(|| "…".to_owned()),
        timeout: timeout.filter(|name| !name.is_empty()),
        nat: (bits != 0).then(|| nat_memory(bits, family, range)),
    })
}

/// `enum ovs_ct_nat` and `struct nf_nat_range2`: flags, two addresses of 16 bytes, two ports.
fn nat_memory(bits: u8, family: u16, range: Option<&[u8]>) -> Nat {
    let mut nat = Nat { side: side(bits & 2 != 0, bits & 4 != 0), ..Nat::default() };
    let (Some(range), true) = (range, nat.side.is_some()) else {
        return nat;
    };
    let flags = u32_at(range, 0).unwrap_or_default();
    let addr = |at| {
        if family == AF_INET6 {
            bytes_at::<16>(range, at).map(|b| IpAddr::from(Ipv6Addr::from(b)))
        } else {
            bytes_at::<4>(range, at).map(|b| IpAddr::from(Ipv4Addr::from(b)))
        }
    };
    // NF_NAT_RANGE_* of include/uapi/linux/netfilter/nf_nat.h.
    if flags & 1 != 0 {
        nat.addrs = addr(4).map(|min| (min, addr(20)));
    }
    if flags & 2 != 0 {
        let port = |at| bytes_at(range, at).map(u16::from_be_bytes);
        nat.ports = port(36).map(|min| (min, port(38)));
    }
    nat.hash = flags & 4 != 0;
    nat.persistent = flags & 8 != 0;
    nat.random = flags & 16 != 0;
    nat
}

fn nat_netlink(value: &[u8]) -> Nat {
    let attrs = Attrs::new(value);
    let has = |kind| attrs.value_of(kind).is_some();
    let port = |kind| attrs.value_of(kind).and_then(whole_u16);
    Nat {
        side: side(has(1), has(2)),
        addrs: attrs.value_of(3).and_then(addr).map(|min| (min, attrs.value_of(4).and_then(addr))),
        ports: port(5).map(|min| (min, port(6))),
        persistent: has(7),
        hash: has(8),
        random: has(9),
    }
}

const fn side(src: bool, dst: bool) -> Option<&'static str> {
    match (src, dst) {
        (true, _) => Some("src"),
        (false, true) => Some("dst"),
        (false, false) => None,
    }
}

fn addr(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => bytes_at::<4>(value, 0).map(IpAddr::from),
        16 => bytes_at::<16>(value, 0).map(IpAddr::from),
        _ => None,
    }
}

/// Value and mask of a label, of which the kernel keeps the lowest byte first.
fn label(value: &[u8], at: usize) -> Option<([u8; 16], [u8; 16])> {
    let number = |at| bytes_at(value, at).map(|b| u128::from_ne_bytes(b).to_be_bytes());
    number(at).zip(number(at + 16))
}

/// Text up to its NUL. Names come from userspace: nothing in it may forge what follows.
fn c_text(bytes: &[u8]) -> String {
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.:+@".contains(c) { c } else { '?' };
    String::from_utf8_lossy(text).chars().take(32).map(plain).collect()
}

fn write(out: &mut Out, ct: &Ct) {
    let mut words = Vec::new();
    words.extend(ct.commit.then(|| "commit".to_owned()));
    words.extend(ct.force.then(|| "force_commit".to_owned()));
    words.extend((ct.zone != 0).then(|| format!("zone={}", ct.zone)));
    let hex = |n: u32| hash_hex(n.into());
    words.extend(ct.mark.map(|(value, mask)| format!("mark={}/{}", hex(value), hex(mask))));
    words.extend(ct.label.map(|(value, mask)| {
        let mask = if mask == [0xff; 16] { String::new() } else { format!("/{}", long_hex(&mask)) };
        format!("label={}{mask}", long_hex(&value))
    }));
    words.extend(ct.helper.as_ref().map(|name| format!("helper={name}")));
    words.extend(ct.timeout.as_ref().map(|name| format!("timeout={name}")));
    words.extend(ct.nat.as_ref().map(nat));
    if words.is_empty() {
        out.put("ct");
    } else {
        put!(out, "ct({})", words.join(","));
    }
}

fn nat(nat: &Nat) -> String {
    let Some(side) = nat.side else {
        return "nat".to_owned();
    };
    let mut to = String::new();
    if let Some((min, max)) = nat.addrs {
        let addr = |a: IpAddr| match a {
            IpAddr::V6(a) if nat.ports.is_some() => format!("[{a}]"),
            a => a.to_string(),
        };
        to = format!("={}", addr(min));
        if let Some(max) = max.filter(|max| *max != min && !max.is_unspecified()) {
            to = format!("{to}-{}", addr(max));
        }
    }
    if let Some((min, max)) = nat.ports.filter(|(min, _)| *min != 0) {
        to = format!("{to}:{min}");
        if let Some(max) = max.filter(|max| *max != min && *max != 0) {
            to = format!("{to}-{max}");
        }
    }
    let mut text = format!("nat({side}{to}");
    for (_, word) in [(nat.persistent, ",persistent"), (nat.hash, ",hash"), (nat.random, ",random")]
        .iter()
        .filter(|(set, _)| *set)
    {
        text.push_str(word);
    }
    text + ")"
}
