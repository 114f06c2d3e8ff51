//! `lasthop drops`: count all drops on the node, and print them as a table or as NDJSON.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracer_common::drops::{BY_ADDRESS, BY_PORT, BY_PROTOCOL, BY_STACK, BY_TUPLE, DropKey};

use super::child::{self, Child};
use super::meta::meta;
use crate::capture::counting::{Counting, Legend};
use crate::capture::decode::proto_name;
use crate::cli::{By, DropsArgs};
use crate::drops::{self, Names, Tally};
use crate::model::{Drops, Lost, Netns, Place, Record};
use crate::preflight;
use crate::render::{drops::Table, json};
use crate::topology::{LinkEvent, Scope, Topology, Watch};

/// How often the kernel's maps are emptied, and new devices given their names.
const READ: Duration = Duration::from_millis(200);
/// How soon they are read again that were nearly full.
const SOON: Duration = Duration::from_millis(20);
/// How often the table is printed where nobody said it.
const REFRESH: Duration = Duration::from_secs(1);
/// Rows of a table where nobody said how many.
const ROWS: usize = 20;
/// How long after CMD has exited: what is queued may yet be dropped.
const QUIET: Duration = Duration::from_millis(300);

/// Counts until something ends it; the exit status.
///
/// # Errors
/// One line: what could not be done, and what to do.
pub fn run(args: &DropsArgs) -> anyhow::Result<u8> {
    preflight::check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(count(args))
}

async fn count(args: &DropsArgs) -> anyhow::Result<u8> {
    // Before anything is attached: a signal from here on is a clean stop.
    let (interrupt, terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut counter = Counter::start(args)?;
    let mut ends = Ends { interrupt, terminate, deadline: None, child: None };
    let mut screen = Screen::new(args, counter.began);
    screen.head(&counter, args)?;
    let (probes, devices) = (counter.counting.probes().len(), counter.devices());
    tell(&format!("lasthop: ready: {probes} probes on {devices} devices"));
    ends.deadline = args.stop_after.map(|d| Instant::now() + d);
    ends.child = child::spawn(&args.command, args.json)?;
    follow(&mut counter, &mut screen, &mut ends, args).await?;
    if let Some(child) = ends.child.take() {
        child.end().await;
    }
    counter.counting.detach();
    counter.read()?;
    screen.last(&counter)?;
    Ok(0)
}

/// Reads the maps and prints until something ends it.
async fn follow(
    counter: &mut Counter,
    screen: &mut Screen,
    ends: &mut Ends,
    args: &DropsArgs,
) -> anyhow::Result<()> {
    let mut read = interval(READ);
    read.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let every = args.interval.or_else(|| screen.is_live().then_some(REFRESH));
    let mut print = interval(every.unwrap_or(Duration::from_hours(24)));
    print.tick().await;
    loop {
        tokio::select! {
            stop = ends.stop() => if stop { return Ok(()) },
            _ = read.tick() => if counter.read()? {
                read.reset_after(SOON);
            },
            _ = print.tick(), if every.is_some() => {
                counter.read()?;
                screen.interim(counter)?;
            }
            events = counter.watch.next() => match events {
                Some(events) => counter.topology_changed(events),
                None => anyhow::bail!("the topology can no longer be followed"),
            },
        }
    }
}

/// What ends the count.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
    child: Option<Child>,
}

impl Ends {
    /// Waits for what may end it; whether it does.
    async fn stop(&mut self) -> bool {
        let deadline = self.deadline;
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            () = async { match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            } } => true,
            () = async { match &mut self.child {
                Some(child) => child.exited().await,
                None => std::future::pending().await,
            } } => {
                self.child = None;
                let soon = Instant::now() + QUIET;
                self.deadline = Some(deadline.map_or(soon, |at| at.min(soon)));
                false
            }
        }
    }
}

/// The kernel's counts, and what gives them names.
struct Counter {
    counting: Counting,
    legend: Legend,
    watch: Watch,
    topology: Topology,
    tally: Tally,
    by: u32,
    by_ovs_port: bool,
    /// For how many details the kernel has room.
    in_kernel: usize,
    /// `--netns` names some namespaces: only theirs count.
    scoped: bool,
    /// Devices and namespaces by the names they had when they first dropped: they may go.
    seen: HashMap<(u32, u32), Seen>,
    began: Instant,
}

#[derive(Clone, Debug)]
struct Seen {
    netns: Netns,
    device: Option<String>,
    ovs_port: Option<String>,
    in_scope: bool,
}

impl Counter {
    fn start(args: &DropsArgs) -> anyhow::Result<Self> {
        let by = args.by.iter().fold(0, |bits, by| bits | bits_of(*by));
        let filter = (!args.filter_text.is_empty()).then_some(&args.filter);
        let keep = args.keep.map_or(1, |n| usize::try_from(n.get()).unwrap_or(usize::MAX));
        // Between two readings the kernel keeps more apart, lest what is frequent comes too late.
        let in_kernel = u32::try_from(keep).unwrap_or(u32::MAX).clamp(1 << 14, 1 << 20);
        let (watch, links) = Watch::start(Scope::from_options(&args.netns))?;
        let (counting, legend) = Counting::start(by, filter, in_kernel)?;
        let scoped = !args.netns.is_empty() && !args.netns.iter().any(|name| name == "all");
        let mut counter = Self {
            counting,
            legend,
            watch,
            topology: Topology::default(),
            tally: Tally::new(by != 0, keep.saturating_mul(2)),
            by,
            in_kernel: in_kernel as usize,
            by_ovs_port: args.by.contains(&By::OvsPort),
            scoped,
            seen: HashMap::new(),
            began: Instant::now(),
        };
        counter.topology_changed(links);
        Ok(counter)
    }

