//! What the trace asks of a namespace's netfilter: the collector's one place that does so. The
//! answers are records, so that `explain` judges by the same facts.

mod ctnetlink;
pub(crate) mod fuzzing;
mod reader;
mod routing;
mod rules;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::thread::JoinHandle;

use crate::model::{Conntrack, Hop, Tuple};
use crate::reconstruct::asked::{self, Answer, Question};
use crate::topology::{Topology, enter};

/// How long an answer is good for, nanoseconds.
const FRESH: u64 = 1_000_000_000;
/// How many questions one trace asks while it runs.
const MAX_QUESTIONS: u32 = 256;
/// How many times one trace reads rules.
const MAX_READS: u32 = 32;

/// Asks while the trace runs what will not be there to be asked at its end.
#[derive(Debug, Default)]
pub struct Asker {
    pending: Vec<Question>,
    /// When a namespace was asked about a tuple last.
    asked: HashMap<Question, u64>,
    questions: u32,
    /// Packets whose rule is to be found.
    unblamed: Vec<Hop>,
    /// Where rules were looked for: namespace, tuple, function that dropped.
    blamed: HashSet<(u32, Tuple, Option<String>)>,
    /// Packets whose destination is to be asked about.
    unsent: Vec<Hop>,
    /// About which it was asked: namespace, device, destination.
    sought: HashSet<(u32, u32, IpAddr)>,
    readers: Vec<JoinHandle<Option<Answer>>>,
}

impl Asker {
    /// A hop was seen: a packet that netfilter dropped raises questions, and one that was not sent on.
    pub fn see(&mut self, hop: &Hop) {
        self.seek(hop);
        for question in asked::raised_by(hop) {
            let known = self.asked.get(&question);
            let fresh = known.is_some_and(|at| hop.ts.saturating_sub(*at) < FRESH);
            if fresh || self.questions >= MAX_QUESTIONS {
                continue;
            }
            self.questions += 1;
            self.asked.insert(question.clone(), hop.ts);
            self.pending.push(question);
            self.blame(hop);
        }
    }

    fn seek(&mut self, hop: &Hop) {
        if hop.drop.is_none() || asked::lacks(hop).is_none() {
            return;
        }
        let (Some(netns), Some(dev), Some(tuple)) = (&hop.netns, &hop.dev, &hop.tuple) else {
            return;
        };
        if (self.sought.len() as u32) < MAX_READS
            && self.sought.insert((netns.inode, dev.ifindex, tuple.dst))
        {
            self.unsent.push(hop.clone());
        }
    }

    fn blame(&mut self, hop: &Hop) {
        let (Some(netns), Some(tuple)) = (&hop.netns, &hop.tuple) else { return };
        let Some(drop) = &hop.drop else { return };
        if asked::is_datapath(drop.reason.as_deref(), drop.symbol.as_deref()) {
            return;
        }
        let symbol = drop.symbol.clone();
        let new = (self.blamed.len() as u32) < MAX_READS
            && self.blamed.insert((netns.inode, *tuple, symbol));
        if new {
            self.unblamed.push(hop.clone());
        }
    }

    /// Asks what was not asked yet; rules are read on threads of their own. The answers that there
    /// are by now.
    pub fn ask(&mut self, topology: &Topology, now: u64) -> Vec<Answer> {
        let unblamed = self.unblamed.drain(..).map(|hop| (hop, Reading::Rules));
        let unsent = self.unsent.drain(..).map(|hop| (hop, Reading::Routing));
        for (hop, what) in unblamed.chain(unsent) {
            let Some(netns) = hop.netns.as_ref().and_then(|n| topology.netns(n.inode)) else {
                continue;
            };
            let name = topology.model_netns(netns.inode);
            let reader = std::thread::Builder::new().name("rules".to_owned());
            let read = move || match what {
                Reading::Rules => reader::blame(&netns, name, &hop, now).map(Answer::Netfilter),
                Reading::Routing => routing::seek(&netns, name, &hop, now).map(Answer::Routing),
            };
            if let Ok(reader) = reader.spawn(read) {
                self.readers.push(reader);
            }
        }
        let pending = self.pending.drain(..);
        let asked = pending.filter_map(|question| ask(topology, &question, now));
        let mut answers: Vec<_> = asked.map(Answer::Conntrack).collect();
        let (done, busy) = self.readers.drain(..).partition(|r: &JoinHandle<_>| r.is_finished());
        self.readers = busy;
        answers.extend(joined(done));
        answers
    }

    /// Nothing is to be asked, and no answer is awaited.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && self.unblamed.is_empty()
            && self.unsent.is_empty()
            && self.readers.is_empty()
    }

    /// The answers that are still to come.
    pub fn wait(&mut self) -> Vec<Answer> {
        joined(std::mem::take(&mut self.readers)).collect()
    }
}

/// What is read with the tools that own it.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Rules,
    Routing,
}

fn joined(readers: Vec<JoinHandle<Option<Answer>>>) -> impl Iterator<Item = Answer> {
    readers.into_iter().filter_map(|r| r.join().ok().flatten())
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
