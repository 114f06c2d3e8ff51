//! Child processes that are watched while they run and never outstay their time.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::signals;
use crate::usage::Stopwatch;

/// After a process has ended, how long its pipes may stay open (a child of its may hold them).
const DRAIN: Duration = Duration::from_secs(2);

/// What came out of a pipe so far, and whether it has ended.
#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    ended: bool,
}

/// A pipe that is read in the background.
#[derive(Clone)]
struct Output {
    state: Arc<(Mutex<Pipe>, Condvar)>,
}

impl Output {
    /// Collects `pipe` in the background until its end.
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let output = Self { state: Arc::default() };
        let writer = output.clone();
        std::thread::spawn(move || {
            let mut chunk = [0_u8; 16_384];
            loop {
                let len = pipe.read(&mut chunk).unwrap_or(0);
                let (lock, changed) = &*writer.state;
                let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
                state.bytes.extend_from_slice(&chunk[..len]);
                state.ended = len == 0;
                changed.notify_all();
                if len == 0 {
                    return;
                }
            }
        });
        output
    }

    /// A pipe that is not there has nothing more to give.
    fn none() -> Self {
        Self {
            state: Arc::new((Mutex::new(Pipe { bytes: Vec::new(), ended: true }), Condvar::new())),
        }
    }

    /// Waits until `enough` holds for the text so far, or the pipe ends, or the time is over.
    fn wait(&self, limit: Duration, enough: impl Fn(&str) -> bool) -> (String, bool) {
        let deadline = Instant::now() + limit;
        let (lock, changed) = &*self.state;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let text = String::from_utf8_lossy(&state.bytes).into_owned();
            if enough(&text) {
                return (text, true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return (text, false);
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything up to the end of the pipe, as bytes.
    fn drain(&self) -> Vec<u8> {
        let deadline = Instant::now() + DRAIN;
        let (lock, changed) = &*self.state;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.bytes.clone()
    }
}

/// A process in a group of its own; it is killed, its children included, when this is dropped.
pub struct Running {
    name: String,
    group: Pid,
    stdout: Output,
    stderr: Output,
    exit: Receiver<std::io::Result<ExitStatus>>,
    ended: bool,
    started: Instant,
}

/// How a process ended and what it wrote.
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

/// Whoever has not ended by then never will.
const HOPELESS: Duration = Duration::from_mins(1);

impl Finished {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl Running {
    /// Starts `command` with piped output.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts `command` with its standard output in a file: for a recording that is too long to be
    /// held here.
    pub fn start_into(command: &mut Command, file: &Path) -> Result<Self> {
        let file =
            File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        Self::spawn(command.stdout(file).stderr(Stdio::piped()))
    }

    /// Starts `command` with its output as the caller has set it.
    fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        signals::default_in_children();
        let mut child =
            command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().map_or_else(Output::none, Output::of);
        let stderr = child.stderr.take().map_or_else(Output::none, Output::of);
        let group = Pid::from_raw(i32::try_from(child.id())?);
        let (send, exit) = channel();
        std::thread::spawn(move || send.send(child.wait()));
        Ok(Self { name, group, stdout, stderr, exit, ended: false, started: Instant::now() })
    }

    /// Its process id.
    pub const fn pid(&self) -> Pid {
        self.group
    }

    /// Sends a signal to it and its children.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(self.group, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until its standard error holds `needle`.
    pub fn wait_stderr(&self, needle: &str, limit: Duration) -> Result<String> {
        match self.stderr.wait(limit, |text| text.contains(needle)) {
            (text, true) => Ok(text),
            (text, false) => bail!("{} did not say {needle:?}, but: {text}", self.name),
        }
    }

    /// Waits until its standard error so far satisfies `enough`.
    pub fn wait_stderr_text(
        &self,
        limit: Duration,
        enough: impl Fn(&str) -> bool,
    ) -> Result<String> {
        match self.stderr.wait(limit, enough) {
            (text, true) => Ok(text),
            (text, false) => bail!("{} did not say what was waited for, but: {text}", self.name),
        }
    }

    /// Waits until its standard output so far satisfies `enough`.
    pub fn wait_stdout(&self, limit: Duration, enough: impl Fn(&str) -> bool) -> Result<String> {
        match self.stdout.wait(limit, enough) {
            (text, true) => Ok(text),
            (text, false) => bail!("{} did not write what was waited for, but: {text}", self.name),
        }
    }

    /// Tells it to end by `signal`, and waits for that.
    ///
    /// # Errors
    /// It took longer than `limit`, not counting the time that it waited for a processor ([`Stopwatch`]).
    pub fn end(self, signal: Signal, limit: Duration) -> Result<Finished> {
        let watch = Stopwatch::start(self.group);
        self.signal(signal)?;
        let done = self.finish(HOPELESS);
        watch.stop(limit)?;
        done
    }

    /// Waits for its end; past the limit it is killed and that is an error.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let status = match self.exit.recv_timeout(limit) {
            Ok(status) => status?,
            Err(RecvTimeoutError::Disconnected) => bail!("nobody waited for {}", self.name),
            Err(RecvTimeoutError::Timeout) => {
                self.signal(Signal::SIGKILL)?;
                bail!(
                    "{} did not end within {limit:?}; standard error: {}",
                    self.name,
                    String::from_utf8_lossy(&self.stderr.drain())
                );
            }
        };
        self.ended = true;
        Ok(Finished {
            status,
            stdout: self.stdout.drain(),
            stderr: String::from_utf8_lossy(&self.stderr.drain()).into_owned(),
            took: self.started.elapsed(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // Already gone is as good.
            let _ = self.signal(Signal::SIGKILL);
        }
    }
}

/// Runs `command` to its end.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    command.stdin(Stdio::null());
    Running::start(command)?.finish(limit)
}

/// Runs `command` to its end, its output in a file: for what leaves processes in the background,
/// which would hold a pipe open.
pub fn run_into(command: &mut Command, log: &Path, limit: Duration) -> Result<ExitStatus> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    Ok(Running::spawn(command)?.finish(limit)?.status)
}

