//! `lasthop trace`: attach, follow, print hops as they happen, and a verdict per flow at the end.

use std::time::Duration;

use anyhow::Context as _;
use log::Level;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::child::Prepared;
use super::hurry;
use super::output;
use super::stop::{Ended, Stop};
use crate::capture::session::{Plan, Session, WantsPort};
use crate::cgroup;
use crate::cli::TraceArgs;
use crate::netfilter::Asker;
use crate::ovs::asking::Asking;
use crate::ovs::find::Finder;
use crate::ovs::ports::PortNames;
use crate::privileges::{self, Duty, Hands};
use crate::report::{Form, Report, Shows};
use crate::topology::Scope;
use tracer_core::reconstruct::asked::Answer;
use tracer_core::record::{HookName, Hop, Meta};

/// How often the story is asked for packets whose fate is settled, and counters are read.
const TICK: Duration = Duration::from_millis(100);
/// After CMD has exited: how long it must have been quiet, …
const QUIET: Duration = Duration::from_millis(300);
/// … and how long packets without an outcome, or waiting for a neighbour, are waited for: neighbour
/// resolution gives up after three seconds (`mcast_solicit` × `retrans_time_ms`).
const PATIENCE: Duration = Duration::from_secs(4);
/// After CMD has exited: how long traffic that goes on is followed.
const LONGEST: Duration = Duration::from_secs(10);

/// How long rules and routes that are still being read are waited for, …
const READING: Duration = Duration::from_secs(10);
/// … and how long for what those who were told to stop have to say of it.
const HALTING: Duration = Duration::from_millis(250);
/// How long conntrack is asked at the end.
const LAST_QUESTIONS: Duration = Duration::from_millis(200);

/// Time left after a signal once what the kernel has written is read, …
const AFTER_DRAINING: Duration = Duration::from_millis(550);
/// … once rules and routes that are still being read are given up, …
const AFTER_READING: Duration = Duration::from_millis(475);
/// … and once nobody is asked any more: for the verdicts.
const AFTER_ASKING: Duration = Duration::from_millis(400);
/// Time left when no verdict is told any more, but counted.
const AFTER_TELLING: Duration = Duration::from_millis(150);

/// Runs the trace; the exit status.
///
/// # Errors
/// One line: what could not be done, and what to do.
pub fn run(args: TraceArgs) -> anyhow::Result<u8> {
    let cmd = args.live.command.clone();
    super::live::run(Duty::Trace, &cmd, async |hands, child| trace(args, hands, child).await)
}

/// What ends a trace.
struct Ends {
    stop: Stop,
    /// Set when the child has exited.
    lingering_since: Option<Instant>,
    last_hop: Instant,
}

