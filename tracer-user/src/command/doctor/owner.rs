//! Open vSwitch and OVN as far as they are asked: whether they run, and whether they answer.

use std::path::Path;

use tokio::runtime::Builder;

use super::{Check, Status};
use crate::ovs::find::{Finder, Missing};
use crate::ovs::home::{DAEMON, Home};
use crate::ovs::ovn;
use crate::ovs::ports::Ports;

/// What goes unsaid where `ovs-vswitchd` is not asked.
const RULE: &str = "a drop by Open vSwitch is explained by the datapath's actions alone, without the \
                    bridge, the table and the rule";
const FLOW: &str = "a rule of OVN's is told without its logical flow and ACL";
const NAMES: &str = "devices are not shown with their bridge, port number and bond";

/// How many bridges are named.
const NAMED: usize = 16;

/// The daemons, where there is a datapath or a daemon.
pub fn daemons() -> Vec<Check> {
    let has_datapath = Path::new("/sys/module/openvswitch").exists();
    // A runtime of its own: the rest of the report asks nobody.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) if !has_datapath => return Vec::new(),
        Err(e) => {
            let why = format!("cannot be asked: {e}");
            return vec![Check::new(DAEMON, Status::Limited, why).costs(RULE)];
        }
    };
    let finder = Finder::default();
    let checks = runtime.block_on(async {
        match finder.find().await {
            Ok(home) => ask(&home, &finder).await,
            Err(missing) => none(&missing, has_datapath),
        }
    });
    // A thread that looks at files may still wait for some.
    runtime.shutdown_background();
    checks
}

/// What is said where nobody is asked.
fn none(missing: &Missing, has_datapath: bool) -> Vec<Check> {
    let check = match missing {
        Missing::Absent if !has_datapath => return Vec::new(),
        Missing::Absent => Check::new(DAEMON, Status::Limited, "none is found running")
            .fix("start it; where it runs with other directories, set OVS_RUNDIR"),
        // Without a datapath nothing is lost by it.
        Missing::Distrusted(why) if !has_datapath => Check::new(DAEMON, Status::Ok, why),
        Missing::Distrusted(why) => Check::new(DAEMON, Status::Limited, why),
    };
    vec![if has_datapath { check.costs(RULE) } else { check }]
}

async fn ask(home: &Home, finder: &Finder) -> Vec<Check> {
    let at = home.rundir.display();
    let vswitchd = match home.appctl("version", &[]).await {
        Ok(version) => {
            let version = version.lines().next().unwrap_or_default().escape_debug().to_string();
            Check::new(DAEMON, Status::Ok, format!("{version}, in {at}"))
        }
        Err(e) => Check::new(DAEMON, Status::Limited, e.to_string()).costs(RULE),
    };
    let names = match Ports::read(home).await {
        Ok(ports) => {
            let (all, escape) = (ports.bridges(), |b: &&str| b.escape_debug().to_string());
            let bridges = all.iter().take(NAMED).map(escape).collect::<Vec<_>>().join(", ");
            let detail = match all.len() {
                0 => "no bridges".to_owned(),
                1..=NAMED => format!("{} ports on {bridges}", ports.len()),
                n => format!("{} ports on {bridges} and {} more", ports.len(), n - NAMED),
            };
            Check::new("ovsdb", Status::Ok, detail)
        }
        Err(e) => Check::new("ovsdb", Status::Limited, e.to_string()).costs(NAMES),
    };
    let mut checks = vec![vswitchd, names];
    match ovn::southbound(finder).await {
        Ok(None) => {}
        Ok(Some(remote)) => {
            let at = format!("southbound database at {remote}");
            checks.push(Check::new("ovn", Status::Ok, at));
        }
        Err(e) => checks.push(Check::new("ovn", Status::Limited, e.to_string()).costs(FLOW)),
    }
    checks
}
