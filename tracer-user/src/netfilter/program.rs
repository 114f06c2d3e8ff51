//! The node's own programs that lasthop runs: `nft`, `iptables-save`, `ip`, `bridge`.
//!
//! - Found in directories of root's, never by `$PATH`, and run only where nobody but root can have
//!   changed them.
//! - Started with two variables in the environment, no descriptor but its pipes, a session of its own, no
//!   capability that it does not need, and no way to others (`PR_SET_NO_NEW_PRIVS`).
//! - Read within limits of time and bytes. What a program leaves running ends with it: it is the first
//!   process of a PID namespace, and the kernel kills all others of that when the first has gone
//!   (`pid_namespaces(7)`), whatever session they have made for themselves. Making one takes
//!   `CAP_SYS_ADMIN`; without, its process group is killed, in which nothing has more rights
//!   than whoever runs lasthop.

use std::fs;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use caps::Capability;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::privileges;
use crate::topology::{Netns, enter};

/// Where programs are looked for, in this order. The fifth is NixOS's; what an administrator has
/// built is in the last two, which count only where no group may write to them.
const DIRECTORIES: [&str; 7] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/run/current-system/sw/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];
/// `PATH` of the programs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Address space of a program, bytes: `nft` holds the whole answer before it prints it (see README).
const SPACE: u64 = 2 << 30;
/// How long nothing may be read before it is looked at what else has happened, milliseconds.
const LOOK_MS: u16 = 10;
/// Of what a program says on stderr so much is kept, bytes.
const SAID: usize = 2048;
/// How long the end of a killed program is waited for: one in an uninterruptible sleep goes later.
const REAP: Duration = Duration::from_millis(100);

/// What a program may do beyond what everybody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// `CAP_NET_ADMIN` in its namespace: the kernel shows rules to no one else.
    Rules,
    /// `CAP_NET_RAW` too: iptables' older tables are asked for on a raw socket (`iptc_init`).
    LegacyRules,
}

/// Ends whatever is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Halt(Arc<AtomicBool>);

impl Halt {
    /// What is read is given up.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much a program may take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// When it is killed.
    pub until: Instant,
    /// How much it may print.
    pub bytes: u64,
    /// Kills it, too.
    pub halt: Halt,
}

/// Runs a program inside a namespace and has its output read.
///
/// # Errors
/// It is not there or not to be trusted, fails, or takes more than it may; or `read`'s. Each begins with the
/// program's name.
pub(super) fn run<T: Send>(
    netns: &Netns,
    (name, arguments): (&str, &[&str]),
    needs: Needs,
    limits: &Limits,
    read: impl FnOnce(&mut BufReader<Output>) -> io::Result<T> + Send,
) -> io::Result<T> {
    let about = |e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
    let path = find(name).map_err(about)?;
    // On a thread that ends with it: what is given up here is not wanted back.
    let run = || -> io::Result<T> {
        confine(needs)?;
        let mut output = BufReader::with_capacity(1 << 16, start(&path, name, arguments, limits)?);
        match read(&mut output) {
            Ok(result) => output.into_inner().end().map(|()| result),
            // Of what failed there is no answer to understand.
            Err(e) => Err(output.into_inner().failure().unwrap_or(e)),
        }
    };
    enter(netns, run)?.map_err(about)
}

/// A program's file.
fn find(name: &str) -> io::Result<PathBuf> {
    let mut refused = None;
    for directory in DIRECTORIES {
        let Ok(path) = fs::canonicalize(Path::new(directory).join(name)) else { continue };
        let sound = fs::canonicalize(directory)
            .and_then(|directory| directory.ancestors().try_for_each(check))
            .and_then(|()| check_file(&path));
        match sound {
            Ok(()) => return Ok(path),
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    Err(refused.map_or_else(
        || {
            let places = DIRECTORIES.join(" ");
            let why = format!("it is not installed (it is in none of {places})");
            io::Error::new(io::ErrorKind::NotFound, why)
        },
        |why| io::Error::new(io::ErrorKind::PermissionDenied, format!("it is not run: {why}")),
    ))
}

fn check_file(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other(format!("{} is no regular file", path.display())));
    }
    path.ancestors().try_for_each(check)
}

/// Nobody but root can change it. Where a directory is sticky, nobody can replace what root has
/// put there.
fn check(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let (group_and_others, sticky) = (0o022, 0o1000);
    let is_open = found.mode() & group_and_others != 0;
    let is_kept = found.is_dir() && found.mode() & sticky != 0;
    if found.uid() == 0 && (!is_open || is_kept) {
        return Ok(());
    }
    Err(io::Error::other(format!("others than root can change {}", path.display())))
}

/// Takes from the calling thread, for good, what the program that it starts is not to have.
fn confine(needs: Needs) -> io::Result<()> {
    // Without the privilege to, or where a sandbox forbids it, the process group has to do.
    if let Err(e) = unshare(CloneFlags::CLONE_NEWPID) {
        log::debug!("no PID namespace for programs: {e}");
    }
    let kept: &[Capability] = match needs {
        Needs::Nothing => &[],
        Needs::Rules => &[Capability::CAP_NET_ADMIN],
        Needs::LegacyRules => &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW],
    };
    privileges::hand_down(kept).map_err(|e| io::Error::other(format!("{e:#}")))
}

