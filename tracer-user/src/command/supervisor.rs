//! The process between lasthop and CMD, to which all that CMD starts belongs.
//!
//! It is the reaper of its descendants (`PR_SET_CHILD_SUBREAPER`, prctl(2)): who is orphaned, in whatever
//! session and process group, becomes its child and not that of process 1. So it finds all of them by who
//! their parents are, and knows when the last is gone. CMD stays in lasthop's process group: a terminal's
//! Ctrl-C and Ctrl-Z reach it, and it may read from the terminal.
//!
//! It is made while lasthop has one thread and all its privileges, of which CMD is to have all.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

/// How long CMD and what it started have to clean up when they are to end.
const GRACE: Duration = Duration::from_millis(500);
/// How long those that were killed are waited for: one in the midst of a system call that cannot be
/// interrupted stays.
const KILLED: Duration = Duration::from_millis(300);
/// How often it is looked who has been started meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// What lasthop asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run CMD.
    Run,
    /// Run CMD, with its standard output to stderr.
    RunAside,
    /// End CMD and all that it started.
    End,
}

impl Order {
    /// As it is sent.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Run => b'r',
            Self::RunAside => b'a',
            Self::End => b'e',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Run, Self::RunAside, Self::End].into_iter().find(|order| order.byte() == byte)
    }
}

/// What lasthop is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// CMD runs.
    Started,
    /// CMD cannot be run: errno.
    Refused(i32),
    /// CMD has exited: its status as wait(2) has it.
    Exited(i32),
    /// All were to end, and so many are still there.
    Left(i32),
}

/// Bytes of [`News`].
pub const NEWS: usize = 5;

impl News {
    fn bytes(self) -> [u8; NEWS] {
        let (kind, number) = match self {
            Self::Started => (b's', 0),
            Self::Refused(errno) => (b'f', errno),
            Self::Exited(status) => (b'x', status),
            Self::Left(count) => (b'l', count),
        };
        let [a, b, c, d] = number.to_ne_bytes();
        [kind, a, b, c, d]
    }

    /// What was sent.
    pub fn from_bytes([kind, number @ ..]: [u8; NEWS]) -> Option<Self> {
        let number = i32::from_ne_bytes(number);
        Some(match kind {
            b's' => Self::Started,
            b'f' => Self::Refused(number),
            b'x' => Self::Exited(number),
            b'l' => Self::Left(number),
            _ => return None,
        })
    }
}

/// Makes the process, which then waits for an [`Order`]: the way to talk with it. To be called before
/// there is another thread.
///
/// # Errors
/// The kernel's.
pub fn start(command: &[OsString]) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    // SAFETY: no other thread is there that could hold a lock which the child would wait for.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(ours),
        ForkResult::Child => {
            drop(ours);
            let status = i32::from(Supervisor::new(theirs).and_then(|s| s.serve(command)).is_err());
            // SAFETY: it ends the process, without running what the parent wants to be run at its end.
            unsafe { libc::_exit(status) }
        }
    }
}

struct Supervisor {
    lasthop: UnixStream,
    signals: SignalFd,
    /// Signals that whoever started lasthop has blocked, and CMD is to have blocked.
    mask: SigSet,
    /// The process that made this one.
    parent: Pid,
}

impl Supervisor {
    fn new(lasthop: UnixStream) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        // Only a name.
        let _ = prctl::set_name(c"lasthop-cmd");
        let signals: SigSet =
            [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP]
                .into_iter()
                .collect();
        let mask = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let signals =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { lasthop, signals, mask, parent: getppid() })
    }

    fn serve(mut self, command: &[OsString]) -> io::Result<()> {
        let mut order = [0];
        // Without an order lasthop has ended before it began.
        let is_aside = match self.lasthop.read(&mut order)? {
            0 => return Ok(()),
            _ => match Order::from_byte(order[0]) {
                Some(Order::Run) => false,
                Some(Order::RunAside) => true,
                Some(Order::End) | None => return Ok(()),
            },
        };
        let cmd = match run(command, is_aside, self.mask) {
            Ok(pid) => pid,
            Err(e) => return self.tell(News::Refused(e.raw_os_error().unwrap_or(libc::EINVAL))),
        };
        self.tell(News::Started)?;
        // Once lasthop has gone without a word (killed, say), CMD goes on, as it would without this process.
        let mut is_heard = true;
        loop {
            let news = self.wait(is_heard, None)?;
            loop {
                match reap() {
                    Ok(Some((pid, status))) if pid == cmd => {
                        return self.tell(News::Exited(status));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // Whoever started lasthop has SIGCHLD ignored: the kernel tells no status.
                    Err(_) => return Ok(()),
                }
            }
            if news && is_heard {
                match self.lasthop.read(&mut order)? {
                    0 => is_heard = false,
                    _ if Order::from_byte(order[0]) == Some(Order::End) => return self.end_all(),
                    _ => {}
                }
            }
        }
    }

    fn tell(&mut self, news: News) -> io::Result<()> {
        self.lasthop.write_all(&news.bytes())
    }

    /// Waits for a signal or, where `is_heard`, for lasthop, which is whether it has said something.
    fn wait(&self, is_heard: bool, timeout: Option<Duration>) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(is_heard.then(|| PollFd::new(self.lasthop.as_fd(), PollFlags::POLLIN)));
        let timeout =
            timeout.map_or(PollTimeout::NONE, |t| t.try_into().unwrap_or(PollTimeout::ZERO));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let news = fds.get(1).and_then(PollFd::any).unwrap_or(false);
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let is_child = signal.ssi_signo == Signal::SIGCHLD as u32;
            // A terminal's reach lasthop and CMD by themselves. What a process sends to its parent, as
            // CMD may do with `$PPID`, is meant for lasthop.
            if !is_child && signal.ssi_code <= 0 {
                let number = i32::try_from(signal.ssi_signo).ok();
                let signal = number.and_then(|number| Signal::try_from(number).ok());
                if getppid() == self.parent {
                    let _ = kill(self.parent, signal);
                }
            }
        }
        Ok(news)
    }

    /// Asks all descendants to end, those too that are started meanwhile, and kills those that do not.
    fn end_all(mut self) -> io::Result<()> {
        let (begun, mut asked) = (Instant::now(), HashSet::new());
        while begun.elapsed() < GRACE + KILLED {
            let kills = begun.elapsed() >= GRACE;
            for pid in descendants() {
                if kills {
                    let _ = kill(pid, Signal::SIGKILL);
                } else if asked.insert(pid) {
                    let _ = kill(pid, Signal::SIGTERM);
                    // One that is stopped does not hear it before.
                    let _ = kill(pid, Signal::SIGCONT);
                }
            }
            loop {
                match reap() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            self.wait(false, Some(LOOK))?;
        }
        let left = descendants().len();
        self.tell(News::Left(i32::try_from(left).unwrap_or(i32::MAX)))
    }
}

