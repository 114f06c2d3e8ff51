//! How a command begins that watches the node.

use std::ffi::OsString;

use super::child::{self, Prepared};
use crate::preflight;
use crate::privileges::{self, Duty, Hands};

/// Runs `command` where it may do what it needs, on a runtime of this thread; beside it are the
/// threads that keep privileges when this one gives up its own, and the process that is to run CMD.
///
/// # Errors
/// One line: what could not be done, and what to do.
pub fn run(
    duty: Duty,
    cmd: &[OsString],
    command: impl AsyncFnOnce(&Hands, Option<Prepared>) -> anyhow::Result<u8>,
) -> anyhow::Result<u8> {
    preflight::check()?;
    // Before there are other threads, of which it would have the locks; and while there are all
    // privileges, for CMD.
    let child = child::prepare(cmd)?;
    // Before there are other threads, which would have what this one has.
    privileges::narrow()?;
    // Outside of the runtime, in which another must not be dropped.
    let hands = Hands::new(duty)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command(&hands, child))
}
