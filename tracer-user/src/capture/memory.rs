//! A map of the kernel programs as memory of this process.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;

/// An array map of words that was made with `BPF_F_MMAPABLE` (Linux 5.5), mapped.
pub struct Words {
    first: NonNull<AtomicU64>,
    count: usize,
    /// Programs that are loaded later know it by its descriptor.
    _map: MapData,
}

// SAFETY: the words are atomic, and the mapping belongs to no thread.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `count` words, which must fit a page.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(map: MapData, count: usize) -> io::Result<Self> {
        // SAFETY: a new mapping wherever there is room; of a descriptor that is open, whatever it is of.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { first, count, _map: map })
    }

    /// One of them.
    pub fn load(&self, n: usize) -> u64 {
        self.word(n).load(Ordering::Acquire)
    }

    /// Sets one of them.
    pub fn store(&self, n: usize, value: u64) {
        self.word(n).store(value, Ordering::Release);
    }

    fn word(&self, n: usize) -> &AtomicU64 {
        assert!(n < self.count, "a word of the map");
        // SAFETY: within the mapping, which stays as long as this does; the kernel programs only load and
        // add to such a word.
        unsafe { self.first.add(n).as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping of this one, of which nothing is borrowed any more.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.count * size_of::<u64>()) };
    }
}
