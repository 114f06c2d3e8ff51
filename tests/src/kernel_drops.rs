//! What the kernel itself says that it dropped: the `skb:kfree_skb` event through tracefs.
//!
//! A second witness beside the tracer under test. It tells a scenario whose fault does not happen
//! on this kernel from a tracer that does not see it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::machine;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Drops by reason and symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(pub BTreeMap<(String, String), u64>);

impl Drops {
    /// Whether any drop had this reason.
    pub fn has(&self, reason: &str) -> bool {
        self.0.keys().any(|(seen, _)| seen == reason)
    }
}

impl std::fmt::Display for Drops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (n, ((reason, symbol), count)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{count} x {reason} in {symbol}")?;
        }
        Ok(())
    }
}

/// A trace instance of its own, so that no other user of tracefs is disturbed.
pub struct Witness {
    instance: PathBuf,
}

impl Witness {
    /// Begins to listen; `None` where this machine has no tracefs.
    pub fn start() -> Option<Self> {
        let root = Path::new(TRACEFS);
        if !root.join("events").exists() {
            mount(Some("tracefs"), root, Some("tracefs"), MsFlags::empty(), None::<&str>).ok()?;
        }
        let instance = root.join("instances").join(format!("lasthop-{}", std::process::id()));
        fs::create_dir(&instance).ok()?;
        let witness = Self { instance };
        witness.set("buffer_size_kb", "4096").ok()?;
        witness.set("events/skb/kfree_skb/enable", "1").ok()?;
        Some(witness)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.instance.join(file), value).with_context(|| format!("cannot set {file}"))
    }

    /// Ends and returns what was dropped meanwhile, on the whole machine.
    pub fn finish(self) -> Result<Drops> {
        self.set("events/skb/kfree_skb/enable", "0")?;
        let trace = fs::read_to_string(self.instance.join("trace"))?;
        Ok(named(parse(&trace), &machine::drop_reasons().unwrap_or_default()))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // What cannot be removed here is an empty, disabled instance: nothing to fail for.
        let _ = fs::remove_dir(&self.instance);
    }
}

/// The tracepoint prints the reasons of modules as numbers: their names instead.
fn named(drops: Drops, names: &BTreeMap<String, u64>) -> Drops {
    let name = |reason: String| {
        let number = reason.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let known = number.and_then(|n| names.iter().find(|(_, value)| **value == n));
        known.map_or(reason, |(name, _)| name.clone())
    };
    Drops(drops.0.into_iter().map(|((reason, place), n)| ((name(reason), place), n)).collect())
}

/// `… kfree_skb: skbaddr=… location=nf_hook_slow+0x4a reason: NETFILTER_DROP`
fn parse(trace: &str) -> Drops {
    let mut drops = Drops::default();
    for line in trace.lines().filter(|line| line.contains(" kfree_skb: ")) {
        let word = |key: &str| {
            let rest = line.split_once(key)?.1;
            Some(rest.split_whitespace().next().unwrap_or("").to_owned())
        };
        let reason = word("reason: ").unwrap_or_default();
        let place = word("location=").unwrap_or_default();
        let symbol = place.split('+').next().unwrap_or("").to_owned();
        *drops.0.entry((reason, symbol)).or_default() += 1;
    }
    drops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_reason_and_symbol() {
        let trace = "# tracer: nop\n\
            peer-1 [000] ..s1. 1.0: kfree_skb: skbaddr=0 rx_sk=0 protocol=2048 location=__udp4_lib_rcv+0x5 reason: NO_SOCKET\n\
            peer-1 [000] ..s1. 1.1: kfree_skb: skbaddr=0 rx_sk=0 protocol=2048 location=__udp4_lib_rcv+0x5 reason: NO_SOCKET\n\
            peer-1 [000] ..s1. 1.2: consume_skb: skbaddr=0 location=x+0x5\n\
            peer-1 [001] ..s1. 1.3: kfree_skb: skbaddr=0 protocol=34525 location=nf_hook_slow+0x1 reason: NETFILTER_DROP\n";
        let drops = parse(trace);
        assert_eq!(
            drops.to_string(),
            "1 x NETFILTER_DROP in nf_hook_slow, 2 x NO_SOCKET in __udp4_lib_rcv"
        );
        assert!(drops.has("NO_SOCKET"));
        assert!(!drops.has("IP_INHDR"));
    }

    #[test]
    fn reasons_of_modules_have_names() {
        let trace = "x kfree_skb: location=do_execute_actions+0x5 reason: 0x30001\n\
            x kfree_skb: location=x+0x5 reason: 0x3ffff\n";
        let names = BTreeMap::from([("OVS_DROP_LAST_ACTION".to_owned(), 0x3_0001)]);
        assert_eq!(
            named(parse(trace), &names).to_string(),
            "1 x 0x3ffff in x, 1 x OVS_DROP_LAST_ACTION in do_execute_actions"
        );
    }
}
