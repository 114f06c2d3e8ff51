//! Which VLAN a frame is in on a bridge that switches normally, and which ports are in it too: from
//! the columns `tag`, `trunks` and `vlan_mode` of the database's table `Port`.

use std::collections::HashSet;

use serde::Deserialize;

use super::answer::Row;
use super::columns::{Atoms, Uuid};
use super::ports::MAX_ROWS;
use crate::ovs::home::Home;
use crate::ovs::ports::BridgeRow;
use crate::ovs::rpc::Error;
use tracer_core::record::{OvsVlan, OvsVlanPort};

/// How many ports are named of each kind.
const NAMED: usize = 8;

/// What `ovs-vswitchd.conf.db(5)` says of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    tag: Option<u16>,
    trunks: Vec<u16>,
    mode: Option<String>,
}

impl Port {
    fn of(row: &PortRow) -> Self {
        Self {
            name: row.name.clone(),
            tag: row.tag.first(),
            trunks: row.trunks.0.clone(),
            mode: row.vlan_mode.first(),
        }
    }

    /// Without a mode of its own a port with a tag is an access port, any other a trunk.
    fn mode(&self) -> &str {
        let default = if self.tag.is_some() { "access" } else { "trunk" };
        self.mode.as_deref().unwrap_or(default)
    }

    /// The VLAN that it puts a frame in which has this tag, or none. `None`: it takes no such frame, or
    /// what it does with it is not for its tag to say.
    fn puts_in(&self, tagged: Option<u16>) -> Option<u16> {
        match (self.mode(), tagged) {
            ("access" | "native-tagged" | "native-untagged", None) => self.tag,
            ("trunk", None) => Some(0),
            ("trunk" | "native-tagged" | "native-untagged", Some(tag)) if self.is_in(tag) => {
                Some(tag)
            }
            _ => None,
        }
    }

    /// Whether frames of the VLAN leave by it.
    fn is_in(&self, vlan: u16) -> bool {
        match self.mode() {
            "access" | "dot1q-tunnel" => self.tag == Some(vlan),
            "trunk" => self.trunks.is_empty() || self.trunks.contains(&vlan),
            _ => self.tag == Some(vlan) || self.trunks.is_empty() || self.trunks.contains(&vlan),
        }
    }
}

/// Asks the database about a frame that came into the bridge by this device, with this tag. `None` where
/// its VLAN is not known, or where it does not explain that the frame went nowhere: ports besides the
/// bridge's own are in it.
pub async fn ask(
    home: &Home,
    bridge: &str,
    in_port: &str,
    tagged: Option<u16>,
) -> Result<Option<OvsVlan>, Error> {
    let interfaces = home.table("Interface", &["_uuid", "name"]).await?;
    let columns = ["_uuid", "name", "interfaces", "tag", "trunks", "vlan_mode"];
    let ports = home.table("Port", &columns).await?;
    let bridges = home.table("Bridge", &["name", "ports"]).await?;
    Ok(explain(&Rows { interfaces, ports, bridges }, bridge, in_port, tagged))
}

/// Rows of the three tables.
struct Rows {
    interfaces: Vec<InterfaceRow>,
    ports: Vec<PortRow>,
    bridges: Vec<BridgeRow>,
}

#[derive(Deserialize)]
struct InterfaceRow {
    #[serde(rename = "_uuid")]
    uuid: Uuid,
    name: String,
}

#[derive(Deserialize)]
struct PortRow {
    #[serde(rename = "_uuid")]
    uuid: Uuid,
    name: String,
    interfaces: Atoms<Uuid>,
    tag: Atoms<u16>,
    trunks: Atoms<u16>,
    vlan_mode: Atoms<String>,
}

impl Row for InterfaceRow {
    const MAX: usize = MAX_ROWS;
}

impl Row for PortRow {
    const MAX: usize = MAX_ROWS;
}

