//! Everyday drops as one row, so that a quiet node prints nearly nothing.

use tracer_common::drops::DropCount;

use crate::drops::ledger::{Counted, Ledger};
use crate::drops::tally::add;
use crate::record::Drops;

/// Drops of everyday life, which one row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    lines: u64,
    count: DropCount,
}

impl Folded {
    /// Takes all that is everyday life out of `lines`; the others keep their order.
    pub fn take(lines: &mut Vec<Counted>, ledger: &Ledger) -> Self {
        let mut folded = Self::default();
        lines.retain(|(line, count)| {
            let everyday = ledger.is_everyday(line);
            if everyday {
                folded.lines += 1;
                add(&mut folded.count, *count);
            }
            !everyday
        });
        folded
    }

    /// How many drops.
    pub const fn drops(&self) -> u64 {
        self.count.packets
    }

    /// The row that stands for them, if there are any.
    pub fn row(&self) -> Option<Drops> {
        (self.lines != 0).then(|| Drops {
            count: self.count.packets,
            bytes: self.count.bytes,
            everyday: Some("everyday drops of several kinds; --all shows them".to_owned()),
            folded: Some(self.lines),
            ..Drops::default()
        })
    }
}