async fn trace(args: TraceArgs, hands: &Hands, child: Option<Prepared>) -> anyhow::Result<u8> {
    let mut stop = Stop::on_signals()?;
    let ports = args.clone();
    let plan = Plan {
        filter: args.live.filter,
        scope: Scope::from_options(&args.live.netns),
        wants_port: args
            .chooses_ports()
            .then(|| -> WantsPort { Box::new(move |name| ports.wants_port(name)) }),
        ring_bytes: args.ring,
        is_partial: args.is_partial(),
    };
    cgroup::ensure_room(plan.ring_bytes.into(), "--ring", cgroup::OF_TRACE)?;
    let mut session = Session::start(plan)?;
    let talk = hands.talk().context("no thread is there to ask Open vSwitch")?;
    let finder = Finder::default();
    let names = PortNames::start(talk, finder.clone()).await;
    let mut report = Report::new(
        Box::new(output::stdout()),
        Form::for_stdout(args.output.json),
        Shows::Everything,
    );
    let meta = Meta { ring: Some(args.ring.into()), ..meta(&session, &args.live.filter_text) };
    report.meta(&meta)?;
    report.flush()?;
    privileges::renounce()?;
    announce(&session);
    let begun = stop.begin(child, &args.live, args.output.json).await;
    let mut ends = Ends { stop, lingering_since: None, last_hop: Instant::now() };
    let open_vswitch = Asking::new(talk, finder);
    let mut owners =
        Owners { hands, names, open_vswitch, netfilter: Asker::default(), hops: Vec::new() };
    let packets = args.packets.map(std::num::NonZero::get);
    let followed = match begun {
        Ok(()) => follow(&mut session, &mut report, &mut owners, &mut ends, packets).await,
        refused => refused,
    };
    let over = Instant::now();
    let took = |what| log::debug!("{what} {} ms after the end", over.elapsed().as_millis());
    ends.stop.end_child().await;
    // Detach, then drain: whatever the kernel wrote is read.
    hands.run(|| session.detach());
    took("detached");
    followed?;
    while !hurry::leaves_less_than(AFTER_DRAINING) && owners.take_in(&mut session, &mut report)? {}
    took("read");
    let answers = owners.rest(&session).await;
    answers.into_iter().try_for_each(|answer| report.answered(answer))?;
    for lost in hands.run(|| session.lost())? {
        report.lost(&lost)?;
    }
    let end = session.now();
    let until = Instant::now() + LAST_QUESTIONS;
    for question in report.close(end)? {
        if Instant::now() >= until || hurry::leaves_less_than(AFTER_ASKING) {
            break;
        }
        let answer = hands.run(|| session.ask(&question));
        answer.map_or(Ok(()), |answer| report.answered(answer))?;
    }
    report.flush()?;
    report.questions().into_iter().for_each(|question| owners.open_vswitch.ask(question));
    for answer in owners.open_vswitch.rest(hurry::wait_for_less_than(AFTER_ASKING)).await {
        report.answered(Answer::OpenVswitch(Box::new(answer)))?;
    }
    took("asked");
    let has_time = || !hurry::leaves_less_than(AFTER_TELLING);
    let status = report.finish(end, false, &has_time)?;
    took("told");
    Ok(if args.exit_code { status } else { 0 })
}

/// Those who are asked what the kernel's hooks cannot tell.
struct Owners<'a> {
    hands: &'a Hands,
    names: PortNames,
    open_vswitch: Asking,
    netfilter: Asker,
    /// Room for a batch of hops.
    hops: Vec<Hop>,
}

impl Owners<'_> {
    /// Reports a hop with the names that people use, and notes what is to be asked about it.
    fn see(&mut self, report: &mut Report<'_>, mut hop: Hop) {
        self.names.name(&mut hop);
        self.netfilter.see(&hop);
        report.hop(&mut hop);
    }

    /// Takes in what hops there are, some batches at most; whether there were any. What was lost until
    /// then is taken in before them: who judges a packet by the time of a hop has to know it.
    fn take_in(&mut self, session: &mut Session, report: &mut Report<'_>) -> anyhow::Result<bool> {
        /// How many batches before other things get their turn.
        const BATCHES: usize = 8;
        let mut any = false;
        for _ in 0..BATCHES {
            let mut hops = std::mem::take(&mut self.hops);
            any |= session.drain(&mut hops) != 0;
            let latest = hops.iter().map(|hop| hop.ts).max();
            if latest.is_some_and(|ts| session.owes_losses(ts)) {
                for lost in self.hands.run(|| session.lost_events())? {
                    report.lost(&lost)?;
                }
            }
            hops.drain(..).for_each(|hop| self.see(report, hop));
            self.hops = hops;
            if !session.has_more() {
                break;
            }
        }
        Ok(any)
    }

    /// Lets conntrack be asked what there is to ask; the answers that there are by now.
    fn answers(&mut self, session: &Session) -> Vec<Answer> {
        let Self { hands, netfilter, .. } = self;
        if netfilter.is_idle() { Vec::new() } else { hands.run(|| session.answers(netfilter)) }
    }

    /// The answers that are still to come, in so far as they come in time.
    async fn rest(&mut self, session: &Session) -> Vec<Answer> {
        const LOOK: Duration = Duration::from_millis(5);
        let mut until = Instant::now() + READING;
        let (mut reserve, mut is_halted) = (AFTER_READING, false);
        let mut answers = Vec::new();
        loop {
            answers.extend(self.answers(session));
            let now = Instant::now();
            let is_late = now >= until || hurry::leaves_less_than(reserve);
            if self.netfilter.is_idle() || (is_halted && is_late) {
                return answers;
            }
            if is_late {
                // What is not known is told, too.
                self.netfilter.halt();
                (is_halted, until, reserve) = (true, now + HALTING, AFTER_ASKING);
            }
            sleep(LOOK).await;
        }
    }
}

