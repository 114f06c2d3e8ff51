//! Reads events out of the ring buffer.

use std::os::fd::{AsRawFd, RawFd};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracer_common::codec::{Decoded, decode};

use super::load::Loaded;

/// The collector's end of the ring buffer. It outlives the programs: what they wrote can be read
/// after they are detached.
pub struct Ring {
    buffer: AsyncFd<Buffer>,
}

struct Buffer(RingBuf<MapData>);

impl AsRawFd for Buffer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Ring {
    /// Takes the ring buffer out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> anyhow::Result<Self> {
        let map = loaded.ebpf.take_map("EVENTS").context("no map EVENTS inside")?;
        let buffer = Buffer(RingBuf::try_from(map)?);
        // SAFETY: the ring owns its descriptor, and keeps it open until it is dropped, which the
        // `AsyncFd` outlives; it never hands out another.
        let buffer = unsafe { AsyncFd::register_with_interest(buffer, Interest::READABLE) }
            .map_err(std::io::Error::from)?;
        Ok(Self { buffer })
    }

    /// Waits until there may be events.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let mut guard = self.buffer.readable_mut().await?;
        guard.clear_ready();
        Ok(())
    }

    /// Hands over at most `limit` events, in the order in which they were written; returns how many.
    /// An event that cannot be decoded is logged: both sides are of one build, so there are none.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Decoded<'_>)) -> usize {
        let Buffer(ring) = self.buffer.get_mut();
        let mut n = 0;
        while n < limit {
            let Some(item) = ring.next() else { break };
            match decode(&item) {
                Ok(event) => each(event),
                Err(e) => log::error!("the ring buffer held {e}"),
            }
            n += 1;
        }
        n
    }
}
