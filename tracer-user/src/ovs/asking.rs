//! Open vSwitch is asked what its tables do with a packet that died in it, while the trace goes on:
//! one question after the other, each within a time limit.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::model::{OvsTrace, OvsVlan};
use crate::ovs::home::Home;
use crate::ovs::ovn;
use crate::ovs::owner::{Traced, arguments, conclude, is_assumed, switched};
use crate::ovs::pipeline::Trace;
use crate::ovs::rpc::Error;
use crate::ovs::vlan;
use crate::reconstruct::owner::Question;

/// How long a trace that is over waits for what is still being asked.
const PATIENCE: Duration = Duration::from_secs(8);

/// Questions on their way, and answers.
pub struct Asking {
    questions: UnboundedSender<Question>,
    answers: UnboundedReceiver<OvsTrace>,
    waiting: usize,
}

impl Asking {
    /// Nothing is asked yet; the asking is done on `runtime`.
    pub fn new(runtime: &Handle) -> Self {
        Self::of(runtime, Home::find)
    }

    /// As [`Asking::new`]; `home` finds who is asked.
    fn of(runtime: &Handle, home: impl Fn() -> Option<Home> + Send + 'static) -> Self {
        let (questions, mut to_ask) = unbounded_channel::<Question>();
        let (told, answers) = unbounded_channel();
        runtime.spawn(async move {
            let mut owner = Owner { home: Box::new(home), silent: None };
            while let Some(question) = to_ask.recv().await {
                // Who is gone wants no answer.
                if told.send(owner.answer(&question).await).is_err() {
                    break;
                }
            }
        });
        Self { questions, answers, waiting: 0 }
    }

    /// Asks, without waiting.
    pub fn ask(&mut self, question: Question) {
        if self.questions.send(question).is_ok() {
            self.waiting += 1;
        }
    }

    /// The answers that have come.
    pub fn ready(&mut self) -> Vec<OvsTrace> {
        let mut answers = Vec::new();
        while let Ok(answer) = self.answers.try_recv() {
            answers.push(answer);
        }
        self.waiting = self.waiting.saturating_sub(answers.len());
        answers
    }

    /// The answers that are still to come, in so far as they come in time.
    pub async fn rest(&mut self) -> Vec<OvsTrace> {
        let (mut answers, deadline) = (self.ready(), Instant::now() + PATIENCE);
        while self.waiting > 0 {
            let Ok(Some(answer)) = timeout_at(deadline, self.answers.recv()).await else {
                break;
            };
            answers.push(answer);
            self.waiting -= 1;
        }
        answers
    }
}

/// Who is asked.
struct Owner {
    home: Box<dyn Fn() -> Option<Home> + Send>,
    /// It did not answer once: it is not waited for again.
    silent: Option<Error>,
}

impl Owner {
    async fn answer(&mut self, question: &Question) -> OvsTrace {
        let (traced, lacks) = self.trace(question).await;
        let mut found = conclude(question, &traced);
        found.lacks = lacks.or(found.lacks);
        found.vlan = self.vlan(question, &traced, &found).await;
        if let Some(cookie) = found.cookie.as_deref().and_then(ovn::uuid_start) {
            match ovn::look_up(cookie).await {
                Ok(Some((flow, acl))) => (found.logical_flow, found.acl) = (Some(flow), acl),
                // No flow of OVN's, or no OVN at all.
                Ok(None) => {}
                Err(e) => found.lacks = Some(e.to_string()),
            }
        }
        found
    }

    /// The VLAN that explains why a frame found no port. Without the database the verdict stands without.
    async fn vlan(
        &mut self,
        question: &Question,
        traced: &Traced,
        found: &OvsTrace,
    ) -> Option<OvsVlan> {
        let (bridge, in_port, tag) = switched(question, traced, found)?;
        let home = (self.home)()?;
        let asked = vlan::ask(&home, bridge, in_port, tag).await;
        asked.inspect_err(|e| log::debug!("VLANs of {bridge}: {e}")).ok().flatten()
    }

    async fn trace(&mut self, question: &Question) -> (Traced, Option<String>) {
        let mut traced = Traced::default();
        if let Some(silent) = &self.silent {
            return (traced, Some(silent.to_string()));
        }
        let Some(home) = (self.home)() else {
            let lacks = "no running ovs-vswitchd was found (OVS_RUNDIR says where its sockets are)";
            return (traced, Some(lacks.to_owned()));
        };
        let lacks = match self.run(&home, question, &question.key, true).await {
            Ok(trace) => {
                traced.live = Some(trace);
                None
            }
            Err(e) => Some(e.to_string()),
        };
        if self.silent.is_some() {
            return (traced, lacks);
        }
        if let Some(key) = &question.last_key {
            // The recirculation may be forgotten by now.
            traced.last = self.run(&home, question, key, false).await.ok();
        }
        if question.ct_states.iter().any(|state| !is_assumed(state)) {
            traced.plain = self.run(&home, question, &question.key, false).await.ok();
        }
        let answered = traced.live.is_some() || traced.last.is_some();
        (traced, lacks.filter(|_| !answered))
    }

    /// One `ofproto/trace`. The flow key alone is given, without the packet: with one, Open vSwitch
    /// would learn MAC addresses from it and run its `ct` actions for real.
    async fn run(
        &mut self,
        home: &Home,
        question: &Question,
        key: &str,
        live: bool,
    ) -> Result<Trace, Error> {
        let words = arguments(question, key, live);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut text = home.appctl("ofproto/trace", &words).await;
        if matches!(&text, Err(Error::Refused(why)) if why.contains("datapath"))
            && question.dp.is_some()
        {
            // Its own name for the only datapath may be another.
            text = home.appctl("ofproto/trace", words.get(1..).unwrap_or_default()).await;
        }
        if let Err(e @ Error::Slow(_)) = &text {
            self.silent = Some(e.clone());
        }
        let garbled = || Error::Garbled("ofproto/trace".to_owned());
        text.and_then(|text| Trace::parse(&text).ok_or_else(garbled))
    }
}

#[cfg(test)]
mod tests;
