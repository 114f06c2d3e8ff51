//! What people call the ports: bridge, `OpenFlow` port number, bond. From Open vSwitch's database,
//! followed while tracing; a node without Open vSwitch is asked nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::home::Home;
use super::rpc::Error;
use crate::model::{Dev, Hop};

/// How long the start of a trace waits for the names: the first packets should have them.
const FIRST: Duration = Duration::from_millis(500);
/// How soon it is asked again at most, …
const SOON: Duration = Duration::from_secs(1);
/// … and how late at least: bridges and bonds change without a device's doing.
const LATE: Duration = Duration::from_secs(15);

/// What a device is to Open vSwitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its bridge.
    pub bridge: String,
    /// Its `OpenFlow` port number; absent where it has none yet.
    pub ofport: Option<u32>,
    /// The bond that it is a member of.
    pub bond: Option<String>,
}

impl Port {
    /// The device with what it is to Open vSwitch.
    fn tell(&self, dev: &Dev) -> Dev {
        Dev {
            bridge: Some(self.bridge.clone()),
            ofport: self.ofport,
            bond: self.bond.clone(),
            ..dev.clone()
        }
    }

    fn is_told_by(&self, dev: &Dev) -> bool {
        dev.bridge.as_deref() == Some(&self.bridge)
            && (dev.ofport, &dev.bond) == (self.ofport, &self.bond)
    }
}

/// The ports by the names of their devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    by_name: HashMap<String, Port, foldhash::fast::RandomState>,
    /// inode of the network namespace that they are in; unknown where the process is not seen.
    netns: Option<u32>,
}

impl Ports {
    /// Reads the database.
    pub async fn read(home: &Home) -> Result<Self, Error> {
        let interfaces = home.table("Interface", &["_uuid", "name", "ofport"]).await?;
        let ports = home.table("Port", &["_uuid", "name", "interfaces"]).await?;
        let bridges = home.table("Bridge", &["name", "ports"]).await?;
        Ok(Self::join(&interfaces, &ports, &bridges, home.netns))
    }

    fn join(interfaces: &[Value], ports: &[Value], bridges: &[Value], netns: Option<u32>) -> Self {
        let by_uuid = |rows: &[Value]| -> HashMap<String, Value> {
            rows.iter().filter_map(|row| Some((uuids(&row["_uuid"]).pop()?, row.clone()))).collect()
        };
        let (interfaces, ports) = (by_uuid(interfaces), by_uuid(ports));
        let mut by_name = HashMap::default();
        for bridge in bridges {
            let of_bridge = uuids(&bridge["ports"]);
            for port in of_bridge.iter().filter_map(|uuid| ports.get(uuid)) {
                let members = uuids(&port["interfaces"]);
                let bond = (members.len() > 1).then(|| text(&port["name"])).flatten();
                for member in members.iter().filter_map(|uuid| interfaces.get(uuid)) {
                    let ofport = member["ofport"].as_u64().and_then(|n| u32::try_from(n).ok());
                    if let (Some(name), Some(bridge)) =
                        (text(&member["name"]), text(&bridge["name"]))
                    {
                        by_name.insert(name, Port { bridge, ofport, bond: bond.clone() });
                    }
                }
            }
        }
        Self { by_name, netns }
    }

    /// What the device of that name is, in the network namespace with that inode.
    pub fn find(&self, netns: Option<u32>, name: &str) -> Option<&Port> {
        let elsewhere = self.netns.is_some() && netns.is_some() && self.netns != netns;
        self.by_name.get(name).filter(|_| !elsewhere)
    }

