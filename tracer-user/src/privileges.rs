//! What lasthop may do, and who in it: once all is attached, the thread that reads what came off
//! the wire and prints it has no capability left. The others keep what the trace needs as it goes on:
//! [`Hands`], to hook ports that appear and to ask conntrack and Open vSwitch, and the one that
//! follows devices, to enter their namespaces.
//!
//! Capabilities belong to a thread (capabilities(7)): a thread keeps those that it was started with.

use std::collections::HashSet;

use anyhow::Context as _;
use caps::{CapSet, Capability};
use rayon_core::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

/// What a trace needs while it goes on, and for what.
pub const KEPT: [(Capability, &str); 9] = [
    (Capability::CAP_BPF, "to attach programs to ports that appear, and to read maps"),
    (Capability::CAP_PERFMON, "to load the hooks of a module that is loaded later"),
    (Capability::CAP_NET_ADMIN, "to attach to devices, to read conntrack and rules"),
    (Capability::CAP_SYS_ADMIN, "to enter network namespaces"),
    (Capability::CAP_SYS_PTRACE, "to see the namespaces of other users' processes"),
    (Capability::CAP_DAC_OVERRIDE, "to reach the sockets of Open vSwitch, which another user owns"),
    (Capability::CAP_SYSLOG, "to read addresses in /proc/kallsyms"),
    (Capability::CAP_SYS_RESOURCE, "to raise the limit of locked memory, before Linux 5.11"),
    (Capability::CAP_KILL, "to end CMD"),
];

/// The threads that keep [`KEPT`].
pub struct Hands {
    work: ThreadPool,
    talk: Runtime,
}

impl Hands {
    /// To be made before this thread gives up its own privileges.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new() -> anyhow::Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(1);
        let work = pool.thread_name(|_| "hands".to_owned()).build().context("a thread")?;
        let mut talk = Builder::new_multi_thread();
        let talk = talk.worker_threads(1).thread_name("asking").enable_all().build()?;
        Ok(Self { work, talk })
    }

    /// Does something that needs privileges, and waits for it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.work.install(work)
    }

    /// Where tasks are spawned that need privileges.
    pub fn talk(&self) -> &Handle {
        self.talk.handle()
    }
}

/// Gives up all privileges but [`KEPT`], before any other thread is started. What is executed by
/// root has its privileges nevertheless.
///
/// # Errors
/// The kernel's.
pub fn narrow() -> anyhow::Result<()> {
    let kept: HashSet<_> = KEPT.into_iter().map(|(capability, _)| capability).collect();
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
