//! Action lists of the datapath in the words of `ovs-dpctl dump-flows`.
//!
//! Two forms of one list exist. Netlink carries `OVS_ACTION_ATTR_*` as
//! `include/uapi/linux/openvswitch.h` says. What the kernel keeps and runs
//! (`struct sw_flow_actions`) is laid out alike, but with its own contents where that is quicker:
//! `ct` is a `struct ovs_conntrack_info`, `sample`, `clone` and `check_pkt_len` begin with an
//! argument, `set` may have become a masked one, and a tunnel is a pointer
//! (`net/openvswitch/flow_netlink.c`, `ovs_nla_put_actions` is the way back).

mod attrs;
mod ct;
mod key;
mod nsh;
mod out;
mod tunnel;
mod userspace;

use attrs::{Attr, Attrs, be16_at, be32_at, u16_at, u32_at, whole_u32};
use out::{Out, put};

pub use ct::CtLayout;
pub use key::{CT_STATES, mac};

/// `OVS_ACTION_ATTR_*`: the same numbers in every kernel and every OVS since 2.13.
mod number {
    pub const OUTPUT: u16 = 1;
    pub const USERSPACE: u16 = 2;
    pub const SET: u16 = 3;
    pub const PUSH_VLAN: u16 = 4;
    pub const POP_VLAN: u16 = 5;
    pub const SAMPLE: u16 = 6;
    pub const RECIRC: u16 = 7;
    pub const HASH: u16 = 8;
    pub const PUSH_MPLS: u16 = 9;
    pub const POP_MPLS: u16 = 10;
    pub const SET_MASKED: u16 = 11;
    pub const CT: u16 = 12;
    pub const TRUNC: u16 = 13;
    pub const PUSH_ETH: u16 = 14;
    pub const POP_ETH: u16 = 15;
    pub const CT_CLEAR: u16 = 16;
    pub const PUSH_NSH: u16 = 17;
    pub const POP_NSH: u16 = 18;
    pub const METER: u16 = 19;
    pub const CLONE: u16 = 20;
    pub const CHECK_PKT_LEN: u16 = 21;
    pub const ADD_MPLS: u16 = 22;
    pub const DEC_TTL: u16 = 23;
    pub const DROP: u16 = 24;
    pub const PSAMPLE: u16 = 25;
}

/// In which form a list is.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// As netlink carries it.
    Netlink,
    /// As the kernel runs it. Without a layout a `ct` shows no more than that it is one.
    Memory(Option<&'a CtLayout>),
}

/// The text of a list in netlink's form; an empty one is `drop`. What is not known is shown by its
/// number, what is cut or too long ends with `…`. Never panics, whatever the bytes.
pub fn text(actions: &[u8]) -> String {
    text_of(actions, Form::Netlink)
}

/// The text of a list in either form; see [`text`].
pub fn text_of(actions: &[u8], form: Form<'_>) -> String {
    let mut out = Out::default();
    list(&mut out, actions, form);
    out.finish()
}

fn list(out: &mut Out, actions: &[u8], form: Form<'_>) {
    if actions.is_empty() {
        out.put("drop");
        return;
    }
    out.nest(|out| {
        let mut attrs = Attrs::new(actions);
        for (i, attr) in attrs.by_ref().enumerate() {
            if i > 0 {
                out.put(",");
            }
            if !action(out, &attr, form) {
                put!(out, "action{}(", attr.kind);
                out.raw(attr.value);
                out.put(")");
            }
        }
        if !attrs.rest().is_empty() {
            out.comma();
            out.cut();
        }
    });
}

/// Puts one action; `false`, and nothing is put, where it is not known or not as it should be.
fn action(out: &mut Out, attr: &Attr<'_>, form: Form<'_>) -> bool {
    let v = attr.value;
    match attr.kind {
        number::USERSPACE => return userspace::write(out, v),
        number::SET => return set(out, v, form),
        number::SET_MASKED => {
            let only = Attrs::new(v).only();
            return only.is_some_and(|key| key::set_masked(out, key.kind, key.value));
        }
        number::SAMPLE => return sample(out, v, form),
        number::CT => return conntrack(out, v, form),
        number::PUSH_NSH => return nsh::push(out, v),
        number::CLONE => clone(out, v, form),
        number::CHECK_PKT_LEN => return check_pkt_len(out, v, form),
        number::DEC_TTL => {
            out.put("dec_ttl(le_1(");
            if let Some(actions) = Attrs::new(v).value_of(1) {
                list(out, actions, form);
            }
            out.put("))");
        }
        // Beyond what netlink knows the kernel has one of its own, numbered after the last.
        kind if kind >= number::DROP && set_to_masked(out, v, form) => {}
        number::PSAMPLE => return psample(out, v),
        kind => match plain(kind, v) {
            Some(text) => out.put(&text),
            None => return false,
        },
    }
    true
}