/// Prints hops until something ends the trace.
async fn follow(
    session: &mut Session,
    report: &mut Report<'_>,
    owners: &mut Owners<'_>,
    ends: &mut Ends,
    packets: Option<u64>,
) -> anyhow::Result<()> {
    let hands = owners.hands;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // When it was, if there is to be settled by the clock what no later hop settles.
        let mut ticked = None;
        let stop = tokio::select! {
            events = session.wait() => {
                let events = events?;
                if !events.is_empty() {
                    hands.run(|| session.changed(events));
                }
                false
            }
            _ = tick.tick() => {
                // Before the losses are read: until then they are known.
                ticked = Some(session.now());
                for lost in hands.run(|| { session.follow_modules(); session.lost() })? {
                    report.lost(&lost)?;
                }
                let asking = &mut owners.open_vswitch;
                report.questions().into_iter().for_each(|question| asking.ask(question));
                for answer in asking.ready() {
                    report.answered(Answer::OpenVswitch(Box::new(answer)))?;
                }
                let waiting = || hands.run(|| session.looks_for_neighbours());
                ends.has_lingered(report.open_packets(), waiting)
            }
            stop = ends.stop() => stop,
        };
        if owners.take_in(session, report)? {
            ends.last_hop = Instant::now();
        }
        // Only once all that happened until then has been taken in.
        if let Some(now) = ticked.filter(|_| !session.has_more()) {
            report.settle(now)?;
        }
        owners.answers(session).into_iter().try_for_each(|answer| report.answered(answer))?;
        report.flush()?;
        if stop || packets.is_some_and(|n| report.outcomes() >= n) {
            return Ok(());
        }
    }
}

impl Ends {
    /// Waits for a signal, the deadline or CMD's exit; whether the trace is over at once.
    async fn stop(&mut self) -> bool {
        match self.stop.wait().await {
            Ended::All => true,
            Ended::Child => {
                self.lingering_since = Some(Instant::now());
                false
            }
        }
    }

    /// After CMD's exit: whether all that it set off seems to be over. `waiting`: packets may be where
    /// no hook has seen them yet.
    fn has_lingered(&self, open_packets: u64, waiting: impl FnOnce() -> bool) -> bool {
        self.lingering_since.is_some_and(|since| {
            if self.last_hop.max(since).elapsed() < QUIET {
                return since.elapsed() >= LONGEST;
            }
            since.elapsed() >= PATIENCE || (open_packets == 0 && !waiting())
        })
    }
}

/// Says what is not seen, and that all probes are attached.
fn announce(session: &Session) {
    for kind in session.attached() {
        if kind.probe.is_none() {
            // Copies are known by other means, too: common enough to be no news.
            let level = if kind.kind == HookName::Clone.name() { Level::Info } else { Level::Warn };
            log::log!(level, "no probe for {}: {}", kind.kind, kind.costs);
        }
    }
    let (probes, devices) = session.size();
    super::meta::tell_ready(probes, devices);
}

fn meta(session: &Session, filter: &str) -> Meta {
    let blind = session.blind();
    let (now, start) = (session.now(), session.start_monotonic());
    let meta = super::meta::meta(now, start, filter, session.probes(), blind);
    Meta { unseen: session.unseen(), ..meta }
}