fn explain(rows: &Rows, bridge: &str, in_port: &str, tagged: Option<u16>) -> Option<OvsVlan> {
    let device = rows.interfaces.iter().find(|row| row.name == in_port)?.uuid;
    let members = &rows.bridges.iter().find(|row| row.name == bridge)?.ports.0;
    let members: HashSet<_> = members.iter().collect();
    let has_device = |row: &&PortRow| row.interfaces.0.contains(&device);
    let of_bridge = || rows.ports.iter().filter(|row| members.contains(&row.uuid));
    let entered = of_bridge().find(has_device).map(Port::of)?;
    let id = entered.puts_in(tagged)?;
    let others = of_bridge().filter(|row| !has_device(row)).map(Port::of);
    let (inside, outside): (Vec<_>, Vec<_>) = others.partition(|port| port.is_in(id));
    if inside.iter().any(|port| port.name != bridge) {
        return None;
    }
    let of = |port: Port| OvsVlanPort { port: port.name, tag: port.tag, trunks: port.trunks };
    Some(OvsVlan {
        id,
        port: entered.name.clone(),
        tag: entered.tag,
        inside: inside.into_iter().map(|port| port.name).take(NAMED).collect(),
        outside: outside.into_iter().map(of).take(NAMED).collect(),
    })
}

pub(crate) mod fuzzing;

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn rows(c: &Value, s: &Value) -> Rows {
        let uuid = |n: u32| json!(["uuid", format!("{n:08x}-0000-0000-0000-000000000000")]);
        let port = |n: u32, name: &str, set: &Value| {
            let none = json!(["set", []]);
            let or_none = |key: &str| set.get(key).unwrap_or(&none).clone();
            json!({"_uuid": uuid(n + 10), "name": name, "interfaces": uuid(n), "tag": or_none("tag"),
                   "trunks": or_none("trunks"), "vlan_mode": or_none("vlan_mode")})
        };
        let names = ["br0", "p-c", "p-s"];
        let interfaces = names.iter().zip(1..).map(|(n, i)| json!({"_uuid": uuid(i), "name": n}));
        let ports = [port(1, "br0", &json!({})), port(2, "p-c", c), port(3, "p-s", s)];
        let bridge = json!({"name": "br0", "ports": ["set", [uuid(11), uuid(12), uuid(13)]]});
        Rows {
            interfaces: interfaces.map(|row| from_value(row).unwrap()).collect(),
            ports: ports.map(|row| from_value(row).unwrap()).into(),
            bridges: vec![from_value(bridge).unwrap()],
        }
    }

    #[test]
    fn an_access_port_puts_a_frame_in_its_vlan() {
        let rows = rows(&json!({"tag": 10}), &json!({"tag": 20}));
        let found = explain(&rows, "br0", "p-c", None).unwrap();
        assert_eq!((found.id, found.port.as_str(), found.tag), (10, "p-c", Some(10)));
        assert_eq!(found.inside, ["br0"]);
        assert_eq!((found.outside.len(), found.outside[0].tag), (1, Some(20)));
        // It takes no tagged frame, and another bridge knows nothing of the port.
        assert_eq!(explain(&rows, "br0", "p-c", Some(10)), None);
        assert_eq!(explain(&rows, "br1", "p-c", None), None);
    }

    #[test]
    fn where_others_are_in_the_vlan_it_explains_nothing() {
        for (tag, c, s, id) in [
            (None, json!({"tag": 10}), json!({"tag": 10}), None),
            (None, json!({"tag": 10}), json!({}), None),
            (None, json!({"tag": 10}), json!({"trunks": ["set", [10, 11]]}), None),
            (None, json!({"tag": 10}), json!({"trunks": 11}), Some(10)),
            (Some(5), json!({}), json!({"tag": 6}), Some(5)),
            (Some(5), json!({"trunks": 7}), json!({"tag": 6}), None),
            (None, json!({}), json!({"tag": 6}), Some(0)),
            (None, json!({"tag": 3, "vlan_mode": "native-untagged"}), json!({"tag": 6}), Some(3)),
        ] {
            let found = explain(&rows(&c, &s), "br0", "p-c", tag);
            assert_eq!(found.map(|v| v.id), id, "{tag:?} {c} {s}");
        }
    }
}