    fn topology_changed(&mut self, events: impl IntoIterator<Item = LinkEvent>) {
        let now = std::time::Instant::now();
        events.into_iter().for_each(|event| self.topology.apply(event, now));
    }

    fn devices(&self) -> usize {
        self.topology.devices()
    }

    /// Takes in what the kernel has counted; whether it had hardly any room left for more details.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut crowded = false;
        if self.by != 0 {
            let details = self.counting.take_details()?;
            for (detail, _) in &details {
                self.name(&detail.key);
            }
            crowded = details.len() >= self.in_kernel / 2;
            self.tally.details(details);
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

    fn rows(&self) -> Vec<Drops> {
        let in_scope = |key: &DropKey| {
            self.seen.get(&(key.netns, key.ifindex)).map_or(!self.scoped, |seen| seen.in_scope)
        };
        let entries = self.tally.entries().filter(|entry| in_scope(&entry.detail.key));
        drops::rows(entries, self, self.by, self.by_ovs_port)
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
        let named = seen.and_then(|seen| seen.device.clone());
        named.or_else(|| (ifindex != 0).then(|| format!("ifindex {ifindex}")))
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
        proto_name(number)
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

/// Where the rows go.
struct Screen {
    json: bool,
    live: bool,
    top: Option<usize>,
    all: bool,
    table: Table,
    previous: Previous,
    told_not_held: u64,
}

/// The counts at the last printing, for the rates.
struct Previous {
    at: Instant,
    counts: HashMap<String, u64>,
}

impl Screen {
    fn new(args: &DropsArgs, began: Instant) -> Self {
        let live = !args.json && std::io::stdout().is_terminal();
        let top = args.top.map(|n| usize::try_from(n.get()).unwrap_or(usize::MAX));
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        Self {
            json: args.json,
            live,
            top: top.or_else(|| (!args.json).then_some(ROWS)),
            all: args.all,
            table: Table::new(choice != anstream::ColorChoice::Never),
            previous: Previous { at: began, counts: HashMap::new() },
            told_not_held: 0,
        }
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn head(&self, counter: &Counter, args: &DropsArgs) -> anyhow::Result<()> {
        if self.json {
            let (now, start) = (counter.now(), monotonic_start(counter));
            let (probes, blind) = (counter.counting.probes(), counter.counting.blind());
            let meta = meta(now, start, &args.filter_text, probes, blind);
            let mut out = std::io::stdout().lock();
            json::write(&mut out, &Record::Meta(meta))?;
            out.flush()?;
        } else {
            for line in counter.counting.blind() {
                log::warn!("not seen: {line}");
            }
        }
        Ok(())
    }

    fn interim(&mut self, counter: &Counter) -> anyhow::Result<()> {
        let seconds = self.previous.at.elapsed().as_secs_f64();
        let mut rows = counter.rows();
        let mut counts = HashMap::with_capacity(rows.len());
        for row in &mut rows {
            let name = identity(row);
            let before = self.previous.counts.get(&name).copied().unwrap_or(0);
            row.rate = Some(rate(row.count.saturating_sub(before), seconds));
            counts.insert(name, row.count);
        }
        self.previous = Previous { at: Instant::now(), counts };
        self.print(rows, counter, false)
    }

    fn last(&mut self, counter: &Counter) -> anyhow::Result<()> {
        self.print(counter.rows(), counter, true)
    }

    fn print(&mut self, mut rows: Vec<Drops>, counter: &Counter, end: bool) -> anyhow::Result<()> {
        let ts = counter.now();
        if !self.all {
            rows = drops::fold(rows);
        }
        let hidden = self.top.map_or(0, |top| rows.len().saturating_sub(top));
        rows.truncate(rows.len() - hidden);
        let not_held = counter.counting.not_held();
        let mut out = std::io::stdout().lock();
        if self.json {
            for mut row in rows {
                row.ts = ts;
                json::write(&mut out, &Record::Drops(Box::new(row)))?;
            }
            let count = not_held - std::mem::replace(&mut self.told_not_held, not_held);
            if count != 0 {
                let what = Some("drops-not-held".to_owned());
                json::write(&mut out, &Record::Lost(Lost { cpu: 0, count, ts, what }))?;
            }
        } else {
            let seconds = counter.began.elapsed().as_secs_f64();
            let page = self.table.page(&rows, hidden, not_held, seconds);
            // A terminal shows the latest page only; a file keeps all.
            let clear = if self.live { "\x1b[H\x1b[2J" } else { "" };
            write!(out, "{clear}{page}")?;
            if !self.live && !end {
                writeln!(out)?;
            }
        }
        out.flush().context("standard output")?;
        Ok(())
    }
}

/// How many a second, to one decimal place.
#[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
fn rate(count: u64, seconds: f64) -> f64 {
    (count as f64 / seconds.max(1e-3) * 10.0).round() / 10.0
}

/// What tells a row from the others.
fn identity(row: &Drops) -> String {
    let bare = Drops { ts: 0, count: 0, bytes: 0, rate: None, ..row.clone() };
    serde_json::to_string(&bare).unwrap_or_default()
}

fn monotonic_start(counter: &Counter) -> u64 {
    crate::capture::session::monotonic().saturating_sub(counter.now())
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
