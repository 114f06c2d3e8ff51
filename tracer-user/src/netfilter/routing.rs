//! Asks a namespace about the destination of a packet that it did not send on.

use std::io::{self, Read};
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::program::{Limits, Needs, run};
use crate::topology;
use tracer_core::reconstruct::asked::{Lack, lacks};
use tracer_core::record::{Dev, Eth, Hop, Netns, Routing};
use tracer_core::tame::{Each, json};

/// What the namespace says. `now`: nanoseconds since the trace began. `None` where the hop shows
/// nothing to ask about.
pub fn seek(
    netns: &topology::Netns,
    name: Netns,
    hop: &Hop,
    now: u64,
    limits: &Limits,
) -> Option<Routing> {
    let (lack, dev, dst) = (lacks(hop)?, hop.dev.as_deref()?, hop.tuple?.dst);
    let mut record = Routing {
        ts: now,
        netns: name,
        dev: dev.name.clone(),
        dst,
        forwarding: None,
        holder: None,
        state: None,
        out: None,
        far_end: None,
        failed: None,
    };
    let programs = Programs { netns, limits };
    let asked = match lack {
        Lack::Host => programs.ask_host(&mut record),
        Lack::FarEnd => programs.far_end(dev, hop.eth).map(|far_end| record.far_end = far_end),
    };
    if let Err(e) = asked {
        record.failed = Some(e.to_string());
    }
    Some(record)
}

/// The programs that know, in one namespace.
struct Programs<'a> {
    netns: &'a topology::Netns,
    limits: &'a Limits,
}

impl Programs<'_> {
    /// What one prints, as text.
    fn output(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        let mut text = String::new();
        run(self.netns, (program, arguments), Needs::Nothing, self.limits, |out| {
            out.read_to_string(&mut text)
        })?;
        Ok(text)
    }

    fn ask_host(&self, record: &mut Routing) -> io::Result<()> {
        let place = match record.dst {
            IpAddr::V4(_) => format!("ipv4/conf/{}", record.dev),
            IpAddr::V6(_) => "ipv6/conf/all".to_owned(),
        };
        let path = format!("/proc/sys/net/{place}/forwarding");
        let forwarding = topology::enter(self.netns, || std::fs::read_to_string(path))??;
        record.forwarding = Some(forwarding.trim() != "0");
        let dst = record.dst.to_string();
        let addresses = self.output("ip", &["-j", "addr", "show", "to", &dst])?;
        (record.holder, record.state) = holder(&addresses).unzip();
        record.state = record.state.take().filter(|state| !state.is_empty());
        // There may be none: then the command fails.
        let way = self.output("ip", &["-j", "route", "get", &dst]).unwrap_or_default();
        record.out = text(&parsed(&way), "/0/dev");
        Ok(())
    }

    /// The other end for a frame: that of its forwarding entry (VXLAN), or the device's own.
    fn far_end(&self, dev: &Dev, eth: Option<Eth>) -> io::Result<Option<IpAddr>> {
        if dev.kind.as_deref() == Some("vxlan") {
            let entries = ("bridge", &["-j", "fdb", "show", "dev", &dev.name][..]);
            // Of a hundred thousand entries one is wanted.
            let limits = Limits { bytes: MAX_ENTRIES, ..self.limits.clone() };
            let found = run(self.netns, entries, Needs::Nothing, &limits, |out| entry(out, eth))?;
            if let Some(found) = found {
                return Ok(Some(found));
            }
        }
        let link = self.output("ip", &["-j", "-d", "link", "show", "dev", &dev.name])?;
        Ok(remote(&link))
    }
}

