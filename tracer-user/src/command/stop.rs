//! What ends a command that watches the node: a signal, `--for`, or the exit of CMD.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::child::{self, Child};

/// Waits for what ends a command.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
    child: Option<Child>,
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
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            deadline: None,
            child: None,
        })
    }

    /// Runs CMD, if there is one (its standard output goes to stderr with `json`), and counts
    /// `--for` from now.
    ///
    /// # Errors
    /// CMD cannot be run.
    pub fn begin(
        &mut self,
        command: &[std::ffi::OsString],
        json: bool,
        stop_after: Option<Duration>,
    ) -> anyhow::Result<()> {
        self.deadline = stop_after.map(|d| Instant::now() + d);
        self.child = child::spawn(command, json)?;
        Ok(())
    }

    /// Waits for whatever comes first. May be dropped and called again.
    pub async fn wait(&mut self) -> Ended {
        tokio::select! {
            _ = self.interrupt.recv() => Ended::All,
            _ = self.terminate.recv() => Ended::All,
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

    /// Ends CMD if it still runs.
    pub async fn end_child(&mut self) {
        if let Some(child) = self.child.take() {
            child.end().await;
        }
    }
}

async fn or_never(wait: Option<impl Future<Output = ()>>) {
    match wait {
        Some(wait) => wait.await,
        None => pending().await,
    }
}
