//! What people call the ports: bridge, `OpenFlow` port number, bond. From Open vSwitch's database,
//! followed while tracing; a node without Open vSwitch is asked nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::answer::Row;
use super::columns::{Atoms, Uuid};
use super::find::Finder;
use super::home::Home;
use super::rpc::Error;
use tracer_core::record::{Dev, Hop};

/// How long the start of a trace waits for the names: the first packets should have them.
const FIRST: Duration = Duration::from_millis(500);
/// How soon it is asked again at most, …
const SOON: Duration = Duration::from_secs(1);
/// … and how late at least: bridges and bonds change without a device's doing.
const LATE: Duration = Duration::from_secs(15);

/// How many devices may be remembered beside two for each port.
const SPARE: usize = 64;

/// What a device is to Open vSwitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its bridge.
    pub bridge: Arc<str>,
    /// Its `OpenFlow` port number; absent where it has none yet.
    pub ofport: Option<u32>,
    /// The bond that it is a member of.
    pub bond: Option<Arc<str>>,
}

impl Port {
    /// The device with what it is to Open vSwitch.
    fn tell(&self, dev: &Dev) -> Dev {
        Dev {
            bridge: Some(self.bridge.to_string()),
            ofport: self.ofport,
            bond: self.bond.as_deref().map(str::to_owned),
            ..dev.clone()
        }
    }

    fn is_told_by(&self, dev: &Dev) -> bool {
        dev.bridge.as_deref() == Some(&*self.bridge)
            && (dev.ofport, dev.bond.as_deref()) == (self.ofport, self.bond.as_deref())
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
        Ok(Self::join(interfaces, ports, bridges, home.netns))
    }

