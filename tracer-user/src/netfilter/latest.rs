//! What was met lately, in bounded memory.

use std::collections::HashSet;
use std::hash::Hash;

/// How many are remembered at the least.
const ROOM: usize = 16_384;

/// What was met lately: at least the last [`ROOM`], at most twice as many.
#[derive(Debug)]
pub(super) struct Latest<T> {
    now: HashSet<T>,
    before: HashSet<T>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { now: HashSet::new(), before: HashSet::new() }
    }
}

impl<T: Eq + Hash> Latest<T> {
    /// Whether it was met.
    pub fn has(&self, one: &T) -> bool {
        self.now.contains(one) || self.before.contains(one)
    }

    /// Meets it; whether it is new.
    pub fn insert(&mut self, one: T) -> bool {
        if self.has(&one) {
            return false;
        }
        if self.now.len() >= ROOM {
            self.before = std::mem::take(&mut self.now);
        }
        self.now.insert(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_the_first_ones_forgotten() {
        let mut latest = Latest::default();
        let many = 3 * ROOM as u32;
        assert!((0..many).all(|n| latest.insert(n)));
        assert!((many - ROOM as u32..many).all(|n| !latest.insert(n)));
        assert!(!latest.has(&0) && latest.now.len() + latest.before.len() <= 2 * ROOM);
    }
}
