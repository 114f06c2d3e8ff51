//! Looks for Open vSwitch on this node: where it was said to be, in the usual places, and where
//! processes called so have it. Those may be anybody's: they are looked at, few of them, for a short
//! time, and what cannot be trusted is said.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::stat::FileStat;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::home::{DAEMON, Home};
use super::rpc::Error;
use super::trust::{Who, comm};
use crate::beneath::{Dir, Socket};

/// Where distributions, snaps and containers keep its sockets.
const USUAL: &[&str] = &[
    "/var/run/openvswitch",
    "/run/openvswitch",
    "/usr/local/var/run/openvswitch",
    "/var/lib/openvswitch",
    "/var/snap/openstack-hypervisor/common/run/openvswitch",
    "/var/snap/microovn/common/run/switch",
    "/host/var/run/openvswitch",
    "/host/run/openvswitch",
];
const VARIABLE: &str = "OVS_RUNDIR";
const PIDFILE: &str = "ovs-vswitchd.pid";
/// The longest such file, bytes: a number and a line's end.
const PIDFILE_BYTES: u16 = 32;
/// How much of the environment of a process is read, bytes.
const ENVIRON: u32 = 1 << 17;
/// The longest path in it that is taken, bytes. Those of sockets are shorter (`unix(7)`).
const MAX_PATH: usize = 512;
/// How many directories that processes name are looked into.
const MAX_DIRS: usize = 64;
/// How long processes are looked at, …
const LOOKING: Duration = Duration::from_millis(500);
/// … and how long that is waited for: a file system may be one that answers when it likes.
const PATIENCE: Duration = Duration::from_secs(1);

/// A directory that could be that of `ovs-vswitchd`.
#[derive(Debug)]
pub struct Candidate {
    pub(super) rundir: PathBuf,
    /// The root directory that its paths begin at.
    pub(super) root: Arc<Dir>,
    pub(super) dir: Arc<Dir>,
    /// The name of its socket, and that.
    pub(super) name: String,
    pub(super) socket: Arc<Socket>,
    /// The user whom root gave the directory.
    pub(super) owner: Option<u32>,
    /// Root named it: that user may be one of a container.
    pub(super) anywhere: bool,
}

impl Candidate {
    /// The one in the directory that lasthop was told; `None`: nothing runs there.
    pub(super) fn named(rundir: &Path) -> Result<Option<Self>, String> {
        let shown = |e: io::Error| format!("{}: {e}", rundir.display());
        let dir = match Dir::at(rundir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(shown)?,
        };
        let owner = Some(dir.stat().map_err(shown)?.st_uid);
        let root = Arc::new(Dir::at(Path::new("/")).map_err(shown)?);
        Ok(Self::inside(rundir.to_owned(), root, dir)?.map(|found| Self {
            owner,
            anywhere: true,
            ..found
        }))
    }

    /// The one of a usual place. Only root can have put it there where nobody else may write, and so
    /// its owner is who Open vSwitch runs as.
    fn usual(path: &Path, root: &Arc<Dir>, dir: Dir) -> Result<Option<Self>, String> {
        let (stat, is_roots) = (stat(path, &dir)?, dir.is_roots_to_give());
        let Some(found) = Self::inside(path.to_owned(), root.clone(), dir)? else {
            return Ok(None);
        };
        private(path, &stat)?;
        Ok(Some(Self { owner: is_roots.then_some(stat.st_uid), ..found }))
    }

    /// The one that a process has.
    fn of_process(
        who: &Who,
        shown: &Path,
        root: &Arc<Dir>,
        dir: Dir,
    ) -> Result<Option<Self>, String> {
        let stat = stat(shown, &dir)?;
        let Some(found) = Self::inside(shown.to_owned(), root.clone(), dir)? else {
            return Ok(None);
        };
        private(shown, &stat)?;
        if stat.st_uid != 0 && stat.st_uid != who.uid {
            let at = shown.display();
            return Err(format!("{at} belongs to user {}, not to its process", stat.st_uid));
        }
        Ok(Some(found))
    }

