//! From a rule's cookie to OVN's logical flow and to the ACL that it was made of.
//!
//! `ovn-controller` gives each rule the first 32 bits of its logical flow's UUID as a cookie, and
//! `ovn-northd` notes in a logical flow's `stage-hint` the first 32 bits of the UUID of the northbound
//! row that it was made of (`ovn-sb(5)`, table `Logical_Flow`).

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::answer::{Row, SHORT};
use super::columns::{Atoms, Texts, Uuid};
use super::find::Finder;
use super::rpc::{Address, Error, Server};
use super::trust::Trust;
use crate::beneath::Dir;
use tracer_core::record::{Acl, LogicalFlow};

/// Where the databases' sockets are.
const USUAL: &[&str] = &[
    "/var/run/ovn",
    "/run/ovn",
    "/var/run/openvswitch",
    "/usr/local/var/run/ovn",
    "/var/lib/ovn",
    "/var/snap/microovn/common/run/ovn",
    "/var/run/ovn-ic",
];
/// How much of a match or of actions is told, bytes: those of a load balancer name each backend.
const MAX_TEXT: usize = 8192;

/// One of OVN's databases.
struct Database {
    name: &'static str,
    socket: &'static str,
    variable: &'static str,
}

const SOUTH: Database =
    Database { name: "OVN_Southbound", socket: "ovnsb_db.sock", variable: "OVN_SB_DB" };
const NORTH: Database =
    Database { name: "OVN_Northbound", socket: "ovnnb_db.sock", variable: "OVN_NB_DB" };

/// The first 32 bits of a UUID; `None` for a cookie that is none.
pub fn uuid_start(cookie: &str) -> Option<u32> {
    let number = u64::from_str_radix(cookie.strip_prefix("0x")?, 16).ok()?;
    u32::try_from(number).ok().filter(|n| *n != 0)
}

/// Where the southbound database is, if one is in reach.
///
/// # Errors
/// It is not to be asked.
pub async fn southbound(finder: &Finder) -> Result<Option<String>, Error> {
    match SOUTH.remote(finder).await? {
        Some((at, server)) => server.connect().await.map(|_| Some(at)),
        None => Ok(None),
    }
}

/// The logical flow whose UUID begins with `start`, and its ACL where it has one that can be found.
/// `None`: there is no such flow, or no database in reach.
pub async fn look_up(
    finder: &Finder,
    start: u32,
) -> Result<Option<(LogicalFlow, Option<Acl>)>, Error> {
    let Some((_, south)) = SOUTH.remote(finder).await? else { return Ok(None) };
    // What cannot be asked there is left out: the flow is found.
    let north = NORTH.remote(finder).await.ok().flatten();
    look_up_at(&south, north.map(|(_, north)| north).as_ref(), start).await
}

async fn look_up_at(
    south: &Server,
    north: Option<&Server>,
    start: u32,
) -> Result<Option<(LogicalFlow, Option<Acl>)>, Error> {
    let Some(uuid) = SOUTH.uuid(south, "Logical_Flow", start).await? else { return Ok(None) };
    let row = SOUTH.row::<FlowRow>(south, "Logical_Flow", uuid).await?;
    let Some(mut row) = row else { return Ok(None) };
    let (datapath, hints) = (row.logical_datapath.first(), std::mem::take(&mut row.external_ids));
    let mut flow = row.logical_flow(uuid, &hints);
    if let Some(datapath) = datapath {
        let binding = SOUTH.row::<BindingRow>(south, "Datapath_Binding", datapath).await?;
        flow.datapath = binding.and_then(|row| row.external_ids.value("name").map(str::to_owned));
    }
    let hint = hints.value("stage-hint").and_then(|hint| u32::from_str_radix(hint, 16).ok());
    let acl = match (hint, north) {
        // Hints of other stages are of other tables.
        (Some(hint), Some(north)) => acl_of(north, hint).await.unwrap_or_default(),
        _ => None,
    };
    Ok(Some((flow, acl)))
}

async fn acl_of(north: &Server, hint: u32) -> Result<Option<Acl>, Error> {
    let Some(uuid) = NORTH.uuid(north, "ACL", hint).await? else { return Ok(None) };
    Ok(NORTH.row::<AclRow>(north, "ACL", uuid).await?.map(|row| row.acl(uuid)))
}

impl Database {
    /// How it is reached, as it is configured (`unix:PATH` or `tcp:HOST:PORT`), and who is there.
    async fn remote(&self, finder: &Finder) -> Result<Option<(String, Server)>, Error> {
        let root = || Dir::at(Path::new("/")).map_err(|e| self.unreachable("/", &e));
        if let Ok(remotes) = std::env::var(self.variable) {
            let Some(remote) = reachable(&remotes) else { return Ok(None) };
            let server = self.server(&root()?, &remote, true)?;
            return Ok(Some((remote, server)));
        }
        let (own, mut refused) = (root()?, None);
        for dir in USUAL {
            let remote = format!("unix:{dir}/{}", self.socket);
            match self.server(&own, &remote, false) {
                Ok(server) => return Ok(Some((remote, server))),
                Err(e @ Error::Distrusted(..)) => refused = refused.or(Some(e)),
                Err(_) => {}
            }
        }
        // A chassis knows its southbound database.
        if self.name == SOUTH.name
            && let Ok(home) = finder.find().await
            && let Ok(rows) = home.table::<ChassisRow>("Open_vSwitch", &["external_ids"]).await
            && let Some(remotes) = rows.first().and_then(|row| row.external_ids.value("ovn-remote"))
            && let Some(remote) = reachable(remotes)
        {
            let server = self.server(home.root(), &remote, false)?;
            return Ok(Some((remote, server)));
        }
        refused.map_or(Ok(None), Err)
    }

