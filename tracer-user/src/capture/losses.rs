//! What the kernel side could not report, by hook and time.

use anyhow::Context as _;
use aya::Pod;
use aya::maps::{Map, MapData, PerCpuArray};
use tracer_common::abi::{self, Blindness, Hook, LOSSES, LOST_ANY, ROUND};

use super::decode::hook_name;
use super::load::Loaded;
use super::memory::Words;
use tracer_core::record::Lost;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Slots([abi::Losses; LOSSES]);
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl Pod for Slots {}

/// The kernel's account of what was lost, and what was already told of it.
pub struct Losses {
    map: PerCpuArray<MapData, Slots>,
    /// How many there were at all, as memory: looking costs no system call and no privilege.
    words: Words,
    seen: u64,
    /// By processor and slot: how many were told of, and until when.
    told: Vec<[(u64, u64); LOSSES]>,
    start: u64,
}

/// The word for it in a recording.
fn word(blindness: Blindness) -> &'static str {
    match blindness {
        Blindness::RingFull => "ring-full",
        Blindness::Unreadable => "unreadable",
        Blindness::MapFull => "identity-full",
    }
}

impl Losses {
    /// Takes the account out of the loaded object; it outlives the programs. `start`: `CLOCK_MONOTONIC`
    /// of the beginning, nanoseconds.
    pub fn take(loaded: &mut Loaded, start: u64) -> anyhow::Result<Self> {
        let map = loaded.ebpf.take_map("LOSSES").context("no map LOSSES inside")?;
        let words = loaded.ebpf.take_map("LOST").context("no map LOST inside")?;
        let Map::Array(words) = words else { anyhow::bail!("the map LOST is no array") };
        let words = Words::map(words, 2).context("cannot map what was lost")?;
        Ok(Self { map: PerCpuArray::try_from(map)?, words, seen: 0, told: Vec::new(), start })
    }

    /// Whether anything was lost of which [`Losses::lost`] has not told.
    pub fn are_new(&self) -> bool {
        self.words.load(LOST_ANY as usize) != self.seen
    }

    /// What was lost since the last call, by processor, hook and kind. `ts`: now, nanoseconds since the
    /// trace began.
    pub fn lost(&mut self, ts: u64) -> anyhow::Result<Vec<Lost>> {
        if !self.are_new() {
            return Ok(Vec::new());
        }
        // First: what is lost from now on makes it differ.
        self.seen = self.words.load(LOST_ANY as usize);
        self.words.store(ROUND as usize, self.words.load(ROUND as usize).wrapping_add(1));
        let slots = self.map.get(&0, 0)?;
        self.told.resize(slots.len().max(self.told.len()), [(0, 0); LOSSES]);
        let mut lost = Vec::new();
        for ((cpu, Slots(slots)), told) in slots.iter().enumerate().zip(&mut self.told) {
            for blindness in Blindness::ALL {
                for hook in 0..=u8::MAX {
                    let known = Hook::from_number(hook);
                    if hook != 0 && known.is_none() {
                        break;
                    }
                    let slot = blindness.slot(hook.into());
                    let (now, told) = (slots[slot], &mut told[slot]);
                    let count = now.count.saturating_sub(told.0);
                    if count == 0 {
                        continue;
                    }
                    // What of this round was told of already came before.
                    let since = now.since.max(told.1.saturating_add(1)).min(now.until);
                    *told = (now.count, now.until);
                    let until = now.until.saturating_sub(self.start);
                    lost.push(Lost {
                        cpu: cpu as u32,
                        count,
                        what: Some(word(blindness).to_owned()),
                        hook: known.map(hook_name),
                        since: Some(since.saturating_sub(self.start)),
                        until: Some(until),
                        // More may have been lost since the caller looked at the clock.
                        ..Lost::at(ts.max(until))
                    });
                }
            }
        }
        Ok(lost)
    }
}