fn start(path: &Path, name: &str, arguments: &[&str], limits: &Limits) -> io::Result<Output> {
    let mut command = Command::new(path);
    command.arg0(name).args(arguments).current_dir("/");
    command.env_clear().env("LC_ALL", "C").env("PATH", PATH);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: `alone` makes system calls and nothing else: it takes no lock and allocates nothing.
    unsafe { command.pre_exec(alone) };
    let mut child = command.spawn()?;
    // Of all that is here it is what a node without memory should lose first.
    let _ = fs::write(format!("/proc/{}/oom_score_adj", child.id()), "1000");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = Vec::new();
    Ok(Output { child, stdout, stderr, said, limits: limits.clone(), exited: false })
}

/// Done by the program's process before it is the program's.
fn alone() -> io::Result<()> {
    nix::unistd::setsid()?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    setrlimit(Resource::RLIMIT_AS, SPACE, SPACE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    close_others();
    Ok(())
}

/// Lets all descriptors but the first three go with the exec: those that lasthop's caller left open, too.
fn close_others() {
    const FIRST: libc::c_int = 3;
    const MANY: libc::c_int = 65_536;
    // SAFETY: it marks this process's own descriptors; the table is no other process's.
    let marked = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if marked == 0 {
        return;
    }
    // Linux 5.10 has no such flag.
    for fd in FIRST..MANY {
        // SAFETY: as above; one that is not open is refused.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// What a program prints. It is killed when this is dropped.
pub(super) struct Output {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
    limits: Limits,
    exited: bool,
}

impl Read for Output {
    /// Ends with the pipe, or with the program whoever else holds the pipe.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.limits.halt.is_set() {
                return Err(io::Error::other("the trace ended before it had answered"));
            }
            let left = self.limits.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            let (printed, complained) = self.wait()?;
            if complained {
                self.listen()?;
            }
            if printed && let Some(stdout) = &mut self.stdout {
                let n = stdout.read(buffer)?;
                self.limits.bytes = self
                    .limits
                    .bytes
                    .checked_sub(n as u64)
                    .ok_or_else(|| io::Error::other("its answer is too long"))?;
                if n == 0 {
                    self.stdout = None;
                }
                return Ok(n);
            }
            if self.stdout.is_none() || (self.exited && !complained) {
                return Ok(0);
            }
            self.exited = self.exited || self.child.try_wait()?.is_some();
        }
    }
}

impl Output {
    /// Waits a little; whether there is something on either pipe.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let pipes = [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
        let mut polled: Vec<_> =
            pipes.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let patience = if self.exited { 0 } else { LOOK_MS };
        match poll(&mut polled, patience) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut ready = polled.iter().map(|fd| fd.any().unwrap_or(false));
        let mut of = |open: bool| open && ready.next().unwrap_or(false);
        Ok((of(self.stdout.is_some()), of(self.stderr.is_some())))
    }

    /// Takes in what it says on stderr.
    fn listen(&mut self) -> io::Result<()> {
        let Some(stderr) = &mut self.stderr else { return Ok(()) };
        let mut chunk = [0; 4096];
        let n = stderr.read(&mut chunk)?;
        if n == 0 {
            self.stderr = None;
        }
        let room = SAID.saturating_sub(self.said.len());
        self.said.extend_from_slice(chunk.get(..n.min(room)).unwrap_or_default());
        Ok(())
    }

    /// Reads to its end, which is to be a good one.
    fn end(mut self) -> io::Result<()> {
        let mut rest = [0; 4096];
        while self.read(&mut rest)? != 0 {}
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            // It closed its output, and goes on.
            if self.limits.halt.is_set() || Instant::now() >= self.limits.until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in time"));
            }
            if self.wait()?.1 {
                self.listen()?;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        self.exited = true;
        while self.wait()?.1 {
            self.listen()?;
        }
        if status.success() { Ok(()) } else { Err(self.words(status)) }
    }

    /// Why it failed; `None` where it has not, or goes on.
    fn failure(mut self) -> Option<io::Error> {
        const LOOKS: u32 = 5;
        for _ in 0..LOOKS {
            // The first wait that finds something on stderr ends with it.
            if self.wait().ok()?.1 {
                self.listen().ok()?;
            }
            let Some(status) = self.child.try_wait().ok()? else { continue };
            self.exited = true;
            while self.stderr.is_some() && self.wait().ok()?.1 {
                self.listen().ok()?;
            }
            return (!status.success()).then(|| self.words(status));
        }
        None
    }

    /// How it failed: by its own words, where there are any.
    fn words(&self, status: ExitStatus) -> io::Error {
        let said = String::from_utf8_lossy(&self.said);
        let first = said.lines().map(str::trim).find(|line| !line.is_empty());
        io::Error::other(match first {
            Some(line) => format!("{line} ({status})"),
            None => format!("it ended with {status}"),
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // The group's number is its own as long as one of it lives, the first one's until it is reaped.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let until = Instant::now() + REAP;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests;
