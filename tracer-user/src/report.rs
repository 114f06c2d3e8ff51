//! What a trace tells as it goes: hops into the story, what the story makes of them onto a stream.

use std::io::{self, BufWriter, Write};

use crate::filter;
use crate::render::json::Lines;
use crate::render::text::Text;
use tracer_core::reconstruct::asked::{self, Answer};
use tracer_core::reconstruct::owner;
use tracer_core::reconstruct::{Story, Way};
use tracer_core::record::{Hop, Lost, Meta, Record, Summary, Verdict};
use tracer_core::verdict::{Budget, Tally, budget};

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// NDJSON, every record.
    Json,
    /// For a person: hops and verdicts.
    Text(Text),
}

impl Form {
    /// NDJSON, or text with colours when stdout is a terminal that wants them.
    pub fn for_stdout(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let choice = anstream::AutoStream::choice(&io::stdout());
        Self::Text(Text::new(choice != anstream::ColorChoice::Never))
    }
}

/// Which of the records that it takes in a report passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// All: they are news.
    Everything,
    /// Those that it made of them: the rest is in the recording.
    Conclusions,
}

/// How many verdicts are told between two looks at the time.
const AT_A_TIME: usize = 256;

/// How many questions are asked at the end of a trace.
const MAX_QUESTIONS: usize = 256;

/// How long losses are summed up before a person is told of them, nanoseconds.
const SUMMED_UP: u64 = 1_000_000_000;

/// Losses, summed up over processors.
#[derive(Default)]
struct Untold(Vec<Lost>);

impl Untold {
    fn add(&mut self, lost: &Lost) {
        /// The kinds are few; a recording may name others.
        const MAX_KINDS: usize = 64;
        let alike = |known: &&mut Lost| (known.hook, &known.what) == (lost.hook, &lost.what);
        let has_room = self.0.len() < MAX_KINDS;
        match self.0.iter_mut().find(alike) {
            Some(known) => {
                known.count = known.count.saturating_add(lost.count);
                known.ts = lost.ts;
            }
            None if has_room => self.0.push(lost.clone()),
            None => {}
        }
    }

    fn tell(&mut self, out: &mut dyn Write, text: Text) -> io::Result<()> {
        self.0.drain(..).try_for_each(|lost| text.lost(out, &lost))
    }
}

/// A report half-way through.
pub struct Report<'a> {
    out: BufWriter<Box<dyn Write + 'a>>,
    lines: Lines,
    form: Form,
    shows: Shows,
    story: Story,
    tally: Tally,
    /// Of the flows that make room for others, which are told of.
    budget: Budget,
    /// What those come to that are not: a person reads of them at the end.
    untold: Summary,
    /// The latest time that any hop tells of.
    now: u64,
    /// What was lost and is still to be told to a person, who is told of it now and then.
    losses: Untold,
    /// When that was last, nanoseconds since the trace began.
    told_at: Option<u64>,
    /// The first failure to write. A hop is taken in where nobody can be told of it.
    failed: Option<io::Error>,
}

impl<'a> Report<'a> {
    /// On `out`, through a buffer: see [`Report::flush`].
    pub fn new(out: Box<dyn Write + 'a>, form: Form, shows: Shows) -> Self {
        let out = BufWriter::with_capacity(1 << 16, out);
        Self {
            out,
            lines: Lines::default(),
            form,
            shows,
            story: Story::new(),
            tally: Tally::default(),
            budget: Budget::default(),
            untold: Summary::default(),
            now: 0,
            losses: Untold::default(),
            told_at: None,
            failed: None,
        }
    }

