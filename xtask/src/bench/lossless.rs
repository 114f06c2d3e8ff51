//! The most events a second that reach the collector without a loss.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::rows::{self, Row};
use super::{flood, lab};

/// How long each attempt is.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How many attempts: each halves what is not known yet.
const ATTEMPTS: u32 = 7;

/// What was found.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Lossless {
    /// Events a second, all of which arrived.
    pub events_per_second: f64,
    /// Packets a second that they were of.
    pub packets_per_second: f64,
    /// The lowest rate tried, packets a second, at which events were lost; none where even the
    /// fastest flood lost none.
    pub lost_at: Option<f64>,
}

/// Looks for it: floods at rates between nothing and `most` packets a second, and one as fast as it
/// goes, every packet matching.
pub(super) fn find(binary: &Path, most: f64) -> Result<Lossless> {
    let mut best = Lossless::default();
    let (mut low, mut high) = (0.0, most);
    for attempt in 0..ATTEMPTS {
        let rate = if attempt == 0 { None } else { Some(f64::midpoint(low, high)) };
        let tracer = rows::lasthop(binary, Row::All, &[lab::A, lab::B], true)?;
        let flood = flood::run_paced(ATTEMPT, rate)?;
        let count = tracer.stop()?.count.context("nothing was counted")?;
        let reached = flood.rate();
        if count.lost == 0 {
            low = reached;
            if reached > best.packets_per_second {
                best.packets_per_second = reached;
                best.events_per_second = count.hops as f64 / flood.seconds;
            }
            if rate.is_none() {
                break;
            }
        } else {
            high = high.min(rate.unwrap_or(reached));
            best.lost_at = Some(best.lost_at.map_or(reached, |at: f64| at.min(reached)));
        }
    }
    Ok(best)
}
