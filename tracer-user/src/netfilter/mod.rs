//! What the trace asks of a namespace's netfilter: the collector's one place that does so. The
//! answers are records, so that `explain` judges by the same facts.

mod ctnetlink;
mod dropped;
pub(crate) mod fuzzing;
mod latest;
mod nfnetlink;
mod program;
mod reader;
mod routing;

mod turn;
mod worker;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::dropped::Dropped;
use self::latest::Latest;
use self::worker::{Job, Workers};
use crate::few::Few;
use crate::topology::{Topology, enter};
use tracer_core::reconstruct::asked::{self, Answer, Question};
use tracer_core::record::{Conntrack, Hop, Tuple};

/// How long an answer is good for, nanoseconds.
const FRESH: u64 = 1_000_000_000;
/// How many questions one trace asks conntrack in that time.
const MAX_QUESTIONS: u32 = 256;
/// How long conntrack is asked before other things get their turn: the rest is asked next time.
const ONE_ROUND: Duration = Duration::from_millis(50);
/// How many packets may wait to have their rule found, and destinations to be asked about: about others nothing is
/// asked, which is said.
const MAX_WAITING: usize = 16_384;
const MAX_SOUGHT: usize = 256;

/// Asks while the trace runs what will not be there to be asked at its end.
#[derive(Debug, Default)]
pub struct Asker {
    pending: Vec<Question>,
    /// When a namespace was asked about a tuple last.
    asked: HashMap<Question, u64>,
    /// How many questions there were since then.
    questions: (u64, u32),
    /// Packets whose rule is to be found, by namespace.
    unblamed: HashMap<u32, Vec<Dropped>>,
    /// Where rules were looked for: namespace, tuple, function that dropped.
    blamed: Latest<(u32, Tuple, Option<String>)>,
    /// Packets whose destination is to be asked about.
    unsent: Vec<Hop>,
    /// About which it was asked: namespace, device, destination.
    sought: Latest<(u32, u32, IpAddr)>,
    workers: Workers,
    unasked: Few,
}

impl Asker {
    /// A hop was seen: a packet that netfilter dropped raises questions, and one that was not sent on.
    pub fn see(&mut self, hop: &Hop) {
        let Some(drop) = &hop.drop else { return };
        self.seek(hop);
        let (reason, symbol) = (drop.reason.as_deref(), drop.symbol.as_deref());
        if asked::is_netfilter(reason, symbol) && !asked::is_datapath(reason, symbol) {
            self.blame(hop);
        }
        for question in asked::raised_by(hop) {
            let known = self.asked.get(&question);
            if known.is_some_and(|at| hop.ts.saturating_sub(*at) < FRESH) {
                continue;
            }
            if hop.ts.saturating_sub(self.questions.0) >= FRESH {
                self.questions = (hop.ts, 0);
                self.asked.retain(|_, at| hop.ts.saturating_sub(*at) < FRESH);
            }
            if self.questions.1 < MAX_QUESTIONS {
                self.questions.1 += 1;
                self.asked.insert(question.clone(), hop.ts);
                self.pending.push(question);
            }
        }
    }

    fn seek(&mut self, hop: &Hop) {
        if asked::lacks(hop).is_none() || self.unsent.len() + self.workers.sought() >= MAX_SOUGHT {
            return;
        }
        let (Some(netns), Some(dev), Some(tuple)) = (&hop.netns, &hop.dev, &hop.tuple) else {
            return;
        };
        if self.sought.insert((netns.inode, dev.ifindex, tuple.dst)) {
            self.unsent.push(hop.clone());
        }
    }

    fn blame(&mut self, hop: &Hop) {
        let (Some(netns), Some(tuple), Some(drop)) = (&hop.netns, &hop.tuple, &hop.drop) else {
            return;
        };
        let key = (netns.inode, *tuple, drop.symbol.clone());
        if self.blamed.has(&key) {
            return;
        }
        let waiting = self.unblamed.values().map(Vec::len).sum::<usize>() + self.workers.blamed();
        if waiting >= MAX_WAITING {
            self.unasked.warn("more packets are dropped than rules can be held against");
            return;
        }
        self.blamed.insert(key);
        if let Some(dropped) = Dropped::of(hop) {
            self.unblamed.entry(netns.inode).or_default().push(dropped);
        }
    }

    /// Asks what was not asked yet; rules and routes are read on threads of their own. The answers that
    /// there are by now.
    pub fn ask(&mut self, topology: &Topology, now: u64) -> Vec<Answer> {
        for (inode, dropped) in self.unblamed.drain() {
            if let Some(netns) = topology.netns(inode) {
                let name = topology.model_netns(inode);
                self.workers.give(Job::Rules { netns, name, dropped, now });
            }
        }
        for hop in self.unsent.drain(..) {
            if let Some(netns) = hop.netns.as_ref().and_then(|n| topology.netns(n.inode)) {
                let name = topology.model_netns(netns.inode);
                self.workers.give(Job::Routes { netns, name, hop: Box::new(hop), now });
            }
        }
        let until = Instant::now() + ONE_ROUND;
        let mut answers = Vec::new();
        while let Some(question) = self.pending.pop() {
            answers.extend(ask(topology, &question, now).map(Answer::Conntrack));
            if Instant::now() >= until {
                break;
            }
        }
        answers.extend(self.workers.ready());
        answers
    }

    /// Nothing is to be asked, and no answer is awaited.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && self.unblamed.is_empty()
            && self.unsent.is_empty()
            && self.workers.are_idle()
    }

    /// Gives up what is still being read; what waits for it is answered with that.
    pub fn halt(&mut self) {
        self.pending.clear();
        self.workers.halt();
    }
}

/// Asks; `now` is in nanoseconds since the trace began. `None` where the namespace is not known.
pub fn ask(topology: &Topology, question: &Question, now: u64) -> Option<Conntrack> {
    let netns = topology.netns(question.netns)?;
    let mut record = Conntrack {
        ts: now,
        netns: topology.model_netns(question.netns),
        tuple: question.tuple,
        zone: question.zone,
        entry: None,
        count: None,
        max: None,
        failed: None,
    };
    match enter(&netns, || fill(&mut record, question.icmp_id)) {
        Ok(Ok(())) => {}
        Ok(Err(e)) | Err(e) => record.failed = Some(e.to_string()),
    }
    Some(record)
}

fn fill(record: &mut Conntrack, icmp_id: Option<u16>) -> io::Result<()> {
    let conntrack = ctnetlink::Conntrack::open()?;
    (record.count, record.max) = conntrack.size()?;
    if let Some(tuple) = record.tuple {
        let zone = record.zone.unwrap_or(0);
        record.entry = conntrack.holder(&ctnetlink::Wanted { tuple, icmp_id, zone })?;
    }
    Ok(())
}
