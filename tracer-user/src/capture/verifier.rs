//! How many programs the kernel's verifier looks through at once.
//!
//! While it does it holds on to what it has found out, megabytes for a program, which the kernel charges to
//! the memory cgroup of whoever loads it. All programs at once are the most that a start takes.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use crate::cgroup;

/// Where memory is short one program is looked through after the other, bytes.
const SHORT: u64 = 128 << 20;
/// More do not make a start shorter: the largest program takes a good part of it.
const MOST: usize = 4;

static FREE: LazyLock<(Mutex<usize>, Condvar)> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (Mutex::new(if is_memory_short() { 1 } else { processors.min(MOST) }), Condvar::new())
});

/// Whether one thing has to be done after the other at the start, because there is no memory for both.
pub fn is_memory_short() -> bool {
    cgroup::memory_limit().is_some_and(|limit| limit < SHORT)
}

/// Leave to have a program looked through.
pub struct Turn(());

/// Waits for it.
pub fn turn() -> Turn {
    let (free, given_back) = &*FREE;
    let free = free.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free =
        given_back.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
    *free -= 1;
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (free, given_back) = &*FREE;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        given_back.notify_one();
    }
}
