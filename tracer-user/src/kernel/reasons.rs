//! The kernel's drop reasons by number, as the running kernel numbers them.

use std::collections::BTreeMap;

use super::btf::{KernelBtf, enum_members};

/// A drop reason's name and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Without the prefix that all of its enumeration share: `NETFILTER_DROP`.
    pub name: String,
    /// `core`, `openvswitch`, …
    pub subsystem: String,
}

/// All reasons of the running kernel and its loaded modules.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    by_number: BTreeMap<u32, Reason>,
    subsystems: BTreeMap<u32, String>,
    /// Bits of a reason that number its subsystem.
    subsystem_mask: u32,
}

/// The part of a reason that numbers its subsystem (`SKB_DROP_REASON_SUBSYS_SHIFT`).
const SUBSYSTEM_SHIFT: u32 = 16;
const CORE: &str = "SKB_DROP_REASON_";
const SUBSYS: &str = "SKB_DROP_REASON_SUBSYS_";

/// Modules with reasons of their own: module, enumeration, prefix of its members.
const MODULES: [(&str, &str, &str); 3] = [
    ("openvswitch", "ovs_drop_reason", "OVS_DROP_"),
    ("mac80211", "mac80211_drop_reason", "RX_DROP_"),
    ("mac80211", "___mac80211_drop_reason", "___RX_DROP_"),
];

impl Reasons {
    /// Reads `enum skb_drop_reason`, its subsystems, and the reasons of the modules that are loaded
    /// (or built in).
    pub fn read(btf: &KernelBtf) -> Self {
        let mut reasons = Self::default();
        for (number, name) in enum_members(btf.vmlinux(), "skb_drop_reason_subsys") {
            if let Some(name) = name.strip_prefix(SUBSYS).filter(|n| *n != "NUM") {
                reasons.subsystems.insert(number, name.to_lowercase());
            }
        }
        for (number, name) in enum_members(btf.vmlinux(), "skb_drop_reason") {
            let name = name.strip_prefix(CORE).or_else(|| name.strip_prefix("SKB_"));
            match name {
                Some("SUBSYS_MASK") => reasons.subsystem_mask = number,
                Some("MAX") | None => {}
                Some(name) => reasons.add(number, name, "core"),
            }
        }
        for (module, enumeration, prefix) in MODULES {
            let own = btf.module(module);
            for (number, name) in enum_members(own.as_ref().unwrap_or(btf.vmlinux()), enumeration) {
                let Some(name) = name.strip_prefix(prefix) else {
                    continue;
                };
                if let Some(subsystem) = reasons.subsystems.get(&(number >> SUBSYSTEM_SHIFT)) {
                    let subsystem = subsystem.clone();
                    reasons.add(
                        number,
                        &format!("{}{name}", prefix.trim_start_matches('_')),
                        &subsystem,
                    );
                }
            }
        }
        reasons
    }

    fn add(&mut self, number: u32, name: &str, subsystem: &str) {
        let reason = Reason { name: name.to_owned(), subsystem: subsystem.to_owned() };
        self.by_number.entry(number).or_insert(reason);
    }

    /// Whether a subsystem has reasons of its own.
    pub fn has_subsystem(&self, subsystem: &str) -> bool {
        self.by_number.values().any(|reason| reason.subsystem == subsystem)
    }

    /// Whether this kernel gives reasons at all (5.17 and later).
    pub fn any(&self) -> bool {
        !self.by_number.is_empty()
    }

    /// The reason numbered `number`; one without a name is named by its number.
    pub fn name(&self, number: u32) -> Reason {
        self.by_number.get(&number).cloned().unwrap_or_else(|| Reason {
            name: format!("{number:#x}"),
            subsystem: self
                .subsystems
                .get(&((number & self.subsystem_mask) >> SUBSYSTEM_SHIFT))
                .cloned()
                .unwrap_or_else(|| "unknown".to_owned()),
        })
    }
}
