//! Open vSwitch on this node: its run directory, its process, its sockets, as far as they can be
//! trusted ([`super::trust`]).

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::answer::{Row, SHORT};
use super::find::{Candidate, control_name};
use super::rpc::{Address, Error, Server};
use super::trust::Trust;
use crate::beneath::{Dir, Socket};

/// The daemon's name, for messages too.
pub const DAEMON: &str = "ovs-vswitchd";
const DATABASE: &str = "ovsdb-server";
const DATABASE_SOCKET: &str = "db.sock";

/// A running `ovs-vswitchd`.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its run directory.
    pub rundir: PathBuf,
    /// inode of the network namespace that it runs in, and so of its datapath.
    pub netns: Option<u32>,
    /// Somebody listens there.
    pub is_alive: bool,
    /// The root directory that its paths begin at.
    root: Arc<Dir>,
    dir: Arc<Dir>,
    /// The name of the socket that `ovs-appctl` talks to.
    name: String,
    socket: Arc<Socket>,
    control: Server,
    /// Who may speak for its database.
    trust: Trust,
}

impl Home {
    /// Connects to it, and looks at who listens there.
    ///
    /// # Errors
    /// That is not who may speak for it.
    pub async fn of(found: Candidate) -> Result<Self, Error> {
        let Candidate { rundir, root, dir, name, socket, owner, anywhere } = found;
        let trust = Trust { owner, anywhere, daemon: None, network: true };
        let at = Address::Unix(socket.clone(), trust.clone());
        let control = Server { name: DAEMON, at };
        let who = match control.connect().await {
            Ok((_, who)) => who,
            Err(e @ Error::Distrusted(..)) => return Err(e),
            // It has ended, or has so much to do that none may queue. Nothing is asked of it by this.
            Err(_) => None,
        };
        let daemon = who.as_ref().map(|who| who.uid);
        // Who hands the socket on for it is in a namespace of its own.
        let is_it = |name: &String| name == DAEMON;
        let itself = who.filter(|who| who.comm.as_ref().is_some_and(is_it));
        let trust = Trust { daemon, network: false, ..trust };
        let netns = itself.and_then(|who| who.netns);
        let is_alive = daemon.is_some();
        Ok(Self { rundir, netns, is_alive, root, dir, name, socket, control, trust })
    }

    /// It has not been started again: its process and its socket are still those that they were.
    pub fn is_there(&self) -> bool {
        control_name(&self.dir).is_ok_and(|name| name == self.name)
            && self.dir.socket(&self.name).is_ok_and(|socket| socket.is(&self.socket))
    }

    /// The root directory that its paths begin at.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// Runs a command as `ovs-appctl` does; its text.
    pub async fn appctl(&self, command: &str, arguments: &[&str]) -> Result<String, Error> {
        self.control.call(command, command, json!(arguments), SHORT).await
    }

    /// All rows of some columns of a table of its database.
    pub async fn table<R: Row + Send + 'static>(
        &self,
        table: &str,
        columns: &[&str],
    ) -> Result<Vec<R>, Error> {
        let unreachable = |e: std::io::Error| {
            let at = self.rundir.join(DATABASE_SOCKET);
            Error::Unreachable(DATABASE.to_owned(), format!("{}: {e}", at.display()))
        };
        let socket = self.dir.socket(DATABASE_SOCKET).map_err(unreachable)?;
        let at = Address::Unix(Arc::new(socket), self.trust.clone());
        let database = Server { name: DATABASE, at };
        database.table("Open_vSwitch", table, columns).await
    }

    /// The one of this run directory, whoever named it.
    #[cfg(test)]
    pub async fn at(rundir: &std::path::Path) -> Option<Self> {
        Self::of(Candidate::named(rundir).ok()??).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_home_is_who_listens_on_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Home::at(dir.path()).await.is_none());
        fs::write(dir.path().join("ovs-vswitchd.pid"), "4194400\n").unwrap();
        assert!(Home::at(dir.path()).await.is_none(), "no socket");
        let control = dir.path().join("ovs-vswitchd.4194400.ctl");
        let listener = UnixListener::bind(&control).unwrap();
        let home = Home::at(dir.path()).await.unwrap();
        assert_eq!(home.trust.daemon, Some(nix::unistd::geteuid().as_raw()));
        assert_eq!(home.netns, None, "it is not called so");
        assert!(home.is_there());
        drop(listener);
        let dead = Home::at(dir.path()).await.unwrap();
        assert_eq!(dead.trust.daemon, None);
        let why = dead.appctl("version", &[]).await.unwrap_err().to_string();
        assert!(why.starts_with("ovs-vswitchd cannot be reached ("), "{why}");
        let why = dead.table::<Nothing>("Bridge", &[]).await.unwrap_err().to_string();
        assert!(why.starts_with("ovsdb-server cannot be reached ("), "{why}");
        fs::remove_file(&control).unwrap();
        let _another = UnixListener::bind(&control).unwrap();
        assert!(!home.is_there());
    }

    #[derive(Debug, serde::Deserialize)]
    struct Nothing {}

    impl Row for Nothing {
        const MAX: usize = 1;
    }
}
