//! What the trace asks of a namespace's netfilter: the collector's one place that does so. The
//! answers are records, so that `explain` judges by the same facts.

mod ctnetlink;

use std::collections::HashMap;
use std::io;

use crate::model::{Conntrack, Hop};
use crate::reconstruct::asked::Question;
use crate::topology::{Topology, enter};

/// How long an answer is good for, nanoseconds.
const FRESH: u64 = 1_000_000_000;
/// How many questions one trace asks while it runs.
const MAX_QUESTIONS: u32 = 256;

/// Asks while the trace runs what will not be there to be asked at its end.
#[derive(Debug, Default)]
pub struct Asker {
    pending: Vec<Question>,
    /// When a namespace was asked about a tuple last.
    asked: HashMap<Question, u64>,
    questions: u32,
}

impl Asker {
    /// A hop was seen: a packet that netfilter dropped raises questions.
    pub fn see(&mut self, hop: &Hop) {
        for question in crate::reconstruct::asked::raised_by(hop) {
            let known = self.asked.get(&question);
            let fresh = known.is_some_and(|at| hop.ts.saturating_sub(*at) < FRESH);
            if fresh || self.questions >= MAX_QUESTIONS {
                continue;
            }
            self.questions += 1;
            self.asked.insert(question.clone(), hop.ts);
            self.pending.push(question);
        }
    }

    /// The questions since the last call.
    pub fn take(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.pending)
    }
}

/// Asks; `now` is in nanoseconds since the trace began. `None` where the namespace is not known.
pub fn ask(topology: &Topology, question: &Question, now: u64) -> Option<Conntrack> {
    let netns = topology.netns(question.netns)?;
    let mut record = Conntrack {
        ts: now,
        netns: topology.model_netns(question.netns),
        tuple: question.tuple.clone(),
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
    if let Some(tuple) = record.tuple.clone() {
        let zone = record.zone.unwrap_or(0);
        record.entry = conntrack.holder(&ctnetlink::Wanted { tuple, icmp_id, zone })?;
    }
    Ok(())
}
