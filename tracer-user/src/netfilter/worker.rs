//! The threads that read rules and routes: one for each, which does one thing after the other. So a
//! trace has one program of either kind running at a time, however many packets wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::dropped::Dropped;
use super::program::{Halt, Limits};
use super::reader::Rulesets;
use super::routing;
use crate::privileges;
use crate::topology::Netns;
use tracer_core::reconstruct::asked::Answer;
use tracer_core::record::{self, Hop};

/// How long asking about one destination may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much a program may print of one.
const MAX_PRINTED: u64 = 256 << 10;

/// Something to be read. `now`: nanoseconds since the trace began.
#[derive(Debug)]
pub(super) enum Job {
    /// The rules that dropped these packets.
    Rules { netns: Arc<Netns>, name: record::Netns, dropped: Vec<Dropped>, now: u64 },
    /// The destination of this packet, which was not sent on.
    Routes { netns: Arc<Netns>, name: record::Netns, hop: Box<Hop>, now: u64 },
}

impl Job {
    /// How many answers there will be.
    fn len(&self) -> usize {
        match self {
            Self::Rules { dropped, .. } => dropped.len(),
            Self::Routes { .. } => 1,
        }
    }
}

/// One thread, and what it has to do.
#[derive(Debug)]
struct Worker {
    jobs: Sender<Job>,
    /// `None`: one that there is nothing to say in.
    answers: Receiver<Option<Answer>>,
    waiting: usize,
}

impl Worker {
    /// `work` does the jobs and tells the answers.
    fn start(
        name: &str,
        work: impl FnOnce(&Receiver<Job>, &dyn Fn(Option<Answer>)) + Send + 'static,
    ) -> Option<Self> {
        let (jobs, to_do) = channel();
        let (told, answers) = channel();
        let run = move || match privileges::keep_only(privileges::READING) {
            // Who is gone wants no answer.
            Ok(()) => work(&to_do, &|answer| drop(told.send(answer))),
            Err(e) => log::warn!("rules and routes cannot be read: {e:#}"),
        };
        match thread::Builder::new().name(name.to_owned()).spawn(run) {
            Ok(_) => Some(Self { jobs, answers, waiting: 0 }),
            Err(e) => {
                log::warn!("rules and routes cannot be read: {e}");
                None
            }
        }
    }

    fn give(&mut self, job: Job) {
        let len = job.len();
        if self.jobs.send(job).is_ok() {
            self.waiting += len;
        }
    }

    fn ready(&mut self) -> Vec<Answer> {
        let mut all = Vec::new();
        loop {
            match self.answers.try_recv() {
                Ok(answer) => {
                    self.waiting = self.waiting.saturating_sub(1);
                    all.extend(answer);
                }
                Err(TryRecvError::Empty) => return all,
                Err(TryRecvError::Disconnected) => {
                    self.waiting = 0;
                    return all;
                }
            }
        }
    }
}

/// Both threads, each started when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Workers {
    rules: Option<Worker>,
    routes: Option<Worker>,
    halt: Halt,
}

impl Workers {
    /// Has a job done.
    pub fn give(&mut self, job: Job) {
        let halt = &self.halt;
        let worker = match &job {
            Job::Rules { .. } => {
                let rules = || {
                    let halt = halt.clone();
                    Worker::start("rules", move |jobs, tell| read_rules(jobs, tell, halt))
                };
                or_start(&mut self.rules, rules)
            }
            Job::Routes { .. } => {
                let routes = || {
                    let halt = halt.clone();
                    Worker::start("routes", move |jobs, tell| read_routes(jobs, tell, &halt))
                };
                or_start(&mut self.routes, routes)
            }
        };
        if let Some(worker) = worker {
            worker.give(job);
        }
    }

    /// How many packets wait for their rule.
    pub fn blamed(&self) -> usize {
        self.rules.as_ref().map_or(0, |worker| worker.waiting)
    }

    /// How many destinations are being asked about.
    pub fn sought(&self) -> usize {
        self.routes.as_ref().map_or(0, |worker| worker.waiting)
    }

    /// No answer is awaited.
    pub fn are_idle(&self) -> bool {
        self.blamed() == 0 && self.sought() == 0
    }

    /// The answers that have come.
    pub fn ready(&mut self) -> Vec<Answer> {
        let workers = [&mut self.rules, &mut self.routes];
        workers.into_iter().flatten().flat_map(Worker::ready).collect()
    }

    /// Gives up what is being read.
    pub fn halt(&self) {
        self.halt.set();
    }
}

impl Drop for Workers {
    /// No program outlives the trace.
    fn drop(&mut self) {
        self.halt();
    }
}

fn or_start(
    worker: &mut Option<Worker>,
    start: impl FnOnce() -> Option<Worker>,
) -> Option<&mut Worker> {
    if worker.is_none() {
        *worker = start();
    }
    worker.as_mut()
}

fn read_rules(jobs: &Receiver<Job>, tell: &dyn Fn(Option<Answer>), halt: Halt) {
    let mut rulesets = Rulesets::new(halt);
    while let Ok(job) = jobs.recv() {
        if let Job::Rules { netns, name, dropped, now } = job {
            rulesets.blame((&netns, &name), &dropped, now, |answer| {
                tell(Some(Answer::Netfilter(answer)));
            });
        }
    }
}

fn read_routes(jobs: &Receiver<Job>, tell: &dyn Fn(Option<Answer>), halt: &Halt) {
    while let Ok(job) = jobs.recv() {
        if let Job::Routes { netns, name, hop, now } = job {
            let until = Instant::now() + PATIENCE;
            let limits = Limits { until, bytes: MAX_PRINTED, halt: halt.clone() };
            tell(routing::seek(&netns, name, &hop, now, &limits).map(Answer::Routing));
        }
    }
}
