//! Where Open vSwitch lives on this node: its run directory, its process, its sockets.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::rpc::{self, Error};

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
const PIDFILE: &str = "ovs-vswitchd.pid";
/// The daemon's name, for messages too.
const DAEMON: &str = "ovs-vswitchd";

/// A running `ovs-vswitchd`, as far as its files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its run directory.
    pub rundir: PathBuf,
    /// The socket that `ovs-appctl` talks to.
    pub control: PathBuf,
    /// The database's socket, where it is in the same directory.
    pub db: PathBuf,
    /// inode of the network namespace that it runs in, and so of its datapath.
    pub netns: Option<u32>,
}

impl Home {
    /// The first that is there: `OVS_RUNDIR`, the usual places, then the run directories of processes
    /// of that name, which may be in a container.
    pub fn find() -> Option<Self> {
        if let Some(dir) = std::env::var_os("OVS_RUNDIR").filter(|dir| !dir.is_empty()) {
            return Self::at(Path::new(&dir));
        }
        let usual = USUAL.iter().map(PathBuf::from);
        usual.chain(of_processes()).find_map(|dir| Self::at(&dir))
    }

    /// The one of this run directory. What has a process's file but no process has ended.
    pub fn at(rundir: &Path) -> Option<Self> {
        let pid: u32 = fs::read_to_string(rundir.join(PIDFILE)).ok()?.trim().parse().ok()?;
        let control = rundir.join(format!("{DAEMON}.{pid}.ctl"));
        // A container counts its processes by itself: the number may be another's out here.
        let is_it = comm(pid).is_some_and(|name| name == DAEMON);
        let netns = is_it.then(|| netns_of(pid)).flatten();
        control.exists().then(|| Self {
            rundir: rundir.to_owned(),
            control,
            db: rundir.join("db.sock"),
            netns,
        })
    }

    /// Runs a command as `ovs-appctl` does; its text.
    pub async fn appctl(&self, command: &str, arguments: &[&str]) -> Result<String, Error> {
        match rpc::unix(DAEMON, &self.control, command, json!(arguments)).await? {
            Value::String(text) => Ok(text),
            _ => Err(Error::Garbled(DAEMON.to_owned())),
        }
    }

    /// All rows of some columns of a table of its database.
    pub async fn table(&self, table: &str, columns: &[&str]) -> Result<Vec<Value>, Error> {
        let select = json!({"op": "select", "table": table, "where": [], "columns": columns});
        let params = json!(["Open_vSwitch", select]);
        let whom = "ovsdb-server";
        let mut answer = rpc::unix(whom, &self.db, "transact", params).await?;
        match answer[0]["rows"].take() {
            Value::Array(rows) => Ok(rows),
            _ => Err(Error::Garbled(whom.to_owned())),
        }
    }
}

fn comm(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

fn netns_of(pid: u32) -> Option<u32> {
    u32::try_from(fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.ino()).ok()
}

/// Run directories as processes called `ovs-vswitchd` see them.
fn of_processes() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let daemons = pids.filter(|pid| comm(*pid).is_some_and(|name| name == DAEMON));
    daemons.flat_map(dirs_of).collect()
}

fn dirs_of(pid: u32) -> Vec<PathBuf> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let inside = |dir: &str| root.join(dir.trim_start_matches('/'));
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let named = environ
        .split(|b| *b == 0)
        .filter_map(|var| std::str::from_utf8(var).ok()?.strip_prefix("OVS_RUNDIR="))
        .map(inside);
    named.chain(USUAL.iter().map(|dir| inside(dir))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_has_a_process_and_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Home::at(dir.path()), None);
        fs::write(dir.path().join(PIDFILE), "4194400\n").unwrap();
        assert_eq!(Home::at(dir.path()), None, "no socket");
        fs::write(dir.path().join("ovs-vswitchd.4194400.ctl"), "").unwrap();
        let home = Home::at(dir.path()).unwrap();
        assert_eq!(home.control, dir.path().join("ovs-vswitchd.4194400.ctl"));
        assert_eq!(home.db, dir.path().join("db.sock"));
        assert_eq!(home.netns, None, "no such process");
        fs::write(dir.path().join(PIDFILE), "nonsense").unwrap();
        assert_eq!(Home::at(dir.path()), None);
    }
}
