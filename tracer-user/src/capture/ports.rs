//! Devices whose hops are recorded. Two tracepoints see all of the node's (`hooks/device.rs` in the
//! kernel); a map tells them which were asked for. Attaching to a node of a thousand ports is
//! attaching two programs: no device waits for it, no setting of the node and no qdisc is changed,
//! and nothing has to be removed.
//!
//! Devices whose packets come by way of another's receive handler have a [`tap`] each.
//!
//! Before, each direction of each device had a tcx program or, before Linux 6.6, a filter on a clsact
//! qdisc. On Linux 6.18 a packet through a veth pair, nothing matching, took 0.22 us of processor time
//! more than untraced with the tracepoints and 0.44 us with tcx (medians of 7, in turn, busy machine).

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, anyhow, bail};
use aya::maps::{HashMap as BpfMap, MapData, ProgramArray};
use aya::programs::{ProgramFd, SocketFilter};
use tracer_common::ports::{Port as Entry, key};

pub use tracer_common::ports::Choice;

use super::load::Loaded;
use super::refusal::chain;
use super::tap;
use crate::topology::{Link, enter};
use tracer_core::record::Hop;

/// Kinds of devices (`IFLA_INFO_KIND`) that get packets in `__netif_receive_skb_core` by being put in
/// another device's place: by its VLAN tag (`vlan_do_receive`), or by a receive handler that returns
/// `RX_HANDLER_ANOTHER`.
const FROM_ANOTHER: [&str; 9] =
    ["bond", "ipvlan", "ipvtap", "macsec", "macvlan", "macvtap", "team", "virt_wifi", "vlan"];

/// The program of the taps, and the one that it goes on with.
const TAP: &str = "device_tap";
const TAPPED: &str = "device_tapped";

/// inode of the namespace, index of the device.
type Key = (u32, u32);

/// The devices that are seen.
pub struct Ports {
    choice: Choice,
    map: BpfMap<MapData, u64, u8>,
    /// With what the program of the taps goes on, once there are any.
    next: Option<ProgramArray<MapData>>,
    seen: HashMap<Key, Port>,
    /// Namespaces in the map.
    namespaces: HashSet<u32>,
    /// Devices that others belong to.
    masters: HashSet<Key>,
    /// Of devices that have gone.
    closing: Vec<OwnedFd>,
}

struct Port {
    link: Link,
    tap: Option<OwnedFd>,
}

impl Ports {
    /// None yet.
    ///
    /// # Errors
    /// The object is not what this binary was built with.
    pub fn new(loaded: &mut Loaded, choice: Choice) -> anyhow::Result<Self> {
        let map = loaded.ebpf.take_map("PORTS").context("no map PORTS inside")?;
        Ok(Self {
            choice,
            map: map.try_into()?,
            next: None,
            seen: HashMap::new(),
            namespaces: HashSet::new(),
            masters: HashSet::new(),
            closing: Vec::new(),
        })
    }

    /// How many devices are seen.
    pub fn devices(&self) -> usize {
        self.seen.len()
    }

    /// How many of them have a tap.
    pub fn taps(&self) -> usize {
        self.seen.values().filter(|port| port.tap.is_some()).count()
    }

    /// Whether hops at the device of this one are recorded.
    pub fn sees(&self, hop: &Hop) -> bool {
        let of = hop.netns.as_ref().zip(hop.dev.as_ref());
        of.is_some_and(|(netns, dev)| self.seen.contains_key(&(netns.inode, dev.ifindex)))
    }

    /// Takes in a device that has appeared or changed. One that is not `wanted` may yet tell of another
    /// how packets come there. One that has vanished meanwhile, or whose namespace has, is no error.
    ///
    /// # Errors
    /// What is not seen, and why.
    pub fn attach(&mut self, loaded: &mut Loaded, link: &Link, wanted: bool) -> anyhow::Result<()> {
        let key = (link.netns.inode, link.ifindex);
        if wanted && !self.seen.contains_key(&key) {
            self.record(link)?;
            self.seen.insert(key, Port { link: link.clone(), tap: None });
            self.tap(loaded, key)?;
        }
        if let Some(master) = link.master {
            let master = (link.netns.inode, master);
            self.masters.insert(master);
            self.tap(loaded, master)?;
        }
        Ok(())
    }

    /// Has the tracepoints record hops at a device, or at all of its namespace's.
    fn record(&mut self, link: &Link) -> anyhow::Result<()> {
        let netns = link.netns.inode;
        let key = match self.choice {
            Choice::ByDevice => key(netns, link.ifindex),
            Choice::ByNetns if self.namespaces.insert(netns) => key(netns, 0),
            Choice::ByNetns => return Ok(()),
        };
        self.map.insert(key, Entry::Seen as u8, 0).map_err(|e| {
            let (name, netns) = (&link.name, link.netns.label());
            anyhow!("packets at {name} in {netns} are not seen: {}", chain(&e))
        })
    }