/// Runs `command` to its end and wants success.
pub fn must(command: &mut Command, limit: Duration) -> Result<Finished> {
    let done = run(command, limit)?;
    if !done.status.success() {
        bail!("{command:?} failed ({}): {}{}", done.status, done.stderr, done.text());
    }
    Ok(done)
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
    fn output_and_code_are_kept() {
        let done = run(&mut sh("echo out; echo err >&2; exit 7"), DRAIN).expect("runs");
        assert_eq!(
            (done.code(), done.text().as_str(), done.stderr.as_str()),
            (Some(7), "out\n", "err\n")
        );
    }

    #[test]
    fn a_process_that_hangs_is_ended() {
        let began = Instant::now();
        let error =
            run(&mut sh("echo stuck >&2; exec tail -f /dev/null"), Duration::from_millis(200));
        let error = error.err().expect("it hangs").to_string();
        assert!(error.contains("did not end") && error.contains("stuck"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_line_is_waited_for_while_it_runs() {
        let mut command = sh("echo ready >&2; read line; echo \"got $line\"");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let running = Running::start(command.stdin(reader)).expect("starts");
        running.wait_stderr("ready", DRAIN).expect("is ready");
        std::io::Write::write_all(&mut &writer, b"word\n").expect("writes");
        assert_eq!(running.finish(DRAIN).expect("ends").text(), "got word\n");
    }

    #[test]
    fn a_line_that_never_comes_is_an_error_at_once_when_the_process_ends() {
        let running = Running::start(&mut sh("echo no >&2")).expect("starts");
        let began = Instant::now();
        assert!(running.wait_stderr("ready", Duration::from_secs(30)).is_err());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