    /// What has a process's file but no socket has ended.
    fn inside(rundir: PathBuf, root: Arc<Dir>, dir: Dir) -> Result<Option<Self>, String> {
        let shown = |name: &str, e: &io::Error| format!("{}: {e}", rundir.join(name).display());
        let is_gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        let name = match control_name(&dir) {
            Err(e) if is_gone(&e) => return Ok(None),
            name => name.map_err(|e| shown(PIDFILE, &e))?,
        };
        let socket = match dir.socket(&name) {
            Err(e) if is_gone(&e) => return Ok(None),
            held => Arc::new(held.map_err(|e| shown(&name, &e))?),
        };
        let dir = Arc::new(dir);
        Ok(Some(Self { rundir, root, dir, name, socket, owner: None, anywhere: false }))
    }
}

/// The name of the daemon's socket in its run directory: the number in it is that of its process, in
/// its own process namespace.
pub(super) fn control_name(rundir: &Dir) -> io::Result<String> {
    let pid = rundir.read(PIDFILE, PIDFILE_BYTES)?;
    let pid = std::str::from_utf8(&pid).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
    let none = || io::Error::new(io::ErrorKind::InvalidData, "it has no process number");
    pid.map(|pid| format!("{DAEMON}.{pid}.ctl")).ok_or_else(none)
}

fn stat(shown: &Path, dir: &Dir) -> Result<FileStat, String> {
    dir.stat().map_err(|e| format!("{}: {e}", shown.display()))
}

fn private(shown: &Path, stat: &FileStat) -> Result<(), String> {
    if stat.st_mode & 0o002 == 0 {
        return Ok(());
    }
    Err(format!("{}: everybody may write there", shown.display()))
}

/// What was found, and what was not taken.
#[derive(Debug, Default)]
struct Looked {
    found: Vec<Candidate>,
    refused: Refused,
    /// The directories that were looked into, each under one of its names: device and inode.
    seen: HashSet<(u64, u64)>,
}

impl Looked {
    fn add(&mut self, found: Result<Option<Candidate>, String>) {
        match found {
            Ok(found) => self.found.extend(found),
            Err(why) => self.refused.add(why),
        }
    }

    /// The directory at this path, where there is one that was not looked into before.
    fn enter(&mut self, root: &Dir, path: &Path, shown: &Path) -> Option<Dir> {
        match root.enter(path) {
            Ok(dir) => {
                let id = dir.stat().map(|stat| (stat.st_dev, stat.st_ino)).ok()?;
                self.seen.insert(id).then_some(dir)
            }
            Err(e) => {
                use io::ErrorKind::{NotADirectory, NotFound};
                if !matches!(e.kind(), NotFound | NotADirectory) {
                    self.refused.add(format!("{}: {e}", shown.display()));
                }
                None
            }
        }
    }

    /// What lasthop was told, or the usual places.
    fn first() -> Self {
        let mut looked = Self::default();
        if let Some(dir) = told() {
            looked.add(Candidate::named(&dir));
        } else if let Ok(root) = Dir::at(Path::new("/")).map(Arc::new) {
            for path in USUAL.iter().map(Path::new) {
                if let Some(dir) = looked.enter(&root, path, path) {
                    looked.add(Candidate::usual(path, &root, dir));
                }
            }
        }
        looked
    }

    /// The directories of processes of that name.
    fn of_processes() -> Self {
        let (mut looked, end) = (Self::default(), Instant::now() + LOOKING);
        let mut tried = 0;
        for pid in numbers(Path::new("/proc")) {
            if Instant::now() > end || tried >= MAX_DIRS {
                // Where none of them is called so, there are only many.
                if looked.refused.first.is_some() || tried > 0 {
                    looked.refused.add("there are too many processes to look at all".to_owned());
                }
                break;
            }
            if comm(pid).is_none_or(|name| name != DAEMON) {
                continue;
            }
            let Ok(dir) = Dir::of_process(pid) else { continue };
            let who = Who::of(pid, &dir);
            if let Some(why) = who.is_no_daemon() {
                looked.refused.add(format!("process {pid} of user {}: {why}", who.uid));
                continue;
            }
            let Ok(root) = dir.root_of_process().map(Arc::new) else { continue };
            let outside = PathBuf::from(format!("/proc/{pid}/root"));
            for path in environ(&dir).into_iter().chain(USUAL.iter().map(PathBuf::from)) {
                tried += 1;
                let shown = outside.join(path.strip_prefix("/").unwrap_or(&path));
                if let Some(dir) = looked.enter(&root, &path, &shown) {
                    looked.add(Candidate::of_process(&who, &shown, &root, dir));
                }
            }
        }
        looked
    }
}