    /// How many ports there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The names of the bridges, in order.
    pub fn bridges(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.by_name.values().map(|port| port.bridge.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A column of text, where it has one.
pub fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The UUIDs of a column: one, or a set of them (RFC 7047, 5.1).
pub fn uuids(value: &Value) -> Vec<String> {
    match (value[0].as_str(), &value[1]) {
        (Some("uuid"), Value::String(uuid)) => vec![uuid.clone()],
        (Some("set"), Value::Array(members)) => members.iter().flat_map(uuids).collect(),
        _ => Vec::new(),
    }
}

/// The names, kept up to date by a task of its own: whoever reads them never waits.
pub struct PortNames {
    latest: watch::Receiver<Arc<Ports>>,
    stale: Arc<Notify>,
    /// By namespace and index: the device as hops have it, and with what it is to Open vSwitch.
    named: HashMap<(u32, u32), [Arc<Dev>; 2], foldhash::fast::RandomState>,
}

impl PortNames {
    /// Asks for the first time; the asking is done on `runtime`.
    pub async fn start(runtime: &Handle) -> Self {
        let (sender, mut latest) = watch::channel(Arc::new(Ports::default()));
        let stale = Arc::new(Notify::new());
        runtime.spawn(follow(sender, stale.clone()));
        // What comes later is taken up later.
        let _ = timeout(FIRST, latest.changed()).await;
        Self { latest, stale, named: HashMap::default() }
    }

    /// Adds to a hop what its device is to Open vSwitch.
    pub fn name(&mut self, hop: &mut Hop) {
        let netns = hop.netns.as_ref().map(|netns| netns.inode);
        let Some(dev) = &mut hop.dev else { return };
        let ports = self.latest.borrow();
        match ports.find(netns, &dev.name) {
            Some(port) => {
                let key = (netns.unwrap_or(0), dev.ifindex);
                let known = self
                    .named
                    .get(&key)
                    .filter(|[seen, named]| Arc::ptr_eq(seen, dev) && port.is_told_by(named));
                *dev = if let Some([_, named]) = known {
                    named.clone()
                } else {
                    let named = Arc::new(port.tell(dev));
                    self.named.retain(|_, [_, named]| ports.by_name.contains_key(&named.name));
                    self.named.insert(key, [dev.clone(), named.clone()]);
                    named
                };
            }
            // It may have been added just now.
            None if is_port(dev) => self.stale.notify_one(),
            None => {}
        }
    }
}

/// The kernel says that it belongs to a datapath.
fn is_port(dev: &Dev) -> bool {
    dev.kind.as_deref() == Some("openvswitch") || dev.master.as_deref() == Some("ovs-system")
}

async fn follow(latest: watch::Sender<Arc<Ports>>, stale: Arc<Notify>) {
    while !latest.is_closed() {
        let read = match Home::find() {
            Some(home) => Ports::read(&home).await.ok(),
            None => None,
        };
        // While it does not answer, what it said holds.
        match read {
            Some(ports) => drop(latest.send(Arc::new(ports))),
            None => latest.send_modify(|_| ()),
        }
        sleep(SOON).await;
        let _ = timeout(LATE, stale.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn uuid(n: u32) -> Value {
        json!(["uuid", format!("{n:08x}-0000-0000-0000-000000000000")])
    }

    fn ports(netns: Option<u32>) -> Ports {
        let interfaces = [
            json!({"_uuid": uuid(1), "name": "br-bond", "ofport": 65534}),
            json!({"_uuid": uuid(2), "name": "eth0", "ofport": 1}),
            json!({"_uuid": uuid(3), "name": "eth1", "ofport": 2}),
            json!({"_uuid": uuid(4), "name": "gone", "ofport": -1}),
        ];
        let ports = [
            json!({"_uuid": uuid(11), "name": "br-bond", "interfaces": uuid(1)}),
            json!({"_uuid": uuid(12), "name": "bond1", "interfaces": ["set", [uuid(2), uuid(3)]]}),
            json!({"_uuid": uuid(13), "name": "gone", "interfaces": ["set", [uuid(4)]]}),
        ];
        let bridges = [
            json!({"name": "br-bond", "ports": ["set", [uuid(11), uuid(12), uuid(13), uuid(99)]]}),
        ];
        Ports::join(&interfaces, &ports, &bridges, netns)
    }

    #[test]
    fn a_device_is_a_port_of_a_bridge_and_maybe_of_a_bond() {
        let ports = ports(Some(7));
        let bond = Some("bond1".to_owned());
        let expected = Port { bridge: "br-bond".to_owned(), ofport: Some(2), bond };
        assert_eq!(ports.find(Some(7), "eth1"), Some(&expected));
        assert_eq!(ports.find(Some(7), "br-bond").unwrap().bond, None);
        assert_eq!(ports.find(Some(7), "gone").unwrap().ofport, None);
        assert_eq!((ports.len(), ports.bridges()), (4, vec!["br-bond"]));
    }

    #[test]
    fn a_device_of_that_name_elsewhere_is_another() {
        assert_eq!(ports(Some(7)).find(Some(8), "eth0"), None);
        assert!(ports(None).find(Some(8), "eth0").is_some());
        assert!(ports(Some(7)).find(None, "eth0").is_some());
    }
}
