//! A network namespace: a descriptor that can be let go of, and code run inside.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::beneath;

/// A network namespace. Equal are those of the same inode and name.
#[derive(Debug)]
pub struct Netns {
    /// inode of its nsfs file.
    pub inode: u32,
    /// Its name under `/run/netns`; `host` for that of process 1 where it has no other, and none is
    /// called that.
    pub name: Option<String>,
    /// An open descriptor keeps a namespace alive after its last name and process have gone. So it
    /// is emptied when the namespace is not followed any more, however many `Arc`s are still about.
    fd: Arc<Mutex<Option<OwnedFd>>>,
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        self.inode == other.inode && self.name == other.name
    }
}

impl Eq for Netns {}

impl Netns {
    /// Opens `path`. That it is a *network* namespace shows when it is entered.
    ///
    /// # Errors
    /// It cannot be opened, or is no namespace: a file, say, left behind by an `ip netns add` that
    /// was interrupted before it mounted the namespace there ([`io::ErrorKind::InvalidInput`]).
    pub(super) fn open(path: &Path, name: Option<String>) -> io::Result<Self> {
        let nsfs = nsfs_device()?;
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "it is no namespace");
        // Another file is not even opened: a FIFO there would be waited for.
        let file = beneath::on_device(path, nsfs)?.ok_or_else(none)?;
        let inode = namespace_inode(&file.metadata()?, nsfs).ok_or_else(none)?;
        Ok(Self { inode, name, fd: Arc::new(Mutex::new(Some(file.into()))) })
    }

    /// The same namespace under another name.
    pub(super) fn renamed(&self, name: Option<String>) -> Self {
        Self { inode: self.inode, name, fd: Arc::clone(&self.fd) }
    }

    /// Whether it is still followed.
    fn is_open(&self) -> bool {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Closes the descriptor.
    pub(super) fn release(&self) {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// A descriptor of its own for the caller, who is to close it soon.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        match &*self.fd.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(fd) => fd.try_clone(),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "it has gone")),
        }
    }

    /// Moves the calling thread there, for good. To stay where it is takes no privilege, while the kernel
    /// asks for `CAP_SYS_ADMIN` even then (`netns_install` of `net/core/net_namespace.c`).
    pub(super) fn enter_here(&self) -> io::Result<()> {
        let here = fs::metadata("/proc/thread-self/ns/net");
        let here = here.ok().zip(nsfs_device().ok()).map(|(at, nsfs)| namespace_inode(&at, nsfs));
        if here.flatten() == Some(self.inode) && self.is_open() {
            return Ok(());
        }
        setns(self.descriptor()?, CloneFlags::CLONE_NEWNET).map_err(Into::into)
    }

    /// Its name, or its inode where it has none; for messages.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("net:[{}]", self.inode))
    }

    #[cfg(test)]
    pub(super) fn for_test(inode: u32, name: Option<&str>) -> Arc<Self> {
        Arc::new(Self { inode, name: name.map(str::to_owned), fd: Arc::default() })
    }
}

/// The device number of nsfs, which tells a namespace's file from any other.
pub(super) fn nsfs_device() -> io::Result<u64> {
    let own = fs::metadata("/proc/self/ns/net");
    let without_proc = |e: io::Error| {
        let is_there = e.kind() != io::ErrorKind::NotFound;
        if is_there {
            e
        } else {
            io::Error::new(e.kind(), "/proc/self is not there: mount proc on /proc")
        }
    };
    Ok(own.map_err(without_proc)?.dev())
}

/// The inode of the namespace that `file` is, when it is one.
pub(super) fn namespace_inode(file: &Metadata, nsfs: u64) -> Option<u32> {
    // The kernel numbers namespaces with 32 bits (`struct ns_common`, `inum`).
    u32::try_from(file.ino()).ok().filter(|_| file.dev() == nsfs)
}

/// Runs `work` inside `netns` and returns what it returned. It runs on a thread of its own, which
/// ends with it: there is no way back to get wrong, and the caller never leaves its namespace.
///
/// # Errors
/// The namespace has gone ([`io::ErrorKind::NotFound`]), or may not be entered (`CAP_SYS_ADMIN`),
/// or is one of another kind ([`io::ErrorKind::InvalidInput`]).
///
/// # Panics
/// When `work` does.
pub fn enter<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let run = || netns.enter_here().map(|()| work());
    let result = thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, run)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    result.map_err(|e| {
        io::Error::new(e.kind(), format!("cannot enter network namespace {}: {e}", netns.label()))
    })
}
