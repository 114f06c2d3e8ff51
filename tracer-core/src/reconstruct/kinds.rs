//! What packets were, as far as their numbers are told: a FIN is counted among FINs.

use crate::reconstruct::sight::Sight;

/// What a packet is, of TCP; of other protocols each is one of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens a connection.
    Syn,
    /// Accepts one.
    SynAck,
    /// Ends one at once.
    Reset,
    /// Ends one side.
    Fin,
    /// Any other.
    Rest,
}

impl Kind {
    /// Of what was seen.
    pub fn of(sight: &Sight) -> Self {
        match sight.tcp {
            Some(flags) if flags.is_syn() => Self::Syn,
            Some(flags) if flags.is_syn_ack() => Self::SynAck,
            Some(flags) if flags.is_reset() => Self::Reset,
            Some(flags) if flags.is_fin() => Self::Fin,
            _ => Self::Rest,
        }
    }
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds([u64; Kind::Rest as usize + 1]);

impl Kinds {
    /// One packet.
    pub fn one(sight: &Sight) -> Self {
        let mut kinds = Self::default();
        kinds.add(sight);
        kinds
    }

    /// How many of this kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// One more.
    pub fn add(&mut self, sight: &Sight) {
        self.0[Kind::of(sight) as usize] += 1;
    }

    /// One less.
    pub fn take(&mut self, sight: &Sight) {
        let count = &mut self.0[Kind::of(sight) as usize];
        *count = count.saturating_sub(1);
    }

    /// As many more as others.
    pub fn add_all(&mut self, others: &Self) {
        for (own, other) in self.0.iter_mut().zip(others.0) {
            *own += other;
        }
    }
}