    /// The head of the record.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn meta(&mut self, meta: &Meta) -> io::Result<()> {
        if filter::is_one_way(&meta.filter) {
            self.story.sees_one_way();
        }
        self.story.sees_all_from(meta.ready.unwrap_or(0));
        self.story.has_ring(meta.ring);
        self.story.never_sees(&meta.unseen);
        match self.form {
            Form::Json => self.lines.write(&mut self.out, &Record::Meta(meta.clone())),
            Form::Text(text) => text.meta(&mut self.out, meta),
        }
    }

    /// Takes in a hop, which gets its packet's number and its own, and prints it. A failure to print
    /// is told by [`Report::flush`].
    ///
    /// What is due by the hop's time is settled before it, and so without it: in a trace as in its
    /// recording, however many hops a trace is handed at once.
    pub fn hop(&mut self, hop: &mut Hop) {
        self.now = self.now.max(hop.ts);
        let settled = self.settle(self.now);
        self.failed = self.failed.take().or(settled.err());
        self.story.observe(hop);
        if self.shows == Shows::Conclusions {
            return;
        }
        let written = match self.form {
            Form::Json => self.lines.write(&mut self.out, &Record::Hop(hop)),
            Form::Text(text) => text.hop(&mut self.out, hop, self.story.previous()),
        };
        self.failed = self.failed.take().or(written.err());
    }

    /// Takes in a loss and prints it.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        self.story.lost(lost);
        if self.shows == Shows::Conclusions {
            return Ok(());
        }
        match self.form {
            Form::Json => self.lines.write(&mut self.out, &Record::Lost(lost.clone())),
            Form::Text(text) => {
                self.losses.add(lost);
                let due = self.told_at.map_or(0, |at| at.saturating_add(SUMMED_UP));
                if lost.ts < due {
                    return Ok(());
                }
                self.told_at = Some(lost.ts);
                self.losses.tell(&mut self.out, text)
            }
        }
    }

    /// What Open vSwitch is to be asked about packets that died in it, since the last call.
    pub fn questions(&mut self) -> Vec<owner::Question> {
        self.story.questions()
    }

    /// Tells of the packets that nothing more is expected of. `now`: nanoseconds since the trace
    /// began.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn settle(&mut self, now: u64) -> io::Result<()> {
        let ways = self.story.settle(now);
        self.journeys(&ways)?;
        let mut retired = self.story.retired();
        for verdict in &mut retired {
            verdict.ts = now;
        }
        self.retired(retired, now)?;
        let summed_up = self.budget.sum_up(now);
        self.sum_up(summed_up)
    }

    /// Tells of flows that make room for others, or counts them.
    fn retired(&mut self, mut verdicts: Vec<Verdict>, now: u64) -> io::Result<()> {
        verdicts.retain(|verdict| {
            let is_told = self.budget.tells(verdict, now);
            if !is_told {
                self.tally.add(verdict);
            }
            is_told
        });
        self.verdicts(verdicts)
    }

    /// Tells of the flows that are left when the trace is over, some at a time; when the time is over, of
    /// a few more, and counts the rest.
    fn last(&mut self, verdicts: Vec<Verdict>, has_time: &dyn Fn() -> bool) -> io::Result<()> {
        let mut rest = verdicts.into_iter();
        while has_time() {
            let some: Vec<_> = rest.by_ref().take(AT_A_TIME).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.verdicts(some)?;
        }
        let (harm, well): (Vec<_>, Vec<_>) = rest.partition(|v| budget::is_harm(v.outcome));
        let mut rest = harm.into_iter().chain(well);
        let some = rest.by_ref().take(AT_A_TIME).collect();
        self.verdicts(some)?;
        rest.for_each(|verdict| self.count(&verdict));
        Ok(())
    }

    /// Counts a verdict that is not told.
    fn count(&mut self, verdict: &Verdict) {
        self.tally.add(verdict);
        self.budget.count(verdict);
    }

    fn sum_up(&mut self, untold: Option<Summary>) -> io::Result<()> {
        let Some(untold) = untold else { return Ok(()) };
        match self.form {
            Form::Json => self.lines.write(&mut self.out, &Record::Summary(untold)),
            Form::Text(_) => {
                self.untold.join(&untold);
                Ok(())
            }
        }
    }

    /// How many packets have an outcome so far.
    pub fn outcomes(&self) -> u64 {
        self.story.outcomes()
    }

    /// How many packets have none yet.
    pub fn open_packets(&self) -> u64 {
        self.story.packets().saturating_sub(self.story.outcomes())
    }

    /// Makes sure that what was written has arrived.
    ///
    /// # Errors
    /// Those of the stream, of earlier hops included.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(e) => Err(e),
            None => self.out.flush(),
        }
    }

    /// Takes in what was answered, and puts it on the record; a person reads of it in the verdict.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn answered(&mut self, answer: Answer) -> io::Result<()> {
        if self.shows == Shows::Everything && matches!(self.form, Form::Json) {
            let record = match &answer {
                Answer::Conntrack(answer) => Record::Conntrack(Box::new(answer.clone())),
                Answer::Netfilter(answer) => Record::Netfilter(Box::new(answer.clone())),
                Answer::Routing(answer) => Record::Routing(Box::new(answer.clone())),
                Answer::OpenVswitch(answer) => Record::OvsTrace(answer.clone()),
            };
            self.lines.write(&mut self.out, &record)?;
        }
        self.story.answered(answer);
        Ok(())
    }

    /// The last hop has been taken in: the fate of the packets that are still open, and what
    /// conntrack is still to be asked before the flows are judged. `end`: nanoseconds since the trace
    /// began.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn close(&mut self, end: u64) -> io::Result<Vec<asked::Question>> {
        let ways = self.story.close_all(end);
        self.journeys(&ways)?;
        let mut questions = self.story.left_questions();
        questions.truncate(MAX_QUESTIONS);
        Ok(questions)
    }

    /// The trace is over: the rest of the journeys, a verdict per flow, and the exit status that
    /// tells the outcome. `end`: nanoseconds since the trace began. `cut_off`: the record is known
    /// to lack its end. `has_time`: verdicts are told one by one as long as there is time; those on harm
    /// first.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(
        mut self,
        end: u64,
        cut_off: bool,
        has_time: &dyn Fn() -> bool,
    ) -> io::Result<u8> {
        let (ways, mut verdicts) = self.story.finish(end);
        self.journeys(&ways)?;
        if let Form::Text(text) = self.form {
            self.losses.tell(&mut self.out, text)?;
        }
        for verdict in &mut verdicts {
            verdict.ts = end;
        }
        self.last(verdicts, has_time)?;
        let untold = self.budget.rest(end);
        self.sum_up(untold)?;
        let incomplete = cut_off || self.story.is_incomplete();
        if let Form::Text(text) = self.form {
            text.untold(&mut self.out, &self.untold)?;
            text.summary(&mut self.out, &self.tally, incomplete)?;
        }
        self.flush()?;
        Ok(self.tally.exit_code(self.story.packets() > 0, incomplete))
    }

    fn journeys(&mut self, ways: &[Way]) -> io::Result<()> {
        match self.form {
            Form::Json => {
                ways.iter().try_for_each(|way| self.lines.write(&mut self.out, &way.to_record()))
            }
            Form::Text(_) => Ok(()),
        }
    }

    fn verdicts(&mut self, verdicts: Vec<Verdict>) -> io::Result<()> {
        for verdict in verdicts {
            self.tally.add(&verdict);
            match self.form {
                Form::Json => {
                    self.lines.write(&mut self.out, &Record::Verdict(Box::new(verdict)))?;
                }
                Form::Text(text) => text.verdict(&mut self.out, &verdict)?,
            }
        }
        Ok(())
    }
}
