//! Finds the namespaces of a [`Scope`] and their names.
//!
//! Looks only: one `stat` a name, so that it can be done at every change of the mount table.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::netns::{Netns, enter, namespace_inode, nsfs_device};
use super::scope::{Scope, Selector};

/// Where iproute2 and the container runtimes keep the names.
const NAMES_DIR: &str = "/run/netns";
/// The namespace of process 1, and the name it gets when it has no other, and none is called that.
const HOST: (&str, &str) = ("/proc/1/ns/net", "host");
/// inode of the namespace that the kernel begins with: `NET_NS_INIT_INO` of
/// `include/uapi/linux/nsfs.h` (6.18). Before it was given one, no namespace had this number.
const INITIAL: u32 = 0xefff_fff9;
/// The namespace of this program's main thread, which never leaves it.
const CURRENT: &str = "/proc/self/ns/net";

/// What exists at one moment.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of every namespace that has one.
    pub names: BTreeMap<u32, String>,
    /// That of process 1, whatever its name.
    pub host: u32,
    /// The namespaces of the scope: how each can be opened.
    pub wanted: BTreeMap<u32, PathBuf>,
}

/// Looks again and again.
pub(super) struct Scanner {
    scope: Scope,
    /// See [`nsfs_device`].
    nsfs: u64,
    /// From the last walk over all processes.
    of_processes: BTreeMap<u32, PathBuf>,
    /// Names without a namespace, and in how many thorough scans, 2 at most.
    dead: BTreeMap<OsString, u8>,
}

impl Scanner {
    /// # Errors
    /// The scope names a namespace that does not exist; the message lists those that do.
    pub fn new(scope: Scope) -> anyhow::Result<Self> {
        let nsfs = nsfs_device().context("cannot look at the current network namespace")?;
        let (of_processes, dead) = (BTreeMap::new(), BTreeMap::new());
        let mut scanner = Self { scope, nsfs, of_processes, dead };
        let by_name = scanner.by_name(false);
        for selector in &scanner.scope.selectors {
            scanner.check(selector, &by_name)?;
        }
        Ok(scanner)
    }

    /// Nobody chose the namespaces: see [`Scope::is_default`].
    pub fn is_default(&self) -> bool {
        self.scope.is_default
    }

    /// What exists now. `thorough`, once in a while: nameless namespaces too, when the scope has
    /// them, and a word on names that have no namespace.
    pub fn scan(&mut self, thorough: bool) -> Found {
        let by_name = self.by_name(thorough);
        let mut found = Found::default();
        for (name, inode) in &by_name {
            found.names.entry(*inode).or_insert_with(|| name.to_string_lossy().into_owned());
        }
        // Process 1 may be out of sight, even to root (Landlock, for one).
        let host = self.inode(HOST.0).unwrap_or(INITIAL);
        found.host = host;
        if !by_name.contains_key(OsStr::new(HOST.1)) {
            found.names.entry(host).or_insert_with(|| HOST.1.to_owned());
        }
        if thorough && self.scope.has_nameless() {
            self.of_processes = self.walk_processes();
        }
        if self.scope.selectors.is_empty() {
            self.add_named_and_current(&by_name, &mut found);
        }
        for selector in &self.scope.selectors {
            match selector {
                Selector::All => {
                    self.add_named_and_current(&by_name, &mut found);
                    for (inode, path) in &self.of_processes {
                        found.wanted.entry(*inode).or_insert_with(|| path.clone());
                    }
                }
                Selector::Name(name) => {
                    let path = self.path_of(name, &by_name);
                    if let Some(inode) = self.inode(&path) {
                        found.wanted.entry(inode).or_insert(path);
                    }
                }
                Selector::Path(path) => {
                    if let Some(inode) = self.inode(path) {
                        found.wanted.entry(inode).or_insert_with(|| path.clone());
                    }
                }
            }
        }
        found
    }

    fn add_named_and_current(&self, by_name: &BTreeMap<OsString, u32>, found: &mut Found) {
        if let Some(inode) = self.inode(CURRENT) {
            found.wanted.insert(inode, CURRENT.into());
        }
        for (name, inode) in by_name {
            found.wanted.entry(*inode).or_insert_with(|| Path::new(NAMES_DIR).join(name));
        }
    }

