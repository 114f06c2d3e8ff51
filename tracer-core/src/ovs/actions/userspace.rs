//! The `userspace` action: what `ovs-vswitchd` is told along with the packet.

use super::attrs::{Attrs, be16_at, bytes_at, u16_at, u32_at, whole_u32};
use super::out::{Out, flags, hash_hex, put};

/// `OVS_USERSPACE_ATTR_*`.
const PID: u16 = 1;
const USERDATA: u16 = 2;
const TUNNEL_PORT: u16 = 3;
const ACTIONS: u16 = 4;

/// Size of OVS's `struct user_action_cookie` (`lib/odp-util.h`); what has another is not read.
const COOKIE: usize = 48;

/// `SLOW_*` of OVS's `lib/odp-util.h`.
const SLOW: &[(u32, &str)] = &[
    (0x01, "cfm"),
    (0x02, "bfd"),
    (0x04, "lacp"),
    (0x08, "stp"),
    (0x10, "lldp"),
    (0x20, "action"),
    (0x40, "match"),
];

/// `userspace(…)`; `false` where it cannot be read.
pub fn write(out: &mut Out, value: &[u8]) -> bool {
    let attrs = Attrs::new(value);
    let Some(pid) = attrs.value_of(PID).and_then(whole_u32) else {
        return false;
    };
    put!(out, "userspace(pid={pid}");
    if let Some(data) = attrs.value_of(USERDATA) {
        match cookie(data) {
            Some(cookie) => put!(out, ",{cookie}"),
            None => userdata(out, data),
        }
    }
    if attrs.value_of(ACTIONS).is_some() {
        out.put(",actions");
    }
    if let Some(port) = attrs.value_of(TUNNEL_PORT).and_then(whole_u32) {
        put!(out, ",tunnel_out_port={port}");
    }
    out.put(")");
    true
}

fn userdata(out: &mut Out, data: &[u8]) {
    out.put(",userdata(");
    out.hex(data);
    out.put(")");
}

/// What `ovs-vswitchd` wrote for itself: a type, then what the type needs, from byte 24 on.
fn cookie(data: &[u8]) -> Option<String> {
    if data.len() != COOKIE {
        return None;
    }
    let number = |at| u32_at(data, at);
    Some(match u16_at(data, 0)? {
        1 => {
            let tci = be16_at(data, 24)?;
            let output = number(28)?;
            format!("sFlow(vid={},pcp={},output={output})", tci & 0xfff, tci >> 13)
        }
        2 => format!("slow_path({})", flags(number(28)?, SLOW, ",")),
        3 => {
            let side = match number(44)? {
                1 => ",ingress",
                2 => ",egress",
                _ => "",
            };
            format!(
                "flow_sample(probability={},collector_set_id={},obs_domain_id={},obs_point_id={},\
                 output_port={}{side})",
                u16_at(data, 24)?,
                number(28)?,
                number(32)?,
                number(36)?,
                number(40)?
            )
        }
        4 => format!("ipfix(output_port={})", number(24)?),
        5 => {
            let [dont_send, continuation] = bytes_at(data, 24)?;
            format!(
                "controller(reason={},dont_send={},continuation={},recirc_id={},rule_cookie={},\
                 controller_id={},max_len={})",
                u16_at(data, 26)?,
                u8::from(dont_send != 0),
                u8::from(continuation != 0),
                number(28)?,
                hash_hex(u64::from_be_bytes(bytes_at(data, 32)?)),
                u16_at(data, 40)?,
                u16_at(data, 42)?
            )
        }
        _ => return None,
    })
}
