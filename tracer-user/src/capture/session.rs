//! A trace while it runs: the kernel's side attached, the topology followed, hops coming out.

use anyhow::{Context as _, bail};
use nix::time::{ClockId, clock_gettime};
use tracer_common::flow::Filter;

use super::ahead::load_ahead;
use super::counters::{Counters, Rooms};
use super::decode::{Decoder, Names};
use super::egress;
use super::kernel_log::KernelLog;
use super::load::{Loaded, Purpose, load, loader};
use super::losses::Losses;
use super::misses::Misses;
use super::object;
use super::ovs::{OvsFacts, OvsHooks};
use super::ports::{Choice, Ports};
use super::probes::{Attached, attach_devices, attach_ends};
use super::ring::Ring;
use super::verifier;
use crate::few::Few;
use crate::kernel::btf::KernelBtf;
use crate::kernel::symbols::{HIDDEN_SYMBOLS, Symbols};
use crate::netfilter::{self, Asker};
use crate::privileges::{FOLLOWING, confined};
use crate::topology::{LinkEvent, Scope, Topology, Watch};
use tracer_core::reconstruct::asked::{Answer, Question};
use tracer_core::record::{HookName, Hop, Lost};

/// Whether a device of a name is to be seen.
pub type WantsPort = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// What to trace.
pub struct Plan {
    /// The flow.
    pub filter: Filter,
    /// Whose namespaces' devices are seen.
    pub scope: Scope,
    /// Which of them, by name; `None`: all.
    pub wants_port: Option<WantsPort>,
    /// Size of the ring buffer, bytes.
    pub ring_bytes: u32,
    /// Not every device is seen: the scope or `wants_port` leave some out.
    pub is_partial: bool,
}

/// A trace while it runs.
pub struct Session {
    loaded: Option<Loaded>,
    ring: Ring,
    kernel_log: KernelLog,
    counters: Counters,
    losses: Losses,
    rooms: Rooms,
    misses: Misses,
    /// What was missed until the detaching.
    missed: Vec<Lost>,
    /// Until when all losses are known, nanoseconds since the trace began.
    known_until: u64,
    /// When the hooks began to go, nanoseconds since the trace began: what happens from then on is seen by
    /// some of them only, and so by none.
    ended: u64,
    /// Devices that are not seen.
    unseen: Few,
    decoder: Decoder,
    ports: Ports,
    wants_port: Option<WantsPort>,
    watch: Watch,
    topology: Topology,
    attached: Vec<Attached>,
    ovs: OvsHooks,
    start: u64,
    /// The last batch was full: there may be more, of which the ring will not tell again.
    more: bool,
    /// How many events were read.
    read: u64,
    /// Of the latest of them, nanoseconds since the trace began.
    read_until: u64,
}

/// `CLOCK_MONOTONIC`, nanoseconds.
pub fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec().unsigned_abs() * 1_000_000_000 + t.tv_nsec().unsigned_abs())
}

