//! How long a command may still take that was told to end.
//!
//! A signal is waited for where a command waits, and that is not everywhere: it may be reading what the
//! kernel has counted, or writing to a pipe that nobody reads. So it is noted as it comes, and whatever
//! takes its time looks here.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// From the signal to the exit, with a reserve for detaching.
const LIMIT: Duration = Duration::from_millis(900);
/// How often a wait looks whether a signal has come.
const LOOK: Duration = Duration::from_millis(20);

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static SINCE: OnceLock<Instant> = OnceLock::new();

/// Notes this signal from here on.
///
/// # Errors
/// It cannot be caught.
pub fn on_signal(signal: i32) -> io::Result<()> {
    signal_hook::flag::register(signal, Arc::clone(&ASKED)).map(|_| ())
}

/// Whether a signal has told this process to end.
pub fn is_on() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// How much time there is left; `None` where no signal has come.
pub fn left() -> Option<Duration> {
    is_on().then(|| LIMIT.saturating_sub(SINCE.get_or_init(Instant::now).elapsed()))
}

/// Whether there is less time left than this.
pub fn leaves_less_than(reserve: Duration) -> bool {
    left().is_some_and(|left| left < reserve)
}

/// Waits until there is less time left than this.
pub async fn wait_for_less_than(reserve: Duration) {
    while !leaves_less_than(reserve) {
        tokio::time::sleep(LOOK).await;
    }
}
