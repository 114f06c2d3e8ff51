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
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

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
        let (mut alone, tell_alone) = io::pipe()?;
        // SAFETY: until it exits, the child only makes system calls, on descriptors that are open,
        // and allocates nothing: other threads' locks are of no concern to it.
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop(hold);
                keep(ended.as_fd(), switch.as_fd(), tell_alone.as_fd())
            }
            ForkResult::Parent { child } => {
                drop(tell_alone);
                let expedited = Self { hold: Some(hold), keeper: child };
                // Until it has let go of the links that it was born with: whoever closes the last
                // descriptor of one waits for the kernel to detach it, and that is to be this
                // process, while the switch is on.
                alone.read_exact(&mut [0])?;
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

/// Waits for the other end of `ended` to be closed. Says by `alone` when it has nothing else open.
fn keep(ended: BorrowedFd<'_>, switch: BorrowedFd<'_>, alone: BorrowedFd<'_>) -> ! {
    // What ends the tracer's process group must not end this.
    let _ = setsid();
    close_all_but([ended, switch, alone]);
    let _ = write(alone, b"a");
    while read(ended, &mut [0]).is_err() {}
    let _ = write(switch, b"0\n");
    // SAFETY: it ends the process, without running what the parent wants to be run at its end.
    unsafe { libc::_exit(0) }
}

/// Closes all descriptors of this process but these.
fn close_all_but(kept: [BorrowedFd<'_>; 3]) {
    let mut kept = kept.map(|fd| fd.as_raw_fd().cast_unsigned());
    kept.sort_unstable();
    let mut first = 0;
    for (last, next) in kept.map(|fd| (fd.checked_sub(1), fd + 1)) {
        if let Some(last) = last.filter(|last| *last >= first) {
            close_range(first, last);
        }
        first = next;
    }
    close_range(first, u32::MAX);
}

/// `close_range(2)`, Linux 5.9.
fn close_range(first: u32, last: u32) {
    // SAFETY: only called in a process that is born to wait, and that uses none of them.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}