    /// Each interface is of one port, and each port of one bridge, as `ovs-vswitchd` has it; of several
    /// the first counts.
    fn join(
        interfaces: Vec<InterfaceRow>,
        ports: Vec<PortRow>,
        bridges: Vec<BridgeRow>,
        netns: Option<u32>,
    ) -> Self {
        let mut bridge_of = HashMap::new();
        for row in bridges {
            let name = Arc::<str>::from(row.name);
            for port in row.ports.0 {
                bridge_of.entry(port).or_insert_with(|| name.clone());
            }
        }
        let mut port_of = HashMap::new();
        for row in ports {
            let Some(bridge) = bridge_of.get(&row.uuid) else { continue };
            let bond = (row.interfaces.0.len() > 1).then(|| Arc::from(row.name));
            for member in row.interfaces.0 {
                let port = || Port { bridge: bridge.clone(), ofport: None, bond: bond.clone() };
                port_of.entry(member).or_insert_with(port);
            }
        }
        let named = |row: InterfaceRow| {
            let port = port_of.remove(&row.uuid)?;
            Some((row.name, Port { ofport: row.ofport.first(), ..port }))
        };
        Self { by_name: interfaces.into_iter().filter_map(named).collect(), netns }
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
        let mut names: Vec<_> = self.by_name.values().map(|port| &*port.bridge).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// How many rows are taken of a table of interfaces, ports or bridges.
pub(super) const MAX_ROWS: usize = 65_536;

#[derive(Deserialize)]
struct InterfaceRow {
    #[serde(rename = "_uuid")]
    uuid: Uuid,
    name: String,
    ofport: Atoms<u32>,
}

#[derive(Deserialize)]
struct PortRow {
    #[serde(rename = "_uuid")]
    uuid: Uuid,
    name: String,
    interfaces: Atoms<Uuid>,
}

/// A bridge and its ports: a row of the database's table `Bridge`.
#[derive(Deserialize)]
pub(super) struct BridgeRow {
    pub(super) name: String,
    pub(super) ports: Atoms<Uuid>,
}

impl Row for InterfaceRow {
    const MAX: usize = MAX_ROWS;
}

impl Row for PortRow {
    const MAX: usize = MAX_ROWS;
}

impl Row for BridgeRow {
    const MAX: usize = MAX_ROWS;
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
    pub async fn start(runtime: &Handle, finder: Finder) -> Self {
        let (sender, mut latest) = watch::channel(Arc::new(Ports::default()));
        let stale = Arc::new(Notify::new());
        runtime.spawn(follow(finder, sender, stale.clone()));
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
                    // With those that are gone, of which it would be full in the end.
                    if self.named.len() > 2 * ports.len() + SPARE {
                        self.named.clear();
                    }
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

async fn follow(finder: Finder, latest: watch::Sender<Arc<Ports>>, stale: Arc<Notify>) {
    let mut is_told = false;
    while !latest.is_closed() {
        let home = finder.find_or_tell().await.ok();
        let read = match &home {
            Some(home) => Some(Ports::read(home).await),
            None => None,
        };
        // While it does not answer, what it said holds.
        match read {
            Some(Ok(ports)) => drop(latest.send(Arc::new(ports))),
            Some(Err(e)) if e.is_lasting() && !is_told => {
                is_told = true;
                log::warn!("devices are not shown with their bridges and ports: {e}");
            }
            Some(Err(_)) | None => {}
        }
        latest.send_modify(|_| ());
        sleep(SOON).await;
        let _ = timeout(LATE, stale.notified()).await;
    }
}

pub(crate) mod fuzzing;

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, from_value, json};

    use super::*;

    fn uuid(n: u32) -> Value {
        json!(["uuid", format!("{n:08x}-0000-0000-0000-000000000000")])
    }

    fn rows<R: DeserializeOwned>(rows: impl IntoIterator<Item = Value>) -> Vec<R> {
        rows.into_iter().map(|row| from_value(row).unwrap()).collect()
    }

    fn ports(netns: Option<u32>) -> Ports {
        let interfaces = [
            json!({"_uuid": uuid(1), "name": "br-bond", "ofport": 65534}),
            json!({"_uuid": uuid(2), "name": "eth0", "ofport": 1}),
            json!({"_uuid": uuid(3), "name": "eth1", "ofport": 2}),
            json!({"_uuid": uuid(4), "name": "gone", "ofport": -1}),
            json!({"_uuid": uuid(5), "name": "new", "ofport": ["set", []]}),
        ];
        let ports = [
            json!({"_uuid": uuid(11), "name": "br-bond", "interfaces": uuid(1)}),
            json!({"_uuid": uuid(12), "name": "bond1", "interfaces": ["set", [uuid(2), uuid(3)]]}),
            json!({"_uuid": uuid(13), "name": "gone", "interfaces": ["set", [uuid(4)]]}),
        ];
        let bridges = [
            json!({"name": "br-bond", "ports": ["set", [uuid(11), uuid(12), uuid(13), uuid(99)]]}),
        ];
        Ports::join(rows(interfaces), rows(ports), rows(bridges), netns)
    }

    #[test]
    fn twenty_thousand_bridges_with_one_port_of_as_many_devices_take_no_time() {
        let n = 20_000;
        let interfaces =
            (0..n).map(|i| json!({"_uuid": uuid(i), "name": format!("e{i}"), "ofport": i}));
        let members: Vec<_> = (0..n).map(uuid).collect();
        let port = json!({"_uuid": uuid(n), "name": "p", "interfaces": ["set", members]});
        let bridges =
            (0..n).map(|i| json!({"name": format!("br{i}"), "ports": ["set", [uuid(n)]]}));
        let (interfaces, bridges) = (rows(interfaces), rows(bridges));
        let spent = || -> Duration {
            let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
            nix::time::clock_gettime(clock).unwrap().into()
        };
        let begun = spent();
        let ports = Ports::join(interfaces, rows([port]), bridges, None);
        let took = spent().saturating_sub(begun);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!((ports.len(), ports.bridges()), (20_000, vec!["br0"]));
        assert_eq!(ports.find(None, "e7").unwrap().ofport, Some(7));
    }

    #[test]
    fn a_device_is_a_port_of_a_bridge_and_maybe_of_a_bond() {
        let ports = ports(Some(7));
        let bond = Some("bond1".into());
        let expected = Port { bridge: "br-bond".into(), ofport: Some(2), bond };
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
