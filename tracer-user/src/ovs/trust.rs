//! Who may speak for Open vSwitch and OVN.
//!
//! A process calls itself what it likes, so a name proves nothing. What does: who listens on the
//! socket (`SO_PEERCRED` of `unix(7)`, which the kernel keeps from `listen(2)` on), whether that is
//! root or may change the node's network, and that it is so in lasthop's own user namespace: root of
//! another is anybody who made one.

use std::fs::File;
use std::io::Read as _;
use std::str::FromStr;

use nix::sys::stat::FileStat;
use tokio::net::unix::UCred;

use crate::beneath::Dir;

/// `CAP_NET_ADMIN`, without which nobody has a datapath in the kernel (`GENL_UNS_ADMIN_PERM` of
/// `net/openvswitch/datapath.c`); `ovs-vswitchd --user` keeps it.
const NET_ADMIN: u32 = 12;
/// How much of `/proc/PID/status` is read, bytes.
const STATUS: u32 = 1 << 16;
/// How much of a `comm`: 15 bytes and a line's end.
const COMM: u64 = 64;

/// A process, as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Its number; absent where it is in a process namespace that cannot be seen.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its name.
    pub comm: Option<String>,
    /// Whether it is in lasthop's user namespace; unknown where that may not be seen.
    pub is_near: Option<bool>,
    /// Whether it has `CAP_NET_ADMIN` in its user namespace.
    pub is_net_admin: Option<bool>,
    /// inode of its network namespace.
    pub netns: Option<u32>,
}

impl Who {
    /// Who listens on the other end of a socket.
    pub fn listens(cred: &UCred) -> Self {
        let pid = cred.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let seen = pid.and_then(|pid| Some((pid, Dir::of_process(pid).ok()?)));
        let who = seen.map(|(pid, dir)| Self::of(pid, &dir)).unwrap_or_default();
        // That of the socket is from when it was made, and holds when the number has become another's.
        Self { uid: cred.uid(), ..who }
    }

    /// The process whose `/proc/PID` this is.
    pub fn of(pid: u32, dir: &Dir) -> Self {
        let status = dir.beginning("status", STATUS).unwrap_or_default();
        let status = Status::read(&String::from_utf8_lossy(&status));
        let own = Dir::at("/proc/self".as_ref()).and_then(|own| own.stat_of("ns/user"));
        let theirs = dir.stat_of("ns/user");
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        let netns = dir.stat_of("ns/net").ok().and_then(|ns| u32::try_from(ns.st_ino).ok());
        Self {
            pid: Some(pid),
            // Nobody's, where it cannot be told.
            uid: status.uid.unwrap_or(u32::MAX),
            comm: comm(pid),
            is_near: own.ok().zip(theirs.ok()).map(|(a, b)| same(a, b)),
            is_net_admin: status.capabilities.map(|set| set >> NET_ADMIN & 1 != 0),
            netns,
        }
    }

    /// It may change the network of lasthop's user namespace.
    pub fn has_the_network(&self) -> bool {
        (self.is_near, self.is_net_admin) == (Some(true), Some(true))
    }

    /// Why it is not asked though it is called right; `None`: a directory that it names may be looked at.
    pub fn is_no_daemon(&self) -> Option<&'static str> {
        match (self.is_near, self.is_net_admin) {
            (Some(true), Some(true)) => None,
            (Some(false), _) => Some("it is in another user namespace"),
            (None, _) => Some("lasthop may not look at it (CAP_SYS_PTRACE)"),
            (Some(true), _) => Some("it has no CAP_NET_ADMIN, which a datapath takes"),
        }
    }

    fn label(&self) -> String {
        match self.pid {
            Some(pid) => format!("process {pid} of user {}", self.uid),
            None => format!("a process of user {}", self.uid),
        }
    }
}

/// The name of a process. The file is of the kernel's making: it is there or not.
pub fn comm(pid: u32) -> Option<String> {
    let mut comm = Vec::new();
    let file = File::open(format!("/proc/{pid}/comm")).ok()?;
    file.take(COMM).read_to_end(&mut comm).ok()?;
    Some(String::from_utf8_lossy(comm.trim_ascii_end()).into_owned())
}

