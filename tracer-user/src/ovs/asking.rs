//! Open vSwitch is asked what its tables do with a packet that died in it, while the trace goes on:
//! one question after the other, each within a time limit.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::ovs::find::{Finder, Missing};
use crate::ovs::home::{DAEMON, Home};
use crate::ovs::ovn;
use crate::ovs::rpc::Error;
use crate::ovs::vlan;
use tracer_core::ovs::owner::{Traced, arguments, conclude, is_assumed, switched};
use tracer_core::ovs::pipeline::Trace;
use tracer_core::reconstruct::owner::Question;
use tracer_core::record::{Acl, LogicalFlow, OvsTrace, OvsVlan};

/// How long a trace that is over waits for what is still being asked.
const PATIENCE: Duration = Duration::from_secs(8);
/// The same of one that was told to end.
const HURRY: Duration = Duration::from_millis(600);
/// So many answers that are not understood are enough.
const MAX_GARBLED: u8 = 3;

/// Questions on their way, and answers.
pub struct Asking {
    questions: UnboundedSender<Question>,
    answers: UnboundedReceiver<OvsTrace>,
    /// The packets that are asked about, in order.
    waiting: VecDeque<u64>,
}

impl Asking {
    /// Nothing is asked yet; the asking is done on `runtime`.
    pub fn new(runtime: &Handle, finder: Finder) -> Self {
        Self::of(runtime, Whom::Found(finder))
    }

    fn of(runtime: &Handle, whom: Whom) -> Self {
        let (questions, mut to_ask) = unbounded_channel::<Question>();
        let (told, answers) = unbounded_channel();
        runtime.spawn(async move {
            let mut owner =
                Owner { whom, silent: None, garbled: 0, silent_ovn: None, silent_vlan: false };
            while let Some(question) = to_ask.recv().await {
                // Who is gone wants no answer.
                if told.send(owner.answer(&question).await).is_err() {
                    break;
                }
            }
        });
        Self { questions, answers, waiting: VecDeque::new() }
    }

    /// Asks, without waiting.
    pub fn ask(&mut self, question: Question) {
        let packet = question.packet;
        if self.questions.send(question).is_ok() {
            self.waiting.push_back(packet);
        }
    }

    /// The answers that have come.
    pub fn ready(&mut self) -> Vec<OvsTrace> {
        let mut answers = Vec::new();
        while let Ok(answer) = self.answers.try_recv() {
            self.waiting.pop_front();
            answers.push(answer);
        }
        answers
    }

    /// The answers that are still to come, in so far as they come in time; of the rest it says so.
    /// `ends`: lasthop is told to end, at once where it was told before.
    pub async fn rest(&mut self, ends: impl Future<Output = ()>) -> Vec<OvsTrace> {
        let (mut answers, begun) = (self.ready(), Instant::now());
        let (mut deadline, mut ends, mut is_told) = (begun + PATIENCE, pin!(ends), false);
        while !self.waiting.is_empty() {
            tokio::select! {
                biased;
                answer = self.answers.recv() => {
                    let Some(answer) = answer else { break };
                    self.waiting.pop_front();
                    answers.push(answer);
                }
                () = &mut ends, if !is_told => {
                    is_told = true;
                    deadline = deadline.min(Instant::now() + HURRY);
                }
                () = sleep_until(deadline) => break,
            }
        }
        let why = if is_told { ENDED } else { TOO_LATE };
        let lacks = || Some(why.to_owned());
        let unanswered = |packet| OvsTrace { packet, lacks: lacks(), ..OvsTrace::default() };
        answers.extend(self.waiting.drain(..).map(unanswered));
        answers
    }
}

/// Why there is no answer.
const ENDED: &str = "lasthop was ended before ovs-vswitchd had answered";
const TOO_LATE: &str = "ovs-vswitchd had not answered all questions when the trace was over";

/// How somebody to ask is found.
enum Whom {
    Found(Finder),
    #[cfg(test)]
    At(std::path::PathBuf),
}

impl Whom {
    async fn find(&self) -> Result<Home, Missing> {
        match self {
            Self::Found(finder) => finder.find_or_tell().await,
            #[cfg(test)]
            Self::At(rundir) => Home::at(rundir).await.ok_or(Missing::Absent),
        }
    }
}

/// Who is asked.
struct Owner {
    whom: Whom,
    /// It did not answer once, or nothing that can be used: it is not asked again.
    silent: Option<Error>,
    garbled: u8,
    /// The same of OVN's databases.
    silent_ovn: Option<Error>,
    /// The same of Open vSwitch's own.
    silent_vlan: bool,
}

impl Owner {
    async fn answer(&mut self, question: &Question) -> OvsTrace {
        let (traced, lacks) = self.trace(question).await;
        let mut found = conclude(question, &traced);
        found.lacks = lacks.or(found.lacks);
        found.vlan = self.vlan(question, &traced, &found).await;
        if let Some(cookie) = found.cookie.as_deref().and_then(ovn::uuid_start) {
            match self.logical_flow(cookie).await {
                Ok(Some((flow, acl))) => (found.logical_flow, found.acl) = (Some(flow), acl),
                // No flow of OVN's, or no OVN at all.
                Ok(None) => {}
                Err(e) => found.lacks = Some(e.to_string()),
            }
        }
        found
    }

    async fn logical_flow(
        &mut self,
        cookie: u32,
    ) -> Result<Option<(LogicalFlow, Option<Acl>)>, Error> {
        if let Some(silent) = &self.silent_ovn {
            return Err(silent.clone());
        }
        #[cfg_attr(not(test), allow(irrefutable_let_patterns, reason = "a test has another"))]
        let Whom::Found(finder) = &self.whom else { return Ok(None) };
        let found = ovn::look_up(finder, cookie).await;
        self.silent_ovn = found.as_ref().err().filter(|e| e.is_lasting()).cloned();
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
        if self.silent_vlan {
            return None;
        }
        let home = self.whom.find().await.ok()?;
        let asked = vlan::ask(&home, bridge, in_port, tag).await;
        self.silent_vlan = asked.as_ref().is_err_and(Error::is_lasting);
        asked.inspect_err(|e| log::debug!("VLANs of {bridge}: {e}")).ok().flatten()
    }

    async fn trace(&mut self, question: &Question) -> (Traced, Option<String>) {
        let mut traced = Traced::default();
        if let Some(silent) = &self.silent {
            return (traced, Some(silent.to_string()));
        }
        let home = match self.whom.find().await {
            Ok(home) => home,
            Err(missing) => return (traced, Some(missing.to_string())),
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
        let garbled = |why| Error::garbled(DAEMON, "ofproto/trace", why);
        let trace = text.and_then(|text| Trace::parse(&text).map_err(garbled));
        if let Err(e) = &trace {
            let is_garbled = matches!(e, Error::Garbled(..));
            self.garbled += u8::from(is_garbled);
            // One that is odd may be of that packet alone.
            if e.is_lasting() && (!is_garbled || self.garbled >= MAX_GARBLED) {
                self.silent = Some(e.clone());
            }
        }
        trace
    }
}

#[cfg(test)]
mod tests;
