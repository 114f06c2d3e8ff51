//! From a rule's cookie to OVN's logical flow and to the ACL that it was made of.
//!
//! `ovn-controller` gives each rule the first 32 bits of its logical flow's UUID as a cookie, and
//! `ovn-northd` notes in a logical flow's `stage-hint` the first 32 bits of the UUID of the northbound
//! row that it was made of (`ovn-sb(5)`, table `Logical_Flow`).

use std::path::Path;

use serde_json::{Value, json};

use super::home::Home;
use super::rpc::{self, Error};
use crate::model::{Acl, LogicalFlow};

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

/// The first 32 bits of a UUID, as hex; `None` for a cookie that is none.
pub fn uuid_start(cookie: &str) -> Option<String> {
    let number = u64::from_str_radix(cookie.strip_prefix("0x")?, 16).ok()?;
    let number = u32::try_from(number).ok().filter(|n| *n != 0)?;
    Some(format!("{number:08x}"))
}

/// Where the southbound database is, if one is in reach.
pub async fn southbound() -> Option<String> {
    SOUTH.remote().await
}

/// The logical flow whose UUID begins with `start`, and its ACL where it has one that can be found.
/// `None`: there is no such flow, or no database in reach.
pub async fn look_up(start: String) -> Result<Option<(LogicalFlow, Option<Acl>)>, Error> {
    match SOUTH.remote().await {
        Some(south) => look_up_at(&south, NORTH.remote().await.as_deref(), &start).await,
        None => Ok(None),
    }
}

async fn look_up_at(
    south: &str,
    north: Option<&str>,
    start: &str,
) -> Result<Option<(LogicalFlow, Option<Acl>)>, Error> {
    let Some(uuid) = SOUTH.uuid(south, "Logical_Flow", start).await? else { return Ok(None) };
    let Some(row) = SOUTH.row(south, "Logical_Flow", &uuid).await? else { return Ok(None) };
    let mut flow = logical_flow(&row, &uuid);
    if let Some(datapath) = reference(&row["logical_datapath"]) {
        let binding = SOUTH.row(south, "Datapath_Binding", &datapath).await?;
        flow.datapath = binding.and_then(|row| map_value(&row["external_ids"], "name"));
    }
    let acl = match (map_value(&row["external_ids"], "stage-hint"), north) {
        // Hints of other stages are of other tables. What cannot be asked there is left out: the
        // flow is found.
        (Some(hint), Some(north)) => acl_of(north, &hint).await.unwrap_or_default(),
        _ => None,
    };
    Ok(Some((flow, acl)))
}

async fn acl_of(north: &str, hint: &str) -> Result<Option<Acl>, Error> {
    let Some(uuid) = NORTH.uuid(north, "ACL", hint).await? else { return Ok(None) };
    Ok(NORTH.row(north, "ACL", &uuid).await?.map(|row| acl(&row, &uuid)))
}

impl Database {
    /// How it is reached: `unix:PATH` or `tcp:HOST:PORT`.
    async fn remote(&self) -> Option<String> {
        if let Ok(remotes) = std::env::var(self.variable) {
            return reachable(&remotes);
        }
        let socket = USUAL.iter().map(|dir| Path::new(dir).join(self.socket));
        if let Some(path) = socket.into_iter().find(|path| path.exists()) {
            return Some(format!("unix:{}", path.display()));
        }
        // A chassis knows its southbound database.
        let home = Home::find().filter(|_| self.name == SOUTH.name)?;
        let rows = home.table("Open_vSwitch", &["external_ids"]).await.ok()?;
        reachable(&map_value(&rows.first()?["external_ids"], "ovn-remote")?)
    }

    async fn call(&self, remote: &str, operation: Value) -> Result<Value, Error> {
        let params = json!([self.name, operation]);
        let mut answer = match remote.split_once(':') {
            Some(("unix", path)) => {
                rpc::unix(self.name, Path::new(path), "transact", params).await?
            }
            _ => rpc::tcp(self.name, remote.trim_start_matches("tcp:"), "transact", params).await?,
        };
        Ok(answer[0]["rows"].take())
    }

    /// The UUID of the one row that begins like this.
    async fn uuid(&self, remote: &str, table: &str, start: &str) -> Result<Option<String>, Error> {
        let all = json!({"op": "select", "table": table, "where": [], "columns": ["_uuid"]});
        let rows = self.call(remote, all).await?;
        let found =
            rows.as_array().into_iter().flatten().filter_map(|row| reference(&row["_uuid"]));
        let mut found = found.filter(|uuid| uuid.starts_with(start));
        // Of two that begin alike neither is taken.
        Ok(found.next().filter(|_| found.next().is_none()))
    }

    async fn row(&self, remote: &str, table: &str, uuid: &str) -> Result<Option<Value>, Error> {
        let condition = json!([["_uuid", "==", ["uuid", uuid]]]);
        let select = json!({"op": "select", "table": table, "where": condition});
        Ok(self.call(remote, select).await?.get_mut(0).map(Value::take))
    }
}

/// The first of several remotes (`tcp:10.0.0.1:6642,ssl:…`) that can be spoken to without keys.
fn reachable(remotes: &str) -> Option<String> {
    let known = |remote: &&str| remote.starts_with("unix:") || remote.starts_with("tcp:");
    remotes.split(',').map(str::trim).find(known).map(str::to_owned)
}

/// A reference to a row: `["uuid", "…"]`, alone or as the only member of a set.
fn reference(value: &Value) -> Option<String> {
    match (value[0].as_str()?, &value[1]) {
        ("uuid", Value::String(uuid)) => Some(uuid.clone()),
        ("set", Value::Array(members)) => reference(members.first()?),
        _ => None,
    }
}

/// The value of a key in `["map", [["key", "value"], …]]` (RFC 7047, 5.1).
pub fn map_value(map: &Value, key: &str) -> Option<String> {
    let pairs = map[1].as_array()?.iter();
    pairs.filter(|pair| pair[0] == key).find_map(|pair| Some(pair[1].as_str()?.to_owned()))
}

fn logical_flow(row: &Value, uuid: &str) -> LogicalFlow {
    LogicalFlow {
        uuid: uuid.to_owned(),
        pipeline: text(&row["pipeline"]),
        table: number(&row["table_id"]),
        stage: map_value(&row["external_ids"], "stage-name"),
        datapath: None,
        priority: number(&row["priority"]),
        r#match: text(&row["match"]),
        actions: text(&row["actions"]),
    }
}

fn acl(row: &Value, uuid: &str) -> Acl {
    Acl {
        uuid: uuid.to_owned(),
        name: row["name"].as_str().map(str::to_owned),
        direction: text(&row["direction"]),
        priority: number(&row["priority"]),
        r#match: text(&row["match"]),
        action: text(&row["action"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
