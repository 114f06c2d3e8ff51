//! The thread that follows the namespaces of a scope.
//!
//! A thread of its own, because it moves from namespace to namespace (a netlink socket belongs to
//! the one it was made in), and because listing a thousand links must not keep the tracer from
//! emptying its ring buffer. It sleeps until the mount table (names of namespaces are mounts), a
//! namespace's links, or the clock has something to tell.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::inventory::Inventory;
use super::message::NsidQuery;
use super::monitor::{DATAGRAM_BYTES, Monitor, Update};
use super::scan::{Found, OR_ROOT, Scanner};
use super::{LinkEvent, Netns, Scope};
use crate::few::Few;

/// How often to look for what nothing tells of: namespaces without a name, and names that are
/// symbolic links.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the kernel may take to list all links at the start.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is said once of those that may not be entered, where nobody asked for them.
const FORBIDDEN: &str = "only this network namespace is seen: it takes CAP_SYS_ADMIN to enter others \
     (run lasthop as root to see them)";
/// Each namespace takes two descriptors, each traced device a few more; the usual limit is 1024.
const OPEN_FILES: u64 = 65_536;

/// Follows the links of a scope until it is dropped.
#[derive(Debug)]
pub struct Watch {
    events: UnboundedReceiver<Vec<LinkEvent>>,
    /// Closed to end the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to follow the links of `scope`, and returns all that there are. It also raises this
    /// process' soft limit of open files, to 65,536 at most.
    ///
    /// # Errors
    /// A namespace of the scope does not exist (the message lists those that do) or may not be
    /// entered, or its links cannot be listed.
    pub fn start(scope: Scope) -> anyhow::Result<(Self, Vec<LinkEvent>)> {
        raise_open_files();
        let (stopped, stop) = io::pipe().context("cannot make a pipe")?;
        let (tell_first, first) = mpsc::sync_channel(1);
        let (tell, events) = unbounded_channel();
        let run = move || match Follower::start(scope) {
            Ok((mut follower, initial)) => {
                if tell_first.send(Ok(initial)).is_ok() {
                    follower.run(&stopped, &tell);
                }
            }
            // The receiver waits for just this message.
            Err(error) => drop(tell_first.send(Err(error))),
        };
        let thread = thread::Builder::new()
            .name("topology".to_owned())
            .spawn(run)
            .context("cannot start a thread")?;
        let watch = Self { events, stop: Some(stop), thread: Some(thread) };
        let initial = first.recv().map_err(|_| anyhow!("the topology thread has ended"))??;
        Ok((watch, initial))
    }

    /// The next events, in order. Nothing is lost when the future is dropped before it is ready.
    /// `None`: no more will come, ever.
    pub async fn next(&mut self) -> Option<Vec<LinkEvent>> {
        self.events.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // When it has panicked, that was printed.
            let _ = thread.join();
        }
    }
}

/// What the thread works on.
struct Follower {
    scanner: Scanner,
    /// `/proc/self/mountinfo`: polls as exceptional when a mount was made or removed.
    mounts: Option<File>,
    followed: BTreeMap<u32, (Arc<Netns>, Monitor)>,
    /// Namespaces that could not be followed, so that this is said once.
    refused: HashSet<u32>,
    unfollowed: Few,
    /// It was said that some may not be entered.
    told_forbidden: bool,
    inventory: Inventory,
    /// The namespace this thread began in, and comes back to.
    home: Netns,
    /// inode of the one it is in.
    here: u32,
    buffer: Vec<u8>,
    looked: Instant,
}

