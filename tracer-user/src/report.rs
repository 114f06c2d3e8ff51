//! What a trace tells as it goes: hops into the story, what the story makes of them onto a stream.

use std::io::{self, BufWriter, Write};

use crate::model::{End, Hop, Journey, Lost, Meta, Record, Verdict};
use crate::reconstruct::Story;
use crate::render::json;
use crate::render::text::Text;
use crate::verdict::Tally;

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// NDJSON, every record.
    Json,
    /// For a person: hops and verdicts.
    Text(Text),
}

/// A report half-way through.
pub struct Report {
    out: BufWriter<Box<dyn Write>>,
    form: Form,
    story: Story,
    tally: Tally,
    /// The first failure to write. A hop is taken in where nobody can be told of it.
    failed: Option<io::Error>,
}

impl Report {
    /// On stdout: NDJSON, or text with colours when it is a terminal that wants them.
    pub fn on_stdout(json: bool) -> Self {
        let form = if json {
            Form::Json
        } else {
            let choice = anstream::AutoStream::choice(&io::stdout());
            Form::Text(Text::new(choice != anstream::ColorChoice::Never))
        };
        Self::new(Box::new(io::stdout()), form)
    }

    /// On any stream.
    pub fn new(out: Box<dyn Write>, form: Form) -> Self {
        let out = BufWriter::with_capacity(1 << 16, out);
        Self {
            out,
            form,
            story: Story::new(),
            tally: Tally::default(),
            failed: None,
        }
    }

    /// The head of the record.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn meta(&mut self, meta: &Meta) -> io::Result<()> {
        match self.form {
            Form::Json => json::write(&mut self.out, &Record::Meta(meta.clone())),
            Form::Text(text) => text.meta(&mut self.out, meta),
        }
    }

    /// Takes in a hop and prints it. A failure to print is told by [`Report::flush`].
    pub fn hop(&mut self, mut hop: Hop) {
        self.story.observe(&mut hop);
        let written = match self.form {
            Form::Json => json::write(&mut self.out, &Record::Hop(Box::new(hop))),
            Form::Text(text) => text.hop(&mut self.out, &hop, self.story.previous()),
        };
        self.failed = self.failed.take().or(written.err());
    }

    /// Takes in a loss and prints it.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        self.story.lost(lost);
        match self.form {
            Form::Json => json::write(&mut self.out, &Record::Lost(lost.clone())),
            Form::Text(text) => text.lost(&mut self.out, lost),
        }
    }

    /// Tells of the packets that nothing more is expected of. `now`: nanoseconds since the trace
    /// began.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn settle(&mut self, now: u64) -> io::Result<()> {
        let journeys = self.story.settle(now);
        self.journeys(journeys)?;
        let retired = self.story.retired();
        self.verdicts(retired)
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

    /// The trace is over: the rest of the journeys, a verdict per flow, and the exit status that
    /// tells the outcome. `end`: nanoseconds since the trace began.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(mut self, end: u64) -> io::Result<u8> {
        let (journeys, verdicts) = self.story.finish(end);
        self.journeys(journeys)?;
        if let Form::Json = self.form {
            json::write(&mut self.out, &Record::End(End { ts: end }))?;
        }
        self.verdicts(verdicts)?;
        let incomplete = self.story.is_incomplete();
        if let Form::Text(text) = self.form {
            text.summary(&mut self.out, &self.tally, incomplete)?;
        }
        self.flush()?;
        Ok(self.tally.exit_code(self.story.packets() > 0, incomplete))
    }

    fn journeys(&mut self, journeys: Vec<Journey>) -> io::Result<()> {
        match self.form {
            Form::Json => journeys
                .into_iter()
                .try_for_each(|j| json::write(&mut self.out, &Record::Journey(j))),
            Form::Text(_) => Ok(()),
        }
    }

    fn verdicts(&mut self, verdicts: Vec<Verdict>) -> io::Result<()> {
        for verdict in verdicts {
            self.tally.add(&verdict);
            match self.form {
                Form::Json => {
                    json::write(&mut self.out, &Record::Verdict(Box::new(verdict)))?;
                }
                Form::Text(text) => text.verdict(&mut self.out, &verdict)?,
            }
        }
        Ok(())
    }
}
