//! Open vSwitch and OVN as far as they are asked: whether they run, and whether they answer.

use std::path::Path;

use super::{Check, Status};
use crate::ovs::home::Home;
use crate::ovs::ovn;
use crate::ovs::ports::Ports;

/// What goes unsaid where `ovs-vswitchd` is not asked.
const RULE: &str = "a drop by Open vSwitch is explained by the datapath's actions alone, without the \
                    bridge, the table and the rule";
const NAMES: &str = "devices are not shown with their bridge, port number and bond";

/// The daemons, where there is a datapath or a daemon.
pub fn daemons() -> Vec<Check> {
    let home = Home::find();
    if home.is_none() && !Path::new("/sys/module/openvswitch").exists() {
        return Vec::new();
    }
    // A runtime of its own: the rest of the report asks nobody.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match (home, runtime) {
        (Some(home), Ok(runtime)) => runtime.block_on(ask(&home)),
        (None, _) => vec![
            Check::new("ovs-vswitchd", Status::Limited, "none is found running")
                .costs(RULE)
                .fix("start it; where it runs with other directories, set OVS_RUNDIR"),
        ],
        (_, Err(e)) => {
            let why = format!("cannot be asked: {e}");
            vec![Check::new("ovs-vswitchd", Status::Limited, why).costs(RULE)]
        }
    }
}

async fn ask(home: &Home) -> Vec<Check> {
    let at = home.rundir.display();
    let vswitchd = match home.appctl("version", &[]).await {
        Ok(version) => {
            let version = version.lines().next().unwrap_or_default().escape_debug().to_string();
            Check::new("ovs-vswitchd", Status::Ok, format!("{version}, in {at}"))
        }
        Err(e) => Check::new("ovs-vswitchd", Status::Limited, e.to_string()).costs(RULE),
    };
    let names = match Ports::read(home).await {
        Ok(ports) => {
            let bridges: Vec<_> =
                ports.bridges().iter().map(|b| b.escape_debug().to_string()).collect();
            let detail = match bridges.len() {
                0 => "no bridges".to_owned(),
                _ => format!("{} ports on {}", ports.len(), bridges.join(", ")),
            };
            Check::new("ovsdb", Status::Ok, detail)
        }
        Err(e) => Check::new("ovsdb", Status::Limited, e.to_string()).costs(NAMES),
    };
    let mut checks = vec![vswitchd, names];
    checks.extend(
        ovn::southbound().await.map(|remote| {
            Check::new("ovn", Status::Ok, format!("southbound database at {remote}"))
        }),
    );
    checks
}