impl Follower {
    fn start(scope: Scope) -> anyhow::Result<(Self, Vec<LinkEvent>)> {
        // Before the first look: a mount made after it is told of.
        let mounts = File::open("/proc/self/mountinfo")
            .inspect_err(|e| log::info!("cannot watch the mount table: {e}"))
            .ok();
        let home = Netns::open(Path::new("/proc/thread-self/ns/net"), None)
            .context("cannot open the current network namespace, /proc/thread-self/ns/net")?;
        let mut follower = Self {
            scanner: Scanner::new(scope)?,
            mounts,
            followed: BTreeMap::new(),
            refused: HashSet::new(),
            unfollowed: Few::default(),
            told_forbidden: false,
            inventory: Inventory::default(),
            here: home.inode,
            home,
            buffer: Vec::with_capacity(DATAGRAM_BYTES),
            looked: Instant::now(),
        };
        follower.look(true, true)?;
        let deadline = Instant::now() + PATIENCE;
        while follower.followed.values().any(|(_, monitor)| !monitor.is_settled()) {
            if Instant::now() > deadline {
                return Err(anyhow!("the kernel does not list the links of all namespaces"));
            }
            follower.wait(None, LOOK_EVERY)?;
        }
        anyhow::ensure!(!follower.followed.is_empty(), "there is no network namespace to follow");
        let initial = follower.events();
        Ok((follower, initial))
    }