/// How much a listing of forwarding entries may have, bytes. It is not held.
const MAX_ENTRIES: u64 = 64 << 20;

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// Which device has the address, and why it is not used (empty: nothing against it), from
/// `ip -j addr show to ADDR`.
pub(super) fn holder(addresses: &str) -> Option<(String, String)> {
    let addresses = parsed(addresses);
    addresses.as_array()?.iter().find_map(|link| {
        let address = link.pointer("/addr_info/0")?;
        let is = |state: &&str| address.get(state).and_then(Value::as_bool) == Some(true);
        let state = ["dadfailed", "tentative"].into_iter().find(is).unwrap_or_default();
        Some((text(link, "/ifname")?, state.to_owned()))
    })
}

/// A forwarding entry.
#[derive(Deserialize)]
struct Entry {
    mac: Option<String>,
    dst: Option<String>,
}

/// `vxlan_find_mac`, and for what nobody has the entry of zeros (`vxlan_xmit`).
pub(super) fn entry(entries: impl io::BufRead, eth: Option<Eth>) -> io::Result<Option<IpAddr>> {
    let wanted = eth.map(|eth| eth.dst.to_string());
    let (mut own, mut of_all) = (None, None);
    let take = |entry: Entry| {
        let addr = entry.dst.and_then(|dst| dst.parse().ok());
        if entry.mac.is_some() && entry.mac == wanted {
            own = own.or(addr);
        } else if entry.mac.as_deref() == Some("00:00:00:00:00:00") {
            of_all = of_all.or(addr);
        }
    };
    json(entries, Each::new(take))?;
    Ok(own.or(of_all))
}

/// From `ip -j -d link show`.
pub(super) fn remote(link: &str) -> Option<IpAddr> {
    let link = parsed(link);
    let data = link.pointer("/0/linkinfo/info_data")?;
    let named = ["remote", "remote6"].iter().find_map(|key| data.get(key)?.as_str());
    named?.parse().ok().filter(|addr: &IpAddr| !addr.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::record::Mac;

    /// As iproute2 6.1 prints it: what has no such address is an empty object.
    #[test]
    fn an_address_is_found_with_what_is_against_it() {
        let list = |info: &str| {
            format!(r#"[{{}},{{"ifname":"eth0","addr_info":[{{"local":"fd05:1::3"{info}}}]}}]"#)
        };
        for (json, found) in [
            (list(""), Some(("eth0", ""))),
            (list(r#","tentative":true"#), Some(("eth0", "tentative"))),
            (list(r#","dadfailed":true,"tentative":true"#), Some(("eth0", "dadfailed"))),
            ("[{},{}]".to_owned(), None),
            ("[]".to_owned(), None),
            (String::new(), None),
        ] {
            let own = found.map(|(dev, state)| (dev.to_owned(), state.to_owned()));
            assert_eq!(holder(&json), own, "{json}");
        }
    }

    #[test]
    fn the_other_end_is_that_of_the_frames_entry() {
        let entries = r#"[{"mac":"02:00:00:00:00:09","dst":"172.16.9.9","flags":["self"]},
            {"mac":"33:33:00:00:00:01","flags":["self"]},
            {"mac":"00:00:00:00:00:00","dst":"10.9.0.9","flags":["self"]}]"#;
        let to = |last| Some(Eth { src: Mac([0; 6]), dst: Mac([2, 0, 0, 0, 0, last]) });
        let addr = |text: &str| text.parse::<IpAddr>().ok();
        let entry = |entries: &str, eth| entry(entries.as_bytes(), eth).unwrap();
        assert_eq!(entry(entries, to(9)), addr("172.16.9.9"));
        assert_eq!(entry(entries, to(8)), addr("10.9.0.9"));
        assert_eq!(entry(entries, None), addr("10.9.0.9"));
        assert_eq!(entry("[]", to(9)), None);
        let link = |data: &str| format!(r#"[{{"linkinfo":{{"info_data":{{{data}}}}}}}]"#);
        assert_eq!(remote(&link(r#""remote":"192.0.2.9""#)), addr("192.0.2.9"));
        assert_eq!(remote(&link(r#""remote6":"fd09::9""#)), addr("fd09::9"));
        assert_eq!(remote(&link(r#""remote":"any""#)), None);
        assert_eq!(remote(""), None);
    }
}