/// The directory that lasthop was told.
fn told() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// The numbers among the names in a directory.
fn numbers(dir: &Path) -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The run directory that a process was told.
fn environ(process: &Dir) -> Option<PathBuf> {
    let environ = process.beginning("environ", ENVIRON).ok()?;
    let mut variables = environ.split(|b| *b == 0);
    let dir = variables.find_map(|var| var.strip_prefix(b"OVS_RUNDIR="))?;
    (dir.len() <= MAX_PATH).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(dir)))
}

/// What was not taken: the first, and how many more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Refused {
    first: Option<String>,
    more: usize,
}

impl Refused {
    fn add(&mut self, why: String) {
        match self.first {
            None => self.first = Some(why),
            Some(_) => self.more += 1,
        }
    }

    /// In one line, with what to do.
    fn tell(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let more = match self.more {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        Some(format!(
            "no ovs-vswitchd that can be trusted was found: {first}{more}; if it is to be asked, \
             set {VARIABLE} to its run directory"
        ))
    }
}

/// Why there is nobody to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// None runs.
    Absent,
    /// One is there that is not trusted; in one line.
    Distrusted(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => write!(
                f,
                "no running ovs-vswitchd was found ({VARIABLE} says where its sockets are)"
            ),
            Self::Distrusted(why) => f.write_str(why),
        }
    }
}

/// Finds it again and again; one for all who ask.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    home: Mutex<Option<Home>>,
    /// Looking at files took too long once: the thread that does may still wait.
    is_stuck: AtomicBool,
    is_told: AtomicBool,
}

impl Finder {
    /// The `ovs-vswitchd` of this node.
    ///
    /// # Errors
    /// None is found that may be asked.
    pub async fn find(&self) -> Result<Home, Missing> {
        let known = self.shared.home.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(home) = known.filter(Home::is_there) {
            return Ok(home);
        }
        let found = self.look().await;
        let home = found.as_ref().ok().filter(|home| home.is_alive).cloned();
        *self.shared.home.lock().unwrap_or_else(PoisonError::into_inner) = home;
        found
    }

    /// As [`Finder::find`]; what is not trusted is said, once.
    pub async fn find_or_tell(&self) -> Result<Home, Missing> {
        let found = self.find().await;
        if let Err(Missing::Distrusted(why)) = &found
            && !self.shared.is_told.swap(true, Ordering::Relaxed)
        {
            log::warn!("{why}");
        }
        found
    }

    async fn look(&self) -> Result<Home, Missing> {
        let (mut refused, mut dead) = (Refused::default(), None);
        for look in [Looked::first, Looked::of_processes] {
            let Some(looked) = self.within(look).await else {
                refused.add("its files take too long to be looked at".to_owned());
                break;
            };
            if let Some(first) = looked.refused.first {
                refused.add(first);
                refused.more += looked.refused.more;
            }
            for candidate in looked.found {
                let at = candidate.rundir.join(&candidate.name);
                match Home::of(candidate).await {
                    // Another may live.
                    Ok(home) if !home.is_alive => dead = dead.or(Some(home)),
                    Ok(home) => {
                        if let Some(why) = &refused.first {
                            log::info!("{DAEMON} is taken from {}, not: {why}", at.display());
                        }
                        return Ok(home);
                    }
                    Err(Error::Distrusted(_, why)) => {
                        refused.add(format!("at {}, {why}", at.display()));
                    }
                    Err(e) => refused.add(e.to_string()),
                }
            }
            if told().is_some() {
                break;
            }
        }
        dead.ok_or_else(|| refused.tell().map_or(Missing::Absent, Missing::Distrusted))
    }

    /// Does it on a thread that may wait, and does not wait for that.
    async fn within(&self, look: fn() -> Looked) -> Option<Looked> {
        if self.shared.is_stuck.load(Ordering::Relaxed) {
            return None;
        }
        let looked = timeout(PATIENCE, spawn_blocking(look)).await.ok();
        if looked.is_none() {
            self.shared.is_stuck.store(true, Ordering::Relaxed);
        }
        // A panic there is printed there.
        looked?.ok()
    }
}

#[cfg(test)]
mod tests;
