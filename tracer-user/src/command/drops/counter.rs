//! The kernel's counts, read and given names.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use tracer_common::drops::{BY_ADDRESS, BY_PORT, BY_PROTOCOL, BY_STACK, BY_TUPLE, DropKey};

use super::super::hurry;
use super::super::meta::meta;
use crate::capture::counting::{Counting, Legend, kernel_bytes};
use crate::capture::decode::proto;
use crate::capture::load::loader;
use crate::capture::session::monotonic;
use crate::cgroup;
use crate::cli::{By, DropsArgs};
use crate::kernel::symbols::Symbols;
use crate::privileges::{FOLLOWING, confined};
use crate::topology::{LinkEvent, Scope, Topology, Watch};
use tracer_core::drops::{Counted, Ledger, Names, Tally};
use tracer_core::record::{Meta, Netns, Place};

/// How many lines with details there are at the most once a signal has come: what can be made and written
/// within a part of a second.
const LAST_LINES: usize = 1 << 15;
/// `LOOPBACK_IFINDEX` of `include/net/net_namespace.h`: every namespace's first device.
const LOOPBACK: u32 = 1;

/// The kernel's counts, and what gives them names.
pub struct Counter {
    counting: Counting,
    legend: Legend,
    watch: Watch,
    topology: Topology,
    tally: Tally,
    ledger: Ledger,
    by: u32,
    /// For how many details the kernel has room.
    in_kernel: usize,
    /// `--netns` names some namespaces: only theirs count.
    scoped: bool,
    /// Devices and namespaces by the names they had when they first dropped: they may go.
    seen: HashMap<(u32, u32), Seen>,
    /// Code addresses that have no name, and had none when the symbols were read again.
    nameless: HashSet<u64>,
    began: Instant,
}

/// What was counted from the beginning on.
pub struct Counts {
    /// The most frequent first, by number of [`Counter::ledger`]'s.
    pub lines: Vec<Counted>,
    /// How many drops the kernel's maps had no room for.
    pub not_held: u64,
    /// Nanoseconds since the beginning.
    pub ts: u64,
}

#[derive(Clone, Debug)]
struct Seen {
    netns: Netns,
    device: Option<String>,
    ovs_port: Option<String>,
    in_scope: bool,
}

impl Counter {
    /// Attaches, and counts from now on.
    ///
    /// # Errors
    /// What could not be done, and what to do.
    pub fn start(args: &DropsArgs) -> anyhow::Result<Self> {
        let by = args.by.iter().fold(0, |bits, by| bits | bits_of(*by));
        let filter = (!args.live.filter_text.is_empty()).then_some(&args.live.filter);
        let keep = args.keep.map_or(1, |n| usize::try_from(n.get()).unwrap_or(usize::MAX));
        // Between two readings the kernel keeps more apart, lest what is frequent comes too late.
        let in_kernel = u32::try_from(keep).unwrap_or(u32::MAX).clamp(1 << 14, 1 << 20);
        if by != 0 {
            let bytes = kernel_bytes(in_kernel).saturating_add(Tally::bytes(keep));
            cgroup::ensure_room(bytes, &format!("--keep {keep}"), cgroup::OF_DROPS)?;
        }
        // Before there is a thread that opens files.
        let aya = loader();
        // All are counted where none is chosen: so all are named, those of containers that have no
        // name themselves, too.
        let chosen = &args.live.netns;
        let scope =
            if chosen.is_empty() { Scope::whole_node() } else { Scope::from_options(chosen) };
        let (watch, links) = confined(&[FOLLOWING], || Watch::start(scope))??;
        let (counting, legend) = Counting::start(aya, by, filter, in_kernel)?;
        let scoped =
            !args.live.netns.is_empty() && !args.live.netns.iter().any(|name| name == "all");
        let mut counter = Self {
            counting,
            legend,
            watch,
            topology: Topology::default(),
            tally: Tally::new(by != 0, keep),
            ledger: Ledger::new(by, args.by.contains(&By::OvsPort)),
            by,
            in_kernel: in_kernel as usize,
            scoped,
            seen: HashMap::new(),
            nameless: HashSet::new(),
            began: Instant::now(),
        };
        counter.topology_changed(links);
        Ok(counter)
    }

    /// Takes in changes of devices and namespaces.
    pub fn topology_changed(&mut self, events: impl IntoIterator<Item = LinkEvent>) {
        let now = std::time::Instant::now();
        events.into_iter().for_each(|event| self.topology.apply(event, now));
    }

    /// How many devices are known.
    pub fn devices(&self) -> usize {
        self.topology.devices()
    }

