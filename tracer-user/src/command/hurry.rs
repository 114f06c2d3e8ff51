//! How long a command may still take that was told to end.
//!
//! A signal is waited for where a command waits, and that is not everywhere: it may be reading what the
//! kernel has counted, or writing to a pipe that nobody reads. So it is noted as it comes, and whatever
//! takes its time looks here.

use std::future::Future;
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

/// What comes of it, unless there is less time left than `reserve` before.
pub async fn unless_less_than<T>(reserve: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = tokio::time::sleep(LOOK) => if leaves_less_than(reserve) {
                return None;
            },
        }
    }
}

/// The same, of what blocks: it goes on by itself where it is not waited for any more.
pub fn blocking<T: Send + 'static>(
    reserve: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let run = move || drop(tell.send(work()));
    std::thread::Builder::new().name("last".to_owned()).spawn(run).ok()?;
    loop {
        match told.recv_timeout(LOOK) {
            Ok(done) => return Some(done),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                if leaves_less_than(reserve) {
                    return None;
                }
            }
        }
    }
}