    /// Gives a device a tap where it needs one and has none.
    fn tap(&mut self, loaded: &mut Loaded, of: Key) -> anyhow::Result<()> {
        let is_master = self.masters.contains(&of);
        let Some(port) = self.seen.get_mut(&of) else { return Ok(()) };
        if port.tap.is_some() || !comes_from_another(port.link.kind.as_deref(), is_master) {
            return Ok(());
        }
        if self.next.is_none() {
            let mut next: ProgramArray<MapData> =
                loaded.ebpf.take_map("TAPS").context("no map TAPS inside")?.try_into()?;
            next.set(0, &load(loaded, TAPPED)?, 0).map_err(|e| anyhow!("{}", chain(&e)))?;
            load(loaded, TAP)?;
            self.next = Some(next);
        }
        let program =
            loaded.ebpf.program(TAP).with_context(|| format!("no program {TAP} inside"))?;
        let program: &SocketFilter = program.try_into()?;
        let opened = enter(&port.link.netns, || tap::open(program, of.1));
        match opened.and_then(|opened| opened) {
            Ok(socket) => port.tap = Some(socket),
            Err(e) if is_gone(&e) => {
                log::debug!("{} vanished before it could be tapped: {e}", port.link.name);
                return Ok(());
            }
            Err(e) => {
                let (name, netns) = (&port.link.name, port.link.netns.label());
                let why = advice(&e);
                bail!(
                    "what arrives at {name} in {netns} is not seen there: no packet socket: {e}{why}"
                );
            }
        }
        // From now on the tracepoint leaves what arrives to the tap.
        let entry = self.map.insert(key(of.0, of.1), Entry::Tapped as u8, 0);
        entry.map_err(|e| anyhow!("{}", chain(&e)))
    }

    /// Closes all taps.
    pub fn detach_all(&mut self) {
        let taps = self.seen.drain().filter_map(|(_, port)| port.tap);
        tap::close(taps.chain(self.closing.drain(..)).collect());
    }

    /// Forgets a device that has gone.
    pub fn gone(&mut self, netns: u32, ifindex: u32) {
        self.masters.remove(&(netns, ifindex));
        if let Some(port) = self.seen.remove(&(netns, ifindex)) {
            log::debug!("{} is gone", port.link.name);
            // Of most devices there is no entry.
            let _ = self.map.remove(&key(netns, ifindex));
            self.closing.extend(port.tap);
        }
    }

    /// Closes the taps of what has gone, and does not wait for it.
    pub fn close_gone(&mut self) {
        if !self.closing.is_empty() {
            let taps = std::mem::take(&mut self.closing);
            std::thread::spawn(move || tap::close(taps));
        }
    }

    /// Forgets a namespace that has gone, and all its devices.
    pub fn netns_gone(&mut self, netns: u32) {
        let gone: Vec<Key> = self.seen.keys().filter(|key| key.0 == netns).copied().collect();
        for (_, ifindex) in gone {
            self.gone(netns, ifindex);
        }
        self.masters.retain(|key| key.0 != netns);
        if self.namespaces.remove(&netns) {
            let _ = self.map.remove(&key(netns, 0));
        }
    }
}

/// Whether what arrives at a device has passed the tracepoint at another before, and does not again.
///
/// A device without a kind that others belong to takes their packets by a receive handler: Hyper-V's
/// (`netvsc`) and virtio's (`net_failover`) do so with the virtual function that they stand for.
fn comes_from_another(kind: Option<&str>, is_master: bool) -> bool {
    kind.map_or(is_master, |kind| FROM_ANOTHER.contains(&kind))
}

/// Loads a program, if it was not yet.
fn load(loaded: &mut Loaded, name: &str) -> anyhow::Result<ProgramFd> {
    let program =
        loaded.ebpf.program_mut(name).with_context(|| format!("no program {name} inside"))?;
    let program: &mut SocketFilter = program.try_into()?;
    if program.fd().is_err() {
        program.load().map_err(|e| anyhow!("the kernel refused {name}: {}", chain(&e)))?;
    }
    Ok(program.fd()?.try_clone()?)
}

fn is_gone(e: &io::Error) -> bool {
    e.kind() == ErrorKind::NotFound || matches!(e.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
}

fn advice(e: &io::Error) -> &'static str {
    if e.raw_os_error() == Some(libc::EPERM) { "; grant CAP_NET_RAW" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_in_anothers_place_are_tapped() {
        for kind in ["vlan", "macvlan", "bond"] {
            assert!(comes_from_another(Some(kind), false), "{kind}");
        }
        // A bridge receives in its own name what its ports hand it (`br_netif_receive_skb`).
        for kind in ["bridge", "openvswitch", "veth", "vrf"] {
            assert!(!comes_from_another(Some(kind), true), "{kind}");
        }
        assert!(comes_from_another(None, true) && !comes_from_another(None, false));
    }

    #[test]
    fn a_refused_socket_says_what_to_grant() {
        assert_eq!(advice(&io::Error::from_raw_os_error(libc::EPERM)), "; grant CAP_NET_RAW");
        assert_eq!(advice(&io::Error::from_raw_os_error(libc::ENOBUFS)), "");
    }
}