    fn run(&mut self, stopped: &PipeReader, tell: &UnboundedSender<Vec<LinkEvent>>) {
        loop {
            let rest = LOOK_EVERY.saturating_sub(self.looked.elapsed());
            match self.wait(Some(stopped), rest) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    log::error!("the topology is not followed any more: {error:#}");
                    return;
                }
            }
            let events = self.events();
            if !events.is_empty() && tell.send(events).is_err() {
                return;
            }
        }
    }

    /// Sleeps until there is news, or for `timeout`, and takes the news in. `false`: stopped.
    fn wait(&mut self, stopped: Option<&PipeReader>, timeout: Duration) -> anyhow::Result<bool> {
        let (stop, mounts, ready) = self.poll(stopped, timeout)?;
        if stop {
            return Ok(false);
        }
        // Namespaces first: a pair that leads into a new one is then understood at once.
        let thorough = self.looked.elapsed() >= LOOK_EVERY;
        if mounts || thorough {
            self.look(thorough, false)?;
        }
        for inode in ready {
            self.read(inode);
        }
        Ok(true)
    }

    /// Whether to stop, whether mounts have changed, and which namespaces have news.
    fn poll(
        &self,
        stopped: Option<&PipeReader>,
        timeout: Duration,
    ) -> anyhow::Result<(bool, bool, Vec<u32>)> {
        let fixed = [
            stopped.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
            self.mounts.as_ref().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)),
        ];
        let sockets =
            self.followed.values().map(|(_, m)| PollFd::new(m.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd> = fixed.iter().flatten().cloned().chain(sockets).collect();
        // Up to the next millisecond: rounded down, the end of a wait would be spent awake.
        let timeout = PollTimeout::try_from(timeout + Duration::from_millis(1))
            .unwrap_or(PollTimeout::from(1000u16));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let mut news = fds.iter().map(|fd| fd.revents().is_some_and(|e| !e.is_empty()));
        let stop = stopped.is_some() && news.next() == Some(true);
        let mounts = self.mounts.is_some() && news.next() == Some(true);
        let ready = self.followed.keys().zip(news).filter(|(_, n)| *n).map(|(i, _)| *i).collect();
        Ok((stop, mounts, ready))
    }

    /// Brings the set of followed namespaces up to date. A missing privilege is an error at the
    /// `start` only.
    fn look(&mut self, thorough: bool, start: bool) -> anyhow::Result<()> {
        if thorough {
            self.looked = Instant::now();
        }
        let Found { names, host, wanted } = self.scanner.scan(thorough);
        self.inventory.set_host(host);
        self.inventory.set_names(&names);
        let gone: Vec<u32> =
            self.followed.keys().filter(|inode| !wanted.contains_key(inode)).copied().collect();
        for inode in gone {
            self.unfollow(inode);
        }
        self.refused.retain(|inode| wanted.contains_key(inode));
        for (inode, path) in wanted {
            let name = names.get(&inode).cloned();
            if let Some((netns, _)) = self.followed.get_mut(&inode) {
                if netns.name != name {
                    *netns = Arc::new(netns.renamed(name));
                    self.inventory.set_netns(Arc::clone(netns));
                }
                continue;
            }
            match self.follow(inode, &path, name) {
                Ok(()) => {
                    self.refused.remove(&inode);
                }
                Err(error) if is_forbidden(&error) && self.scanner.is_default() => {
                    self.refused.insert(inode);
                    if !std::mem::replace(&mut self.told_forbidden, true) {
                        log::warn!("{FORBIDDEN}");
                    }
                }
                Err(error) if start && is_forbidden(&error) => {
                    return Err(anyhow!("{error:#}: it takes CAP_SYS_ADMIN; {OR_ROOT}"));
                }
                // It may have gone since the look, or the next look may have more luck.
                Err(error) => {
                    if is_gone(&error) {
                        log::debug!("{error:#}");
                    } else if self.refused.insert(inode) {
                        self.unfollowed.warn(&format!("{error:#}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, inode: u32, path: &Path, name: Option<String>) -> anyhow::Result<()> {
        let failed = || format!("cannot follow the network namespace {}", path.display());
        let netns = Netns::open(path, name).with_context(failed)?;
        if netns.inode != inode {
            return Err(anyhow!("it is another one by now").context(failed()));
        }
        self.go_to(&netns).with_context(failed)?;
        let monitor = Monitor::open_here().with_context(failed)?;
        let netns = Arc::new(netns);
        self.inventory.set_netns(Arc::clone(&netns));
        self.followed.insert(inode, (netns, monitor));
        Ok(())
    }

    fn unfollow(&mut self, inode: u32) {
        if let Some((netns, _)) = self.followed.remove(&inode) {
            netns.release();
            self.inventory.drop_netns(inode);
        }
    }

    /// Moves this thread into `netns`.
    fn go_to(&mut self, netns: &Netns) -> io::Result<()> {
        if self.here != netns.inode {
            netns.enter_here()?;
            self.here = netns.inode;
        }
        Ok(())
    }

    /// Moves this thread back: a namespace that a thread is in is not destroyed.
    fn go_home(&mut self) {
        if self.here == self.home.inode {
            return;
        }
        match self.home.enter_here() {
            Ok(()) => self.here = self.home.inode,
            Err(error) => log::warn!("cannot leave a network namespace: {error}"),
        }
    }

    fn read(&mut self, inode: u32) {
        let Some((netns, monitor)) = self.followed.get_mut(&inode) else {
            return;
        };
        let inventory = &mut self.inventory;
        let result = monitor.read(&mut self.buffer, &mut |update| match update {
            Update::Link(link) => inventory.set_link(inode, link),
            Update::Gone(ifindex) => inventory.drop_link(inode, ifindex),
            Update::Only(ifindexes) => inventory.keep_only(inode, &ifindexes),
        });
        if let Err(error) = result {
            // The next look begins anew with it.
            let what = format!("lost sight of the network namespace {}: {error}", netns.label());
            self.unfollowed.warn(&what);
            self.unfollow(inode);
        }
    }

    /// All that has changed. The thread is back home then.
    fn events(&mut self) -> Vec<LinkEvent> {
        for (inode, nsids) in self.inventory.unknown_nsids() {
            let Some((netns, _)) = self.followed.get(&inode) else {
                continue;
            };
            let netns = Arc::clone(netns);
            let meanings = self.meanings(&netns).unwrap_or_else(|error| {
                log::debug!("cannot ask for the peers of {}: {error}", netns.label());
                BTreeMap::new()
            });
            for nsid in nsids {
                self.inventory.set_nsid(inode, nsid, None);
            }
            for (nsid, meaning) in meanings {
                self.inventory.set_nsid(inode, nsid, Some(meaning));
            }
        }
        self.go_home();
        self.inventory.take_events()
    }

    /// For `netns`, which id means which of the followed namespaces that have had none in it yet.
    fn meanings(&mut self, netns: &Netns) -> io::Result<BTreeMap<i32, u32>> {
        self.go_to(netns)?;
        let mut query = NsidQuery::new()?;
        let mut meanings = BTreeMap::new();
        for other in self.inventory.without_nsid(netns.inode) {
            let Ok(fd) = other.descriptor() else { continue };
            if let Some(nsid) = query.ask(fd.as_fd())? {
                meanings.insert(nsid, other.inode);
            }
        }
        Ok(meanings)
    }
}

/// It went between the look and the opening, its name or all of it.
fn is_gone(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput))
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

/// As far as it may be raised; where it may not, some namespaces will be refused, which is said.
fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(OPEN_FILES)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES), hard)
    {
        log::info!("cannot raise the limit of open files: {error}");
    }
}
