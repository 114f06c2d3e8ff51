//! What lasthop may do, and who in it: once all is attached, the thread that reads what came off
//! the wire and prints it has no capability left. Three others keep what the work goes on with, each no
//! more than its own: [`Hands`], to hook ports that appear and to ask conntrack, and to ask Open
//! vSwitch, and the one that follows devices, to enter their namespaces ([`confined`]).
//!
//! Capabilities belong to a thread (capabilities(7)): a thread has those of the one that started it.

use std::collections::HashSet;

use anyhow::Context as _;
use caps::{CapSet, Capability};
use rayon_core::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

/// What a thread needs, and for what.
type Kept = &'static [(Capability, &'static str)];

/// Of the thread that follows devices and namespaces.
pub const FOLLOWING: Kept = &[
    (Capability::CAP_SYS_ADMIN, "to enter network namespaces"),
    (Capability::CAP_SYS_PTRACE, "to see the namespaces of other users' processes"),
    (Capability::CAP_DAC_OVERRIDE, "to open a namespace at a path that is another user's"),
];

/// Of the hands of a trace.
const HOOKING: Kept = &[
    (Capability::CAP_BPF, "to attach programs to ports that appear, and to read maps"),
    (Capability::CAP_PERFMON, "to load the hooks of a module that is loaded later"),
    (Capability::CAP_SYSLOG, "to read that module's addresses in /proc/kallsyms"),
    (Capability::CAP_NET_ADMIN, "to read conntrack and rules"),
    (Capability::CAP_NET_RAW, "to see what arrives at VLANs and bonds that appear"),
    (Capability::CAP_SYS_ADMIN, "to enter network namespaces for it"),
];

/// Of the thread that reads rules and routes with the node's programs.
pub const READING: Kept = &[
    (Capability::CAP_NET_ADMIN, "to read rules"),
    (Capability::CAP_NET_RAW, "to read the older tables of iptables"),
    (Capability::CAP_SYS_ADMIN, "to enter network namespaces, and to confine programs"),
];

/// Of the hands where drops are counted.
const COUNTING: Kept = &[
    (Capability::CAP_BPF, "to read maps"),
    (Capability::CAP_SYSLOG, "to read the addresses of a module that is loaded later"),
];

/// Of the thread that asks Open vSwitch.
const ASKING: Kept = &[
    (Capability::CAP_DAC_OVERRIDE, "to reach the sockets of Open vSwitch, which another user owns"),
    (Capability::CAP_SYS_PTRACE, "to find them in its container"),
];

/// Of the start alone.
const STARTING: Kept =
    &[(Capability::CAP_SYS_RESOURCE, "to raise the limit of locked memory, before Linux 5.11")];

/// What a command does that watches the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It follows packets.
    Trace,
    /// It counts drops.
    Count,
}

/// The threads that keep privileges for what is done now and then.
pub struct Hands {
    work: ThreadPool,
    talk: Option<Runtime>,
}

impl Hands {
    /// To be made before this thread gives up its own privileges.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(duty: Duty) -> anyhow::Result<Self> {
        let kept = match duty {
            Duty::Trace => HOOKING,
            Duty::Count => COUNTING,
        };
        let work = confined(&[kept], || {
            let pool = ThreadPoolBuilder::new().num_threads(1);
            pool.thread_name(|_| "hands".to_owned()).build().context("a thread")
        })??;
        let start_asking = || {
            let mut talk = Builder::new_multi_thread();
            let talk = talk.worker_threads(1).thread_name("asking").enable_all().build()?;
            anyhow::Ok(talk)
        };
        let talk = match duty {
            Duty::Trace => Some(confined(&[ASKING], start_asking)??),
            Duty::Count => None,
        };
        Ok(Self { work, talk })
    }

    /// Does something that needs privileges, and waits for it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.work.install(work)
    }

    /// Where tasks are spawned that ask Open vSwitch; none is asked about counts.
    pub fn talk(&self) -> Option<&Handle> {
        self.talk.as_ref().map(Runtime::handle)
    }
}

impl Drop for Hands {
    /// Whoever is still being asked is not waited for: it may never answer.
    fn drop(&mut self) {
        if let Some(talk) = self.talk.take() {
            talk.shutdown_background();
        }
    }
}

/// Does something that starts threads, which have these privileges and no others.
///
/// # Errors
/// No thread can be started, or the privileges cannot be given up.
pub fn confined<T: Send>(kept: &[Kept], work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let confined = std::thread::Builder::new().name("confined".to_owned());
        let run = || keep(kept).map(|()| work());
        let thread = confined.spawn_scoped(scope, run).context("a thread")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives up all privileges that no thread needs, before any other thread is started. What is executed
/// by root has its privileges nevertheless.
///
/// # Errors
/// The kernel's.
pub fn narrow() -> anyhow::Result<()> {
    keep(&[FOLLOWING, HOOKING, COUNTING, ASKING, STARTING])
}

/// Gives up all privileges of this thread but these: of one that is started by one that has more.
///
/// # Errors
/// The kernel's.
pub fn keep_only(kept: Kept) -> anyhow::Result<()> {
    keep(&[kept])
}

/// Leaves this thread, and what it executes, with these privileges and no way to others: for root,
/// whose programs would have all of the bounding set, by `PR_SET_NO_NEW_PRIVS`; for others, whose programs would have
/// none, by the ambient set (capabilities(7), "Transformation of capabilities during execve").
///
/// # Errors
/// The kernel's.
pub fn hand_down(kept: &[Capability]) -> anyhow::Result<()> {
    let hand_down_some = || {
        let permitted = caps::read(None, CapSet::Permitted)?;
        let both: HashSet<_> = kept.iter().filter(|c| permitted.contains(*c)).copied().collect();
        caps::set(None, CapSet::Inheritable, &both)?;
        caps::set(None, CapSet::Effective, &both)?;
        caps::set(None, CapSet::Permitted, &both)?;
        caps::set(None, CapSet::Ambient, &both)
    };
    hand_down_some().context(REFUSED)?;
    nix::sys::prctl::set_no_new_privs().context(REFUSED)
}

/// Gives up all privileges of this thread but these.
fn keep(kept: &[Kept]) -> anyhow::Result<()> {
    let kept: HashSet<_> = kept.iter().copied().flatten().map(|(kept, _)| *kept).collect();
    let keep_some = || {
        let permitted = caps::read(None, CapSet::Permitted)?;
        let both: HashSet<_> = permitted.intersection(&kept).copied().collect();
        caps::set(None, CapSet::Effective, &both)?;
        caps::set(None, CapSet::Permitted, &both)
    };
    keep_some().context(REFUSED)
}

/// Gives up all privileges of this thread, and that what it executes could have others.
///
/// # Errors
/// The kernel's.
pub fn renounce() -> anyhow::Result<()> {
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).context(REFUSED)?;
    }
    nix::sys::prctl::set_no_new_privs().context(REFUSED)
}

const REFUSED: &str = "cannot give up privileges";
