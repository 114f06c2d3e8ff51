//! `lasthop drops`: count all drops on the node, and print them as a table or as NDJSON.

mod counter;
mod screen;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::counter::Counter;
use self::screen::Screen;
use super::child::Prepared;
use super::stop::{Ended, Stop};
use crate::cli::DropsArgs;
use crate::privileges::{self, Duty, Hands};

/// How often the kernel's maps are emptied, and new devices given their names.
const READ: Duration = Duration::from_millis(200);
/// How soon they are read again that were nearly full.
const SOON: Duration = Duration::from_millis(20);
/// How often the table is printed where nobody said it.
const REFRESH: Duration = Duration::from_secs(1);
/// How long after CMD has exited: what is queued may yet be dropped.
const QUIET: Duration = Duration::from_millis(300);

/// Counts until something ends it; the exit status.
///
/// # Errors
/// One line: what could not be done, and what to do.
pub fn run(args: &DropsArgs) -> anyhow::Result<u8> {
    let cmd = &args.live.command;
    super::live::run(Duty::Count, cmd, async |hands, child| count(args, hands, child).await)
}

async fn count(args: &DropsArgs, hands: &Hands, child: Option<Prepared>) -> anyhow::Result<u8> {
    let mut stop = Stop::on_signals()?;
    let mut counter = Counter::start(args)?;
    let mut screen = Screen::new(args, counter.began());
    screen.head(&counter, args)?;
    privileges::renounce()?;
    super::meta::tell_ready(counter.probes(), counter.devices());
    stop.begin(child, &args.live, args.output.json).await?;
    let followed = follow(&mut counter, &mut screen, &mut stop, args, hands).await;
    stop.end_child().await;
    followed?;
    let counts = hands.run(|| {
        counter.detach();
        counter.counts()
    })?;
    screen.last(counts, counter.ledger())?;
    Ok(0)
}

/// Reads the maps and prints until something ends it.
async fn follow(
    counter: &mut Counter,
    screen: &mut Screen,
    stop: &mut Stop,
    args: &DropsArgs,
    hands: &Hands,
) -> anyhow::Result<()> {
    let mut read = interval(READ);
    read.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let every = args.interval.or_else(|| screen.is_live().then_some(REFRESH));
    let mut print = interval(every.unwrap_or(Duration::from_hours(24)));
    print.tick().await;
    loop {
        tokio::select! {
            ended = stop.wait() => match ended {
                Ended::All => return Ok(()),
                Ended::Child => stop.no_later_than(Instant::now() + QUIET),
            },
            _ = read.tick() => if hands.run(|| counter.read())? {
                read.reset_after(SOON);
            },
            _ = print.tick(), if every.is_some() => {
                let counts = hands.run(|| counter.counts())?;
                screen.interim(counts, counter.ledger())?;
            }
            events = counter.links_changed() => match events {
                Some(events) => counter.topology_changed(events),
                None => anyhow::bail!("the topology can no longer be followed"),
            },
        }
    }
}
