//! Warnings of one kind, of which there may be thousands: a node has as many devices as it likes.

/// How many are told as they come.
const TOLD: u32 = 10;

/// Tells the first few of its warnings; the rest is for those who want to know more (`-v`).
#[derive(Debug, Default)]
pub struct Few {
    told: u32,
}

impl Few {
    /// One more.
    pub fn warn(&mut self, text: &str) {
        self.told = self.told.saturating_add(1);
        match self.told {
            ..=TOLD => log::warn!("{text}"),
            n if n == TOLD + 1 => log::warn!("{text} (there are more; -v tells them all)"),
            _ => log::info!("{text}"),
        }
    }
}
