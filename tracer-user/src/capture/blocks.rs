//! Hooks on blocks of filters that several devices share: one for all of them, as each packet of each
//! device passes it.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;

use aya::programs::tc::TcError;

use super::clsact::{self, Classifier};

/// A block: the inode of its namespace, and its index there.
type Key = (u32, u32);

/// The blocks that have a hook.
#[derive(Debug, Default)]
pub struct Blocks {
    hooked: HashMap<Key, Block>,
}

#[derive(Debug)]
struct Block {
    classifier: Classifier,
    /// How many ports are seen by it.
    ports: usize,
}

impl Blocks {
    /// One more port is to be seen by the block. Must be called in its namespace.
    ///
    /// # Errors
    /// Netlink refuses the hook.
    pub fn join(&mut self, key: Key, program: BorrowedFd<'_>, name: &str) -> Result<(), TcError> {
        if let Some(block) = self.hooked.get_mut(&key) {
            block.ports += 1;
            return Ok(());
        }
        let classifier =
            clsact::attach_to_block_here(key.1, program, name).map_err(TcError::IoError)?;
        self.hooked.insert(key, Block { classifier, ports: 1 });
        Ok(())
    }

    /// The namespace has gone, and its blocks with it: another may get its inode.
    pub fn forget_netns(&mut self, inode: u32) {
        self.hooked.retain(|(netns, _), _| *netns != inode);
    }

    /// One port less is seen by it; with the last the hook goes. Must be called in its namespace.
    ///
    /// # Errors
    /// Netlink refuses: mostly because the block has gone with its devices.
    pub fn leave(&mut self, key: Key) -> io::Result<()> {
        let Some(block) = self.hooked.get_mut(&key) else { return Ok(()) };
        block.ports = block.ports.saturating_sub(1);
        if block.ports > 0 {
            return Ok(());
        }
        let removed = self.hooked.remove(&key);
        removed.map_or(Ok(()), |block| clsact::remove_here(&block.classifier))
    }
}