    /// `told`: lasthop itself was told this remote.
    fn server(&self, root: &Dir, remote: &str, told: bool) -> Result<Server, Error> {
        let Some(path) = remote.strip_prefix("unix:").map(Path::new) else {
            let at = Address::Tcp(remote.trim_start_matches("tcp:").to_owned());
            return Ok(Server { name: self.name, at });
        };
        let unreachable = |e: std::io::Error| self.unreachable(remote, &e);
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let above = path.parent().unwrap_or(Path::new("/"));
        let dir = if told { Dir::at(above) } else { root.enter(above) };
        let dir = dir.map_err(unreachable)?;
        let socket = dir.socket(file).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => {
                Error::Distrusted(self.name.to_owned(), format!("{remote}: {e}"))
            }
            _ => unreachable(e),
        })?;
        let owner = dir.stat().map_err(unreachable)?.st_uid;
        let trust = Trust {
            owner: (told || dir.is_roots_to_give()).then_some(owner),
            anywhere: told,
            ..Trust::default()
        };
        Ok(Server { name: self.name, at: Address::Unix(Arc::new(socket), trust) })
    }

    fn unreachable(&self, at: &str, error: &std::io::Error) -> Error {
        Error::Unreachable(self.name.to_owned(), format!("{at}: {error}"))
    }

    /// The UUID of the one row that begins like this.
    async fn uuid(&self, at: &Server, table: &str, start: u32) -> Result<Option<Uuid>, Error> {
        let rows: Vec<UuidRow> = at.table(self.name, table, &["_uuid"]).await?;
        let mut found = rows.iter().map(|row| row.uuid).filter(|uuid| uuid.start() == start);
        // Of two that begin alike neither is taken.
        Ok(found.next().filter(|_| found.next().is_none()))
    }

    async fn row<R: Row + Send + 'static>(
        &self,
        at: &Server,
        table: &str,
        uuid: Uuid,
    ) -> Result<Option<R>, Error> {
        let condition = json!({"where": [["_uuid", "==", ["uuid", uuid.to_string()]]]});
        let rows: Vec<R> = at.select(self.name, table, condition, SHORT).await?;
        Ok(rows.into_iter().next())
    }
}

/// The first of several remotes (`tcp:10.0.0.1:6642,ssl:…`) that can be spoken to without keys.
fn reachable(remotes: &str) -> Option<String> {
    let known = |remote: &&str| remote.starts_with("unix:") || remote.starts_with("tcp:");
    remotes.split(',').map(str::trim).find(known).map(str::to_owned)
}

#[derive(Deserialize)]
struct UuidRow {
    #[serde(rename = "_uuid")]
    uuid: Uuid,
}

#[derive(Deserialize)]
struct ChassisRow {
    external_ids: Texts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BindingRow {
    external_ids: Texts,
}

/// What older schemas lack is left out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct FlowRow {
    logical_datapath: Atoms<Uuid>,
    pipeline: String,
    table_id: Atoms<u32>,
    priority: Atoms<u32>,
    r#match: String,
    actions: String,
    external_ids: Texts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AclRow {
    name: Atoms<String>,
    direction: String,
    priority: Atoms<u32>,
    r#match: String,
    action: String,
}

impl Row for UuidRow {
    const MAX: usize = 1 << 20;
}

/// Those that are asked for are one.
macro_rules! single {
    ($($row:ty),*) => { $(impl Row for $row {
        const MAX: usize = 16;
    })* };
}
single!(ChassisRow, BindingRow, FlowRow, AclRow);

impl FlowRow {
    fn logical_flow(self, uuid: Uuid, hints: &Texts) -> LogicalFlow {
        LogicalFlow {
            uuid: uuid.to_string(),
            pipeline: cut(self.pipeline),
            table: self.table_id.first().unwrap_or_default(),
            stage: hints.value("stage-name").map(|stage| cut(stage.to_owned())),
            datapath: None,
            priority: self.priority.first().unwrap_or_default(),
            r#match: cut(self.r#match),
            actions: cut(self.actions),
        }
    }
}

impl AclRow {
    fn acl(self, uuid: Uuid) -> Acl {
        Acl {
            uuid: uuid.to_string(),
            name: self.name.first().map(cut),
            direction: cut(self.direction),
            priority: self.priority.first().unwrap_or_default(),
            r#match: cut(self.r#match),
            action: cut(self.action),
        }
    }
}

/// The beginning of a text, with a sign where it is not whole.
fn cut(text: String) -> String {
    tracer_core::ovs::pipeline::cut(&text, MAX_TEXT).unwrap_or(text)
}

pub(crate) mod fuzzing;

#[cfg(test)]
mod tests;
