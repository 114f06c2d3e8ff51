//! One step of work: a tool run quietly, one line on the terminal, its output in a log.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many lines of a failed tool's log are shown.
const TAIL: usize = 40;

/// What a tool did.
pub(crate) struct Done {
    pub status: ExitStatus,
    /// Both of its outputs, in the order in which they were written.
    pub text: String,
    /// Where that text is kept.
    pub log: PathBuf,
}

/// Runs `command` to its end and wants success; shows the end of its output where it has none.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<Done> {
    let done = attempt(title, command)?;
    if done.status.success() {
        return Ok(done);
    }
    show_tail(&done);
    bail!("{title}: {} ended with {}", program(command), done.status)
}

/// Runs `command` to its end, whatever that is.
pub(crate) fn attempt(title: &str, command: &mut Command) -> Result<Done> {
    let (log, file) = open_log(title, command)?;
    let line = Line::start(title);
    let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
    let mut child = child.with_context(|| format!("cannot start {}", program(command)))?;
    let (send, ended) = channel();
    std::thread::spawn(move || send.send(child.wait()));
    let status = loop {
        match ended.recv_timeout(Duration::from_secs(1)) {
            Ok(status) => break status?,
            Err(RecvTimeoutError::Timeout) => line.tick(),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for {}", program(command)),
        }
    };
    line.end(status.success());
    Done::read(status, log)
}

/// A step that is done beside others, which is told of when it is waited for.
pub(crate) struct Behind {
    title: String,
    began: Instant,
    child: Child,
    log: PathBuf,
}

/// Starts `command`, to be waited for.
pub(crate) fn behind(title: &str, mut command: Command) -> Result<Behind> {
    let (log, file) = open_log(title, &command)?;
    note(&format!("{title}, meanwhile"));
    let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
    let child = child.with_context(|| format!("cannot start {}", program(&command)))?;
    Ok(Behind { title: title.to_owned(), began: Instant::now(), child, log })
}

impl Behind {
    /// Waits for its end and wants success, as [`run`].
    pub(crate) fn wait(mut self) -> Result<Done> {
        let line = Line { began: self.began, ..Line::start(&self.title) };
        let status = self.child.wait()?;
        line.end(status.success());
        let done = Done::read(status, self.log.clone())?;
        if !status.success() {
            show_tail(&done);
            bail!("{} ended with {status}", self.title);
        }
        Ok(done)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Nothing to do once it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end, whatever that is, and shows its standard output as it comes.
pub(crate) fn watch(title: &str, command: &mut Command) -> Result<Done> {
    let (log, mut file) = open_log(title, command)?;
    eprintln!("  {title}");
    let began = Instant::now();
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file.try_clone()?).spawn();
    let mut child = child.with_context(|| format!("cannot start {}", program(command)))?;
    let output = child.stdout.take().context("no pipe")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        file.write_all(&line)?;
        file.write_all(b"\n")?;
        println!("    {}", String::from_utf8_lossy(&line));
    }
    let status = child.wait()?;
    eprintln!("  {title} … {:.1} s", began.elapsed().as_secs_f64());
    Done::read(status, log)
}

fn open_log(title: &str, command: &Command) -> Result<(PathBuf, File)> {
    let log = crate::root().join("target/xtask").join(slug(title)).with_extension("log");
    fs::create_dir_all(log.parent().unwrap_or(&log))?;
    let mut file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(file, "{command:?}")?;
    Ok((log, file))
}

impl Done {
    fn read(status: ExitStatus, log: PathBuf) -> Result<Self> {
        // Some tools quote bytes of what they work on, so this need not be UTF-8.
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(Self { status, text, log })
    }
}

/// Says something about a choice that was made.
pub(crate) fn note(text: &str) {
    eprintln!("  · {text}");
}

/// Shows the end of what a tool wrote, and where all of it is.
pub(crate) fn show_tail(done: &Done) {
    let lines: Vec<&str> = done.text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
        eprintln!("    {line}");
    }
    eprintln!("    (all of it: {})", done.log.display());
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// The step's line: on a terminal it counts the seconds, elsewhere it is written in two pieces.
struct Line {
    title: String,
    began: Instant,
    live: bool,
}

impl Line {
    fn start(title: &str) -> Self {
        let live = std::io::stderr().is_terminal();
        eprint!("  {title} …");
        Self { title: title.to_owned(), began: Instant::now(), live }
    }

    fn tick(&self) {
        if self.live {
            eprint!("\r  {} … {} s", self.title, self.began.elapsed().as_secs());
        }
    }

    fn end(self, good: bool) {
        let seconds = self.began.elapsed().as_secs_f64();
        let outcome = if good { "" } else { "FAILED after " };
        let start = if self.live { format!("\r  {} …", self.title) } else { String::new() };
        eprintln!("{start} {outcome}{seconds:.1} s");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_log_holds_both_outputs_in_order() {
        let done = attempt("own test: order", &mut sh("echo a; echo b >&2; echo c")).expect("runs");
        assert!(done.text.ends_with("a\nb\nc\n"), "{}", done.text);
        assert!(done.log.ends_with("own-test-order.log"), "{}", done.log.display());
    }

    #[test]
    fn a_step_behind_others_is_waited_for() {
        let began = behind("own test: behind", sh("echo done; exit 3")).expect("starts");
        assert!(began.wait().is_err());
        let began = behind("own test: behind", sh("echo done")).expect("starts");
        assert!(began.wait().expect("it ends well").text.ends_with("done\n"));
    }

    #[test]
    fn a_tool_that_fails_is_an_error_that_names_the_step() {
        let error = run("own test: failure", &mut sh("exit 3")).err().expect("it fails");
        assert!(error.to_string().starts_with("own test: failure: sh"), "{error}");
    }
}