/// Runs CMD.
fn run(command: &[OsString], is_aside: bool, mask: SigSet) -> io::Result<Pid> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments);
    if is_aside {
        command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
    }
    // `Command` lets it inherit the mask of this process: with SIGCHLD blocked a shell waits for ever.
    // SAFETY: one system call, which takes no lock and allocates nothing.
    unsafe { command.pre_exec(move || Ok(mask.thread_set_mask()?)) };
    // Whose end is seen by its number.
    let pid = command.spawn()?.id();
    Ok(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?))
}

/// Reaps a child that has ended: its number, and its status as wait(2) has it.
///
/// # Errors
/// There are no children.
fn reap() -> Result<Option<(Pid, i32)>, Errno> {
    let mut status = 0;
    // SAFETY: it writes to `status`, which is there. (nix knows no status of a real-time signal's.)
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) })?;
    Ok((pid > 0).then_some((Pid::from_raw(pid), status)))
}

/// All that CMD started and that has not ended, as far as /proc shows them.
fn descendants() -> Vec<Pid> {
    let own = getpid();
    // Of another PID namespace its numbers would mean other processes.
    if fs::read_link("/proc/self").ok().as_deref() != Some(own.to_string().as_ref()) {
        return Vec::new();
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    below(own.as_raw(), pids.filter_map(|pid| Some((pid, parent_of(pid)?))))
        .into_iter()
        .map(Pid::from_raw)
        .collect()
}

/// Who its parent is, unless it has ended.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parent_in(&stat)
}

/// The parent in a line of `/proc/PID/stat` (proc(5)), unless that is a zombie's. The name, which may hold
/// anything, ends with the last bracket.
fn parent_in(stat: &[u8]) -> Option<i32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

/// Whoever descends from `root`, parents first: who is killed first starts nobody else.
fn below(root: i32, parents: impl Iterator<Item = (i32, i32)>) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in parents {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_parents_first() {
        let parents = [(5, 4), (4, 3), (9, 1), (3, 2), (6, 2), (7, 9), (2, 1)];
        assert_eq!(below(2, parents.into_iter()), [3, 6, 4, 5]);
        assert_eq!(below(8, parents.into_iter()), [0; 0]);
        assert_eq!(below(2, [(2, 3), (3, 2)].into_iter()), [3, 2], "a ring has an end");
    }

    #[test]
    fn a_parent_is_read_whatever_the_name() {
        assert_eq!(parent_in(b"71 (sleep) S 70 71 1 0"), Some(70));
        assert_eq!(parent_in(b"71 (a) Z 9 (b\xff) R 70 71 1 0"), Some(70));
        assert_eq!(parent_in(b"71 (sleep) Z 70 71 1 0"), None, "it has ended");
        assert_eq!(parent_in(b"71 (sleep"), None);
        assert_eq!(parent_in(b"71 (sleep) S x"), None);
    }

    #[test]
    fn what_is_told_is_understood() {
        for news in [News::Started, News::Refused(2), News::Exited(0x0f), News::Left(3)] {
            assert_eq!(News::from_bytes(news.bytes()), Some(news));
        }
        assert_eq!(News::from_bytes([0; NEWS]), None);
        for order in [Order::Run, Order::RunAside, Order::End] {
            assert_eq!(Order::from_byte(order.byte()), Some(order));
        }
    }
}