/// Actions whose argument is a number, a small structure, or nothing.
fn plain(kind: u16, v: &[u8]) -> Option<String> {
    let number = || whole_u32(v);
    Some(match (kind, v.len()) {
        (number::OUTPUT, _) => number()?.to_string(),
        (number::PUSH_VLAN, 4) => push_vlan(be16_at(v, 0)?, be16_at(v, 2)?),
        (number::POP_VLAN, 0) => "pop_vlan".to_owned(),
        (number::RECIRC, _) => format!("recirc({})", out::hash_hex(number()?.into())),
        (number::HASH, 8) => hash(u32_at(v, 0)?, u32_at(v, 4)?),
        // The structure ends with two bytes that nothing is said of.
        (number::PUSH_MPLS, 8) => {
            format!("push_mpls({},eth_type={:#x})", key::lse(be32_at(v, 0)?), be16_at(v, 4)?)
        }
        (number::POP_MPLS, 2) => format!("pop_mpls(eth_type={:#x})", be16_at(v, 0)?),
        (number::TRUNC, _) => format!("trunc({})", number()?),
        (number::PUSH_ETH, 12) => {
            let mac = |at| attrs::bytes_at(v, at).map(mac);
            format!("push_eth(src={},dst={})", mac(0)?, mac(6)?)
        }
        (number::POP_ETH, 0) => "pop_eth".to_owned(),
        (number::CT_CLEAR, 0) => "ct_clear".to_owned(),
        (number::POP_NSH, 0) => "pop_nsh()".to_owned(),
        (number::METER, _) => format!("meter({})", number()?),
        (number::ADD_MPLS, 8) => {
            format!("add_mpls({},eth_type={:#x})", key::lse(be32_at(v, 0)?), be16_at(v, 4)?)
        }
        (number::DROP, 4) => "drop".to_owned(),
        _ => return None,
    })
}

fn push_vlan(tpid: u16, tci: u16) -> String {
    let tpid = if tpid == 0x8100 { String::new() } else { format!("tpid={tpid:#06x},") };
    // OVS keeps "a tag is there" in the bit that is CFI on the wire.
    let cfi = if tci & 0x1000 == 0 { ",cfi=0" } else { "" };
    format!("push_vlan({tpid}vid={},pcp={}{cfi})", tci & 0xfff, tci >> 13)
}

/// `enum ovs_hash_alg`; the second is userspace's, and in kernels since 6.7.
fn hash(algorithm: u32, basis: u32) -> String {
    match algorithm {
        0 => format!("hash(l4({basis}))"),
        1 => format!("hash(sym_l4({basis}))"),
        other => format!("hash(Unknown hash algorithm({other}))"),
    }
}

fn set(out: &mut Out, v: &[u8], form: Form<'_>) -> bool {
    let Some(key) = Attrs::new(v).only() else {
        return false;
    };
    // OVS_KEY_ATTR_TUNNEL_INFO, whose number differs: a pointer to what is not here.
    if matches!(form, Form::Memory(_)) && key.kind > nsh::KEY && key.value.len() == size_of::<u64>()
    {
        out.put("set(tunnel(…))");
        return true;
    }
    key::set(out, key.kind, key.value)
}

/// `OVS_ACTION_ATTR_SET_TO_MASKED`: how the kernel keeps a `set`, with a mask that userspace did not
/// write. Netlink shows it as the `set` that it was.
fn set_to_masked(out: &mut Out, v: &[u8], form: Form<'_>) -> bool {
    let Some(key) = Attrs::new(v).only().filter(|_| matches!(form, Form::Memory(_))) else {
        return false;
    };
    let (value, mask) = key.value.split_at(key.value.len() / 2);
    value.len() == mask.len()
        && key::is_settable(key.kind, value.len())
        && key::set(out, key.kind, value)
}

fn conntrack(out: &mut Out, v: &[u8], form: Form<'_>) -> bool {
    match form {
        Form::Netlink => ct::netlink(out, v),
        Form::Memory(Some(layout)) if ct::memory(out, v, layout) => true,
        Form::Memory(_) => {
            out.put("ct(…)");
            true
        }
    }
}

/// `OVS_SAMPLE_ATTR_PROBABILITY` and `_ACTIONS`; in memory `_ARG` (`exec`, then the probability) and
/// the actions themselves.
fn sample(out: &mut Out, v: &[u8], form: Form<'_>) -> bool {
    let mut attrs = Attrs::new(v);
    let found = match form {
        Form::Netlink => attrs.value_of(1).and_then(whole_u32).zip(attrs.value_of(2)),
        Form::Memory(_) => {
            attrs.next().and_then(|arg| u32_at(arg.value, 4)).map(|p| (p, attrs.rest()))
        }
    };
    let Some((probability, actions)) = found else {
        return false;
    };
    put!(out, "sample(sample={:.1}%,actions(", share(probability));
    list(out, actions, form);
    out.put("))");
    true
}

/// A probability as a share of 100.
fn share(probability: u32) -> f64 {
    100.0 * f64::from(probability) / f64::from(u32::MAX)
}

/// In memory the list begins with `OVS_CLONE_ATTR_EXEC`.
fn clone(out: &mut Out, v: &[u8], form: Form<'_>) {
    let mut attrs = Attrs::new(v);
    if matches!(form, Form::Memory(_)) {
        attrs.next();
    }
    out.put("clone(");
    list(out, attrs.rest(), form);
    out.put(")");
}

/// `OVS_CHECK_PKT_LEN_ATTR_*`; in memory the length is in `_ARG`, which comes first.
fn check_pkt_len(out: &mut Out, v: &[u8], form: Form<'_>) -> bool {
    let mut attrs = Attrs::new(v);
    let (greater, less) = (attrs.value_of(2), attrs.value_of(3));
    let len = match form {
        Form::Netlink => attrs.value_of(1),
        Form::Memory(_) => attrs.next().map(|arg| arg.value),
    };
    let (Some(len), Some(greater), Some(less)) = (len.and_then(|v| u16_at(v, 0)), greater, less)
    else {
        return false;
    };
    put!(out, "check_pkt_len(size={len},gt(");
    list(out, greater, form);
    out.put("),le(");
    list(out, less, form);
    out.put("))");
    true
}

fn psample(out: &mut Out, v: &[u8]) -> bool {
    let attrs = Attrs::new(v);
    let Some(group) = attrs.value_of(1).and_then(whole_u32) else {
        return false;
    };
    put!(out, "psample(group={group}");
    if let Some(cookie) = attrs.value_of(2) {
        put!(out, ",cookie={}", out::long_hex(cookie));
    }
    out.put(")");
    true
}

#[cfg(test)]
mod tests;