/// Lines of `/proc/PID/status`.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    /// The effective one.
    uid: Option<u32>,
    /// The effective set.
    capabilities: Option<u64>,
}

impl Status {
    fn read(text: &str) -> Self {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let uid = line("Uid:").and_then(|ids| u32::from_str(ids.split_whitespace().nth(1)?).ok());
        let set = line("CapEff:").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        Self { uid, capabilities: set }
    }
}

/// Whom a socket is taken for genuine from, beside root and lasthop's own user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The owner of its directory, where root put that there, or named it.
    pub owner: Option<u32>,
    /// That owner may be in another user namespace: root named the directory.
    pub anywhere: bool,
    /// The user whom `ovs-vswitchd` was seen to run as: its database's too.
    pub daemon: Option<u32>,
    /// Whoever may change the node's network.
    pub network: bool,
}

impl Trust {
    /// Why `who` is not asked.
    ///
    /// # Errors
    /// That.
    pub fn check(&self, who: &Who) -> Result<(), String> {
        let is_owner = self.owner == Some(who.uid);
        if who.is_near == Some(false) && !(is_owner && self.anywhere) {
            return Err(format!("{} listens, in another user namespace", who.label()));
        }
        let own = nix::unistd::geteuid().as_raw();
        let is_known = who.uid == 0 || who.uid == own || is_owner || self.daemon == Some(who.uid);
        if is_known || (self.network && who.has_the_network()) {
            return Ok(());
        }
        Err(format!("{} listens, who is neither root nor the owner of Open vSwitch", who.label()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(uid: u32, is_near: bool, is_net_admin: bool) -> Who {
        let (is_near, is_net_admin) = (Some(is_near), Some(is_net_admin));
        Who { pid: Some(7), uid, is_near, is_net_admin, ..Who::default() }
    }

    #[test]
    fn who_has_the_network_may_speak_whatever_its_user() {
        let control = Trust { network: true, ..Trust::default() };
        assert_eq!(control.check(&who(992, true, true)), Ok(()));
        assert_eq!(control.check(&who(0, true, false)), Ok(()));
        let stranger = control.check(&who(65_534, true, false)).unwrap_err();
        assert!(stranger.starts_with("process 7 of user 65534 listens, who"), "{stranger}");
        // Its database has no capabilities.
        let database = Trust { daemon: Some(992), ..Trust::default() };
        assert_eq!(database.check(&who(992, true, false)), Ok(()));
        assert!(database.check(&who(993, true, true)).is_err());
    }

    #[test]
    fn root_of_another_user_namespace_is_anybody() {
        for uid in [0, 992, 100_000] {
            let control = Trust { network: true, owner: Some(uid), ..Trust::default() };
            let why = control.check(&who(uid, false, true)).unwrap_err();
            assert!(why.contains("another user namespace"), "{why}");
            let named = Trust { anywhere: true, ..control };
            assert_eq!(named.check(&who(uid, false, true)), Ok(()));
            assert!(named.check(&who(uid + 1, false, true)).is_err());
        }
    }

    #[test]
    fn of_whom_nothing_is_seen_the_user_decides() {
        let hidden = |uid| Who { uid, ..Who::default() };
        let control = Trust { network: true, owner: Some(992), ..Trust::default() };
        assert_eq!(control.check(&hidden(992)), Ok(()));
        assert!(control.check(&hidden(993)).unwrap_err().starts_with("a process of user 993"));
    }

    #[test]
    fn this_process_is_read_as_it_is() {
        let pid = std::process::id();
        let own = Who::of(pid, &Dir::of_process(pid).unwrap());
        assert_eq!((own.uid, own.is_near), (nix::unistd::geteuid().as_raw(), Some(true)));
        let may = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN);
        assert_eq!(own.is_net_admin, Some(may.unwrap()));
        assert!(own.netns.is_some() && own.comm.is_some());
        let read = Status::read("Uid:\t1\t2\t3\t4\nCapEff:\t0000000000001000\n");
        assert_eq!(read, Status { uid: Some(2), capabilities: Some(0x1000) });
        assert_eq!(Status::read("Uid:\nCapEff: x"), Status { uid: None, capabilities: None });
    }
}
