//! Where the parsers get a packet's bytes from.

/// Where packet bytes come from: kernel memory on one side, a slice on the other.
pub trait Source {
    /// The `N` bytes at offset `at`, or `None` when they are not all there.
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]>;

    /// `N` words at offset `at`, each as it is in memory. May be `None` for bytes that `read` would get:
    /// whatever is decided without them has to be decided with it.
    #[inline(always)]
    fn words<const N: usize>(&self, at: u32) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (word, at) in words.iter_mut().zip((at..).step_by(4)) {
            *word = u32::from_ne_bytes(self.read(at)?);
        }
        Some(words)
    }

    /// The same number. The kernel side overrides it with one of which the verifier knows nothing:
    /// where many paths through the parser meet, what it knows differently on each would make it walk
    /// the rest of the program once for every path, which is most of what a start takes.
    #[inline(always)]
    fn opaque(&self, n: u64) -> u64 {
        n
    }

    /// As [`Source::opaque`], for a truth: its lowest bit, since a comparison would be two ways again.
    #[inline(always)]
    fn opaque_bool(&self, b: bool) -> bool {
        self.opaque(b.into()) & 1 != 0
    }
}

/// A packet in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Source for Bytes<'_> {
    #[inline]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let at = at as usize;
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}