    /// Takes in what the kernel has counted; whether it had hardly any room left for more details.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn read(&mut self) -> anyhow::Result<bool> {
        let mut crowded = false;
        if self.by != 0 {
            let (mut taken, mut places) = (0, HashSet::new());
            let tally = &mut self.tally;
            self.counting.take_details(|detail, count| {
                taken += 1;
                places.insert(detail.key);
                tally.detail(detail, count);
            })?;
            for key in &places {
                self.name(key);
            }
            crowded = taken >= self.in_kernel / 2;
        }
        let places = self.counting.places();
        for (key, _) in &places {
            self.name(key);
        }
        self.tally.places(places);
        Ok(crowded)
    }

    /// Remembers what a device is called, as long as somebody knows.
    fn name(&mut self, key: &DropKey) {
        let at = (key.netns, key.ifindex);
        if self.seen.get(&at).is_some_and(|seen| seen.device.is_some() || key.ifindex == 0) {
            return;
        }
        let link = self.topology.link(key.netns, key.ifindex);
        let is_ovs = |kind: Option<&str>| kind == Some("openvswitch");
        let ovs_port = link.filter(|link| {
            let master = link.master.and_then(|m| self.topology.link(key.netns, m));
            is_ovs(link.kind.as_deref()) || is_ovs(master.and_then(|m| m.kind.as_deref()))
        });
        let seen = Seen {
            netns: self.topology.model_netns(key.netns),
            device: link.map(|link| link.name.clone()),
            ovs_port: ovs_port.map(|link| link.name.clone()),
            in_scope: !self.scoped || self.topology.follows(key.netns),
        };
        self.seen.insert(at, seen);
    }

    /// Reads; what was counted so far.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn counts(&mut self) -> anyhow::Result<Counts> {
        self.read()?;
        self.look_for_modules();
        Ok(Counts { lines: self.lines(), not_held: self.counting.not_held(), ts: self.now() })
    }

    /// Code without a name is a module's that was loaded meanwhile: the symbols are read again.
    fn look_for_modules(&mut self) {
        let symbols = &self.legend.symbols;
        let locations: HashSet<u64> = self.tally.keys().map(|key| key.location).collect();
        let new: Vec<u64> = locations
            .into_iter()
            .filter(|at| *at != 0 && !self.nameless.contains(at) && symbols.place(*at).is_none())
            .collect();
        if new.is_empty() || symbols.is_empty() {
            return;
        }
        match Symbols::read() {
            Ok(symbols) if !symbols.is_empty() => self.legend.symbols = symbols,
            Ok(_) => log::debug!("/proc/kallsyms shows no addresses any more"),
            Err(e) => log::debug!("/proc/kallsyms: {e}"),
        }
        self.nameless.extend(new);
    }

    fn lines(&mut self) -> Vec<Counted> {
        // It asks the rest of this for names.
        let mut ledger = std::mem::take(&mut self.ledger);
        let in_scope = |key: &DropKey| {
            self.seen.get(&(key.netns, key.ifindex)).map_or(!self.scoped, |seen| seen.in_scope)
        };
        // Whoever wants it to end gets those that come first.
        let most = if hurry::is_on() { LAST_LINES } else { usize::MAX };
        let entries = self.tally.entries(most, in_scope);
        let lines = ledger.lines(entries.into_iter(), self);
        self.ledger = ledger;
        lines
    }

    /// What makes rows of lines.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits for devices or namespaces to change; `None`: they can no longer be followed.
    pub async fn links_changed(&mut self) -> Option<Vec<LinkEvent>> {
        self.watch.next().await
    }

    /// Stops counting; what was counted can still be read.
    pub fn detach(&mut self) {
        self.counting.detach();
    }

    /// How many probes are attached.
    pub fn probes(&self) -> usize {
        self.counting.probes().len()
    }

    /// What this node cannot show, each a sentence.
    pub fn blind(&self) -> Vec<String> {
        self.counting.blind()
    }

    /// The head of a recording with `filter`.
    pub fn meta(&self, filter: &str) -> Meta {
        let now = self.now();
        let start = monotonic().saturating_sub(now);
        meta(now, start, filter, self.counting.probes(), self.blind())
    }

    /// When the counting began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Nanoseconds since the beginning.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Names for Counter {
    fn reason(&self, number: u32) -> Option<(String, String)> {
        let reasons = &self.legend.reasons;
        reasons.any().then(|| reasons.name(number)).map(|r| (r.name, r.subsystem))
    }

    fn place(&self, address: u64) -> Option<Place> {
        self.legend.symbols.place(address)
    }

    fn stack(&self, number: u32) -> Vec<String> {
        let stack = self.counting.stack(number);
        self.legend
            .symbols
            .callers(&stack)
            .map(|p| format!("{}+{:#x}", p.symbol, p.offset))
            .collect()
    }

    fn device(&self, netns: u32, ifindex: u32) -> Option<String> {
        let seen = self.seen.get(&(netns, ifindex));
        seen.and_then(|seen| seen.device.clone()).or_else(|| match ifindex {
            0 => None,
            LOOPBACK => Some("lo".to_owned()),
            _ => Some(format!("ifindex {ifindex}")),
        })
    }

    fn netns(&self, inode: u32) -> Netns {
        let named = self
            .seen
            .iter()
            .find(|((netns, _), seen)| *netns == inode && seen.netns.name.is_some());
        named.map_or_else(|| self.topology.model_netns(inode), |(_, seen)| seen.netns.clone())
    }

    fn ovs_port(&self, netns: u32, ifindex: u32) -> Option<String> {
        self.seen.get(&(netns, ifindex))?.ovs_port.clone()
    }

    fn protocol(&self, number: u16) -> String {
        proto(number).to_string()
    }
}

fn bits_of(by: By) -> u32 {
    match by {
        By::Protocol => BY_PROTOCOL,
        By::Port => BY_PORT,
        By::Address => BY_ADDRESS,
        By::Tuple => BY_TUPLE,
        By::Stack => BY_STACK,
        // The device is always counted by; it is only named otherwise.
        By::OvsPort => 0,
    }
}