/// Returns to the system what the start needed and the trace does not: the kernel's types, which the
/// loader parses, and the object. Before the ring is mapped, so that the two do not add up.
fn give_memory_back() {
    object::give_back();
    #[cfg(target_env = "gnu")]
    // SAFETY: it only looks at the allocator's own free lists.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Why an event is lost that was written: the trace had to end before it was read.
const UNREAD: &str = "unread";

/// How many events are decoded before they are told, and before other things get their turn: as many as
/// a processor's cache holds.
const BATCH: usize = 128;

impl Session {
    /// Loads and attaches everything. Devices first, then what sees the end of packets: so that no
    /// packet's end is seen before its way.
    pub fn start(plan: Plan) -> anyhow::Result<Self> {
        let start = monotonic();
        let choice = if plan.wants_port.is_some() { Choice::ByDevice } else { Choice::ByNetns };
        let aya = loader();
        let kernel = KernelBtf::open()?;
        let names = Names::read(&kernel);
        let ovs_facts = OvsFacts::find(&kernel, plan.is_partial);
        // Two things that take long and have nothing to do with each other: at once, where there is memory.
        let is_memory_short = verifier::is_memory_short();
        let (symbols, loaded) = std::thread::scope(|scope| {
            let symbols = (!is_memory_short).then(|| scope.spawn(Symbols::read));
            let purpose = Purpose::Follow { ring_bytes: plan.ring_bytes, choice };
            let mut loaded = load(aya, &kernel, &plan.filter, purpose);
            drop(kernel);
            if is_memory_short {
                // The verifier takes as much.
                give_memory_back();
            }
            if let Ok(loaded) = &mut loaded {
                load_ahead(loaded, ovs_facts.as_ref().map(|facts| &facts.functions));
            }
            let joined = symbols.map(std::thread::ScopedJoinHandle::join);
            (joined.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))), loaded)
        });
        let mut loaded = loaded?;
        give_memory_back();
        log::debug!("loaded after {} ms", (monotonic() - start) / 1_000_000);
        let ring = Ring::take(&mut loaded)?;
        let kernel_log = KernelLog::take(&mut loaded)?;
        let counters = Counters::take(&mut loaded)?;
        let losses = Losses::take(&mut loaded, start)?;
        let rooms = Rooms::take(&mut loaded)?;
        let ports = Ports::new(&mut loaded, choice)?;
        let (watch, links) = confined(&[FOLLOWING], || Watch::start(plan.scope))??;
        let mut session = Self {
            loaded: Some(loaded),
            ring,
            kernel_log,
            counters,
            losses,
            rooms,
            misses: Misses::default(),
            missed: Vec::new(),
            known_until: 0,
            ended: u64::MAX,
            unseen: Few::default(),
            decoder: Decoder::new(names, start),
            ports,
            wants_port: plan.wants_port,
            watch,
            topology: Topology::default(),
            attached: Vec::new(),
            ovs: OvsHooks::new(plan.is_partial),
            start,
            more: false,
            read: 0,
            read_until: 0,
        };
        log::debug!("the topology is read after {} ms", session.now() / 1_000_000);
        session.changed(links);
        log::debug!("the devices are chosen after {} ms", session.now() / 1_000_000);
        if let Some(loaded) = &mut session.loaded {
            session.attached = attach_devices(loaded);
            session.ovs.start(loaded, ovs_facts);
            session.attached.extend(attach_ends(loaded));
        }
        if let Some(refused) = session.attached.iter().find_map(Attached::is_fatal) {
            bail!("{refused}; `lasthop doctor` says what this node supports");
        }
        log::debug!("all is attached after {} ms", session.now() / 1_000_000);
        give_memory_back();
        let symbols = symbols.unwrap_or_else(Symbols::read).context("/proc/kallsyms")?;
        if symbols.is_empty() {
            log::warn!("{HIDDEN_SYMBOLS}");
        }
        session.decoder.know(symbols);
        Ok(session)
    }

    /// How many probes on how many devices.
    pub fn size(&self) -> (usize, usize) {
        let node_wide = self.attached().filter(|a| a.probe.is_some()).count();
        (node_wide + self.ports.taps(), self.ports.devices())
    }

    /// What sees the whole node, and how.
    pub fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.ovs.attached().iter().chain(&self.attached)
    }

    /// What this node could not show, each a sentence.
    pub fn blind(&self) -> Vec<String> {
        let missing = self.missing().map(|a| format!("{}: {}", a.kind, a.costs));
        missing.chain(self.ovs.gap().map(ToString::to_string)).collect()
    }

    /// The hooks of packets that found no way to attach.
    pub fn unseen(&self) -> Vec<HookName> {
        self.missing().filter_map(|a| HookName::named(a.kind)).collect()
    }

    fn missing(&self) -> impl Iterator<Item = &Attached> {
        self.attached().filter(|a| a.probe.is_none())
    }

    /// Attaches the hooks of Open vSwitch where its module was loaded since the last call.
    pub fn follow_modules(&mut self) {
        let Some(loaded) = &mut self.loaded else { return };
        if !self.ovs.follow_module(loaded) {
            return;
        }
        for kind in self.ovs.attached() {
            match &kind.probe {
                Some(probe) => log::info!("Open vSwitch was loaded: attached {probe}"),
                None => log::warn!("no probe for {}: {}", kind.kind, kind.costs),
            }
        }
        match (Symbols::read(), KernelBtf::open()) {
            (Ok(symbols), Ok(btf)) => {
                self.decoder.rename(Names::read(&btf).with(symbols));
            }
            _ => log::warn!("Open vSwitch was loaded: its functions stay unnamed"),
        }
        give_memory_back();
    }

    /// The probes that are attached, by name.
    pub fn probes(&self) -> Vec<String> {
        let node_wide = self.attached().filter_map(|a| a.probe.clone());
        let taps = (self.ports.taps() != 0).then(|| "packet_socket".to_owned());
        node_wide.chain(taps).collect()
    }

    /// `CLOCK_MONOTONIC` of the beginning, nanoseconds.
    pub fn start_monotonic(&self) -> u64 {
        self.start
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        monotonic().saturating_sub(self.start)
    }

    /// Waits until there may be hops, or until the topology has changed: how, is to be handed to
    /// [`Session::changed`].
    pub async fn wait(&mut self) -> anyhow::Result<Vec<LinkEvent>> {
        let more = self.more;
        tokio::select! {
            biased;
            e = self.kernel_log.follow() => Err(e),
            events = self.watch.next() => match events {
                Some(events) => Ok(events),
                None => bail!("the topology can no longer be followed"),
            },
            ready = self.ring.ready(), if !more => ready.map(|()| Vec::new()),
            () = tokio::task::yield_now(), if more => Ok(Vec::new()),
        }
    }

    /// Has the devices seen that have appeared, and lets go of those that have gone.
    pub fn changed(&mut self, events: Vec<LinkEvent>) {
        for event in events {
            self.apply(event);
        }
        self.ports.close_gone();
    }

    /// Adds what hops there are to `hops`, at most a batch; returns how many events there were. Before
    /// any of them is told, [`Session::owes_losses`] is to be asked.
    pub fn drain(&mut self, hops: &mut Vec<Hop>) -> usize {
        let Self { ring, decoder, topology, ports, ended, read_until, .. } = self;
        let n = ring.drain(BATCH, |event| {
            let hop = decoder.hop(&event, topology);
            *read_until = hop.ts.max(*read_until);
            if hop.ts <= *ended {
                if let Some(left) = egress::proved_by(&hop)
                    && ports.sees(&hop)
                {
                    hops.push(left);
                }
                hops.push(hop);
            }
        });
        self.more = n == BATCH;
        self.read += n as u64;
        n
    }

    /// Whether the last [`Session::drain`] may have left events that were there.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Whether an event may have been lost until `ts`, nanoseconds since the trace began, of which
    /// [`Session::lost`] has not told: no packet is judged by that time before it has. That costs a look
    /// at the clock and at a word of memory, where nothing was lost.
    pub fn owes_losses(&mut self, ts: u64) -> bool {
        if ts <= self.known_until {
            return false;
        }
        let now = self.now();
        if self.losses.are_new() {
            return true;
        }
        self.known_until = now;
        false
    }

    /// Asks a namespace's conntrack; `None` where the namespace has gone.
    pub fn ask(&self, question: &Question) -> Option<Answer> {
        netfilter::ask(&self.topology, question, self.now()).map(Answer::Conntrack)
    }

    /// Lets the asker ask what it has to ask.
    pub fn answers(&self, asker: &mut Asker) -> Vec<Answer> {
        asker.ask(&self.topology, self.now())
    }

    /// Whether packets may be waiting for a neighbour, where no hook has seen them yet.
    pub fn looks_for_neighbours(&self) -> bool {
        self.topology.looks_for_neighbours()
    }

    /// What was lost since the last call.
    pub fn lost(&mut self) -> anyhow::Result<Vec<Lost>> {
        let now = self.now();
        let mut lost = self.lost_events()?;
        lost.append(&mut self.missed);
        lost.extend(self.unread(now));
        if let Some(loaded) = &self.loaded {
            lost.extend(self.misses.lost(loaded, now));
            lost.extend(self.rooms.lost(&self.counters, now));
        }
        Ok(lost)
    }

    /// Those of them that [`Session::owes_losses`] knows of.
    pub fn lost_events(&mut self) -> anyhow::Result<Vec<Lost>> {
        let now = self.now();
        let mut lost = self.losses.lost(now)?;
        self.known_until = now;
        // As hops: from then on not all hooks were there.
        lost.retain(|lost| lost.since.is_none_or(|since| since <= self.ended));
        Ok(lost)
    }

    /// What was written and will not be read: once all is detached, nothing more is.
    fn unread(&mut self, ts: u64) -> Option<Lost> {
        let unread = self.counters.written().saturating_sub(self.read);
        if self.loaded.is_some() || unread == 0 {
            return None;
        }
        self.read += unread;
        // They were written in the order in which they would have been read.
        let (since, until) = (Some(self.read_until), Some(self.ended));
        Some(Lost { count: unread, what: Some(UNREAD.to_owned()), since, until, ..Lost::at(ts) })
    }

    /// Detaches everything. What was written can still be drained.
    pub fn detach(&mut self) {
        let now = self.now();
        self.ended = now;
        if let Some(loaded) = &self.loaded {
            self.missed = self.misses.lost(loaded, now);
            self.missed.extend(self.rooms.lost(&self.counters, now));
        }
        self.loaded = None;
        self.ports.detach_all();
        self.kernel_log.flush();
    }

    fn apply(&mut self, event: LinkEvent) {
        if let Some(loaded) = &mut self.loaded {
            match &event {
                LinkEvent::Appeared(link) | LinkEvent::Changed(link) => {
                    let wanted = self.wants_port.as_ref().is_none_or(|wants| wants(&link.name));
                    if let Err(e) = self.ports.attach(loaded, link, wanted) {
                        self.unseen.warn(&format!("{e:#}"));
                    }
                }
                LinkEvent::Gone { netns, ifindex } => self.ports.gone(*netns, *ifindex),
                LinkEvent::NetnsGone { inode } => self.ports.netns_gone(*inode),
                LinkEvent::Host { .. } | LinkEvent::NetnsNamed { .. } => {}
            }
        }
        self.topology.apply(event, std::time::Instant::now());
    }
}
