//! What ends a command that watches the node: a signal, `--for`, or the exit of CMD.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

use super::child::{Child, Prepared};
use super::hurry;
use crate::cli::LiveArgs;

/// Waits for what ends a command.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone; `None` where that is to be outlived, as under nohup.
    hangup: Option<Signal>,
    deadline: Option<Instant>,
    child: Option<Child>,
    /// It was over before it began.
    over: bool,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is over: a signal came, or its time is up.
    All,
    /// CMD has exited; what it set off may still be under way.
    Child,
}

impl Stop {
    /// From here on a signal is a clean stop: to be made before anything is attached.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn on_signals() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let ended_by = if is_hangup_ignored() { &kinds[..2] } else { &kinds };
        ended_by.iter().try_for_each(|kind| hurry::on_signal(kind.as_raw_value()))?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!is_hangup_ignored()).then(|| signal(SignalKind::hangup())).transpose()?,
            deadline: None,
            child: None,
            over: false,
        })
    }

    /// Runs CMD, if there is one, with the privileges that lasthop was started with; its standard
    /// output goes to stderr with `json`. `--for` counts from now. Does nothing where a signal came
    /// while all was attached.
    ///
    /// # Errors
    /// CMD cannot be run.
    pub async fn begin(
        &mut self,
        child: Option<Prepared>,
        args: &LiveArgs,
        json: bool,
    ) -> anyhow::Result<()> {
        // Long enough for the runtime to look at what came.
        const LOOK: Duration = Duration::from_millis(1);
        self.over = timeout(LOOK, self.wait()).await.is_ok();
        if self.over {
            return Ok(());
        }
        self.deadline = args.stop_after.map(|d| Instant::now() + d);
        let Some(child) = child else { return Ok(()) };
        tokio::select! {
            started = child.start(json) => self.child = Some(started?),
            // A file system that does not answer may hold the start up.
            _ = self.wait() => self.over = true,
        }
        Ok(())
    }

    /// Waits for whatever comes first. May be dropped and called again.
    pub async fn wait(&mut self) -> Ended {
        if self.over {
            return Ended::All;
        }
        let ended = self.first().await;
        // The time that is left counts from here.
        let _ = hurry::left();
        ended
    }

    async fn first(&mut self) -> Ended {
        tokio::select! {
            _ = self.interrupt.recv() => Ended::All,
            _ = self.terminate.recv() => Ended::All,
            _ = or_never(self.hangup.as_mut().map(Signal::recv)) => Ended::All,
            () = or_never(self.deadline.map(sleep_until)) => Ended::All,
            () = or_never(self.child.as_mut().map(Child::exited)) => {
                self.child = None;
                Ended::Child
            }
        }
    }

    /// Is over at the latest then.
    pub fn no_later_than(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Ends CMD if it still runs, with all that it started; what it left behind as it ended by itself
    /// goes on.
    pub async fn end_child(&mut self) {
        if let Some(child) = self.child.take() {
            child.end().await;
        }
    }
}

/// Whether whoever started this process has SIGHUP ignored (`SigIgn` of proc(5), a mask of signals).
fn is_hangup_ignored() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (SIGHUP - 1) & 1 != 0)
}

async fn or_never<T>(wait: Option<impl Future<Output = T>>) -> T {
    match wait {
        Some(wait) => wait.await,
        None => pending().await,
    }
}