    /// Names under [`NAMES_DIR`] that have a namespace. Says of the others, once, that they have
    /// none, when `thorough` finds them for the second time: `ip netns add` needs a moment between
    /// making the file and mounting the namespace on it.
    fn by_name(&mut self, thorough: bool) -> BTreeMap<OsString, u32> {
        let mut alive = BTreeMap::new();
        let mut dead = BTreeMap::new();
        for name in names_in(Path::new(NAMES_DIR)) {
            if let Some(inode) = self.inode(Path::new(NAMES_DIR).join(&name)) {
                alive.insert(name, inode);
                continue;
            }
            let seen = self.dead.get(&name).copied().unwrap_or_default();
            if thorough && seen == 1 {
                let name = name.display();
                log::warn!("{NAMES_DIR}/{name} has no network namespace on it: skipped");
            }
            dead.insert(name, if thorough { (seen + 1).min(2) } else { seen });
        }
        self.dead = dead;
        alive
    }

    /// The inode of the namespace at `path`, when there is one. Of which kind it is shows only when
    /// it is entered.
    fn inode(&self, path: impl AsRef<Path>) -> Option<u32> {
        namespace_inode(&fs::metadata(path).ok()?, self.nsfs)
    }

    fn path_of(&self, name: &str, by_name: &BTreeMap<OsString, u32>) -> PathBuf {
        if name != HOST.1 || by_name.contains_key(OsStr::new(name)) {
            return Path::new(NAMES_DIR).join(name);
        }
        let hidden = self.inode(HOST.0).is_none() && self.inode(CURRENT) == Some(INITIAL);
        if hidden { CURRENT } else { HOST.0 }.into()
    }

    fn walk_processes(&self) -> BTreeMap<u32, PathBuf> {
        let mut found = BTreeMap::new();
        for pid in names_in(Path::new("/proc")) {
            if !pid.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let path = Path::new("/proc").join(pid).join("ns/net");
            if let Some(inode) = self.inode(&path) {
                found.entry(inode).or_insert(path);
            }
        }
        found
    }

    fn check(&self, selector: &Selector, by_name: &BTreeMap<OsString, u32>) -> anyhow::Result<()> {
        match selector {
            Selector::All if self.scope.demands_all() && !may_enter_others() => {
                bail!(
                    "--netns all takes CAP_SYS_ADMIN, to enter other network namespaces; {OR_ROOT}"
                )
            }
            Selector::All => Ok(()),
            Selector::Name(name) if is_out_of_sight(&self.path_of(name, by_name)) => {
                let path = self.path_of(name, by_name);
                let path = path.display();
                bail!(
                    "the network namespace `{name}` ({path}) is another user's: it takes CAP_SYS_PTRACE to \
                     see it and CAP_SYS_ADMIN to enter it; {OR_ROOT}"
                )
            }
            Selector::Name(name) if self.inode(self.path_of(name, by_name)).is_some() => Ok(()),
            Selector::Name(name) => {
                bail!("there is no network namespace named `{name}`; {}", existing(by_name))
            }
            Selector::Path(path) => {
                let shown = path.display();
                match Netns::open(path, None).and_then(|netns| enter(&netns, || ())) {
                    Ok(()) => Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        bail!("{shown} is no network namespace; {}", existing(by_name))
                    }
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(
                        "the network namespace {shown} is not this process' own: it takes CAP_SYS_PTRACE \
                         to see another user's process and CAP_SYS_ADMIN to enter it; {OR_ROOT}"
                    ),
                    Err(error) => bail!(
                        "cannot open the network namespace {shown}: {error}; {}",
                        existing(by_name)
                    ),
                }
            }
        }
    }
}

/// What to do where a namespace may not be entered.
pub(super) const OR_ROOT: &str = "run lasthop as root, or without --netns for what it may see";

/// Whether this thread may enter namespaces that it is not in.
fn may_enter_others() -> bool {
    caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN).unwrap_or(false)
}

/// Whether what is there may not be looked at.
fn is_out_of_sight(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

/// What a wrong `--netns` could have been.
fn existing(by_name: &BTreeMap<OsString, u32>) -> String {
    const SHOWN: usize = 20;
    if by_name.is_empty() {
        return format!("{NAMES_DIR} has none (`host` and `all` always exist)");
    }
    let shown = by_name.keys().take(SHOWN).map(|name| name.to_string_lossy());
    let mut names = shown.collect::<Vec<_>>().join(", ");
    if by_name.len() > SHOWN {
        names = format!("{names} and {} more", by_name.len() - SHOWN);
    }
    format!("{NAMES_DIR} has {names} (`host` and `all` always exist)")
}

/// Names of the entries of `dir`, sorted; none when it does not exist yet.
fn names_in(dir: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}
