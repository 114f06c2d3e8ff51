//! Many hooks attached or detached in a short time.
//!
//! The kernel waits for one RCU grace period for each (`kernel/bpf/tcx.c`, `tcx_entry_sync`), and
//! holds the rtnl lock meanwhile: some 15 ms each, in which nobody on the node can change a device
//! or an address. Fifty ports would take over a second, a thousand half a minute. With
//! `/sys/kernel/rcu_expedited` set the kernel interrupts the busy processors instead of waiting for
//! them, as it does for other work under that lock (`synchronize_net`), and is done in well under a
//! millisecond each. The switch is the whole node's, so it is on for these moments only. A node that is
//! set to `rcu_normal`, as real-time ones are, takes no notice of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, read, setsid, write};

const SWITCH: &str = "/sys/kernel/rcu_expedited";

/// Fewer hooks than this are not worth it.
const MANY: usize = 8;

/// The switch is on while this lives.
pub struct Expedited {
    /// Closed to have it switched off.
    hold: Option<PipeWriter>,
    keeper: Pid,
}

impl Expedited {
    /// For so many `hooks`; `None` where they are few, or the switch is not to be had (no root, a
    /// read-only `/sys`) or on already.
    pub fn for_hooks(hooks: usize) -> Option<Self> {
        let is_off = || fs::read_to_string(SWITCH).is_ok_and(|value| value.trim() == "0");
        if hooks < MANY || !is_off() {
            return None;
        }
        let attempt = OpenOptions::new().write(true).open(SWITCH).and_then(Self::switch_on);
        attempt.inspect_err(|e| log::debug!("{SWITCH}: {e}")).ok()
    }

    /// A process of its own switches it off again, however this one ends.
    fn switch_on(mut switch: File) -> io::Result<Self> {
        let (ended, hold) = io::pipe()?;
        // SAFETY: until it exits, the child only makes system calls, on descriptors that are open,
        // and allocates nothing: other threads' locks are of no concern to it.
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop(hold);
                keep(ended.as_fd(), switch.as_fd())
            }
            ForkResult::Parent { child } => {
                let expedited = Self { hold: Some(hold), keeper: child };
                switch.write_all(b"1\n")?;
                Ok(expedited)
            }
        }
    }
}

impl Drop for Expedited {
    fn drop(&mut self) {
        self.hold.take();
        // That somebody else has waited for it is as well.
        let _ = waitpid(self.keeper, None);
    }
}

/// Waits for the other end of `ended` to be closed.
fn keep(ended: BorrowedFd<'_>, switch: BorrowedFd<'_>) -> ! {
    // What ends the tracer's process group must not end this.
    let _ = setsid();
    while read(ended, &mut [0]).is_err() {}
    let _ = write(switch, b"0\n");
    // SAFETY: it ends the process, without running what the parent wants to be run at its end.
    unsafe { libc::_exit(0) }
}
