//! What the kernel side could not report.

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray};
use tracer_common::abi::Counter;

use super::load::Loaded;
use crate::model::Lost;

/// The per-CPU counters, and what was already told of them.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
    told: Vec<[u64; KINDS.len()]>,
}

/// The counters that mean a loss, and the word for it in a recording.
const KINDS: [(Counter, &str); 3] = [
    (Counter::RingFull, "ring-full"),
    (Counter::Unreadable, "unreadable"),
    (Counter::IdentityFull, "identity-full"),
];

impl Counters {
    /// Takes the counters out of the loaded object; they outlive the programs.
    pub fn take(loaded: &mut Loaded) -> anyhow::Result<Self> {
        let map = loaded.ebpf.take_map("COUNTS").context("no map COUNTS inside")?;
        Ok(Self { map: PerCpuArray::try_from(map)?, told: Vec::new() })
    }

    /// Events written so far, over all processors.
    pub fn written(&self) -> u64 {
        self.map.get(&(Counter::Written as u32), 0).map_or(0, |v| v.iter().sum())
    }

    /// Drops that no map had room for, over all processors.
    pub fn not_held(&self) -> u64 {
        self.map.get(&(Counter::NotHeld as u32), 0).map_or(0, |v| v.iter().sum())
    }

    /// What was lost since the last call, by processor and kind. `ts`: nanoseconds since the trace
    /// began.
    pub fn lost(&mut self, ts: u64) -> anyhow::Result<Vec<Lost>> {
        let mut lost = Vec::new();
        for (kind, (counter, what)) in KINDS.iter().enumerate() {
            let values = self.map.get(&(*counter as u32), 0)?;
            self.told.resize(values.len().max(self.told.len()), [0; KINDS.len()]);
            for (cpu, (now, told)) in values.iter().zip(&mut self.told).enumerate() {
                let Some(told) = told.get_mut(kind) else {
                    continue;
                };
                let count = now.saturating_sub(*told);
                *told = *now;
                if count != 0 {
                    lost.push(Lost { cpu: cpu as u32, count, ts, what: Some((*what).to_owned()) });
                }
            }
        }
        Ok(lost)
    }
}
