//! Somebody who watches the flood: a process that is started, waited for until it is ready, and
//! stopped again.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::count::{Count, count};
use super::others::{self, Told};

/// How long a tracer may take to be ready.
const START: Duration = Duration::from_secs(30);
/// How long it may take to come to its end.
const STOP: Duration = Duration::from_mins(2);

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Seconds of processor time, of the kernel's for it included.
    pub cpu: f64,
    /// Most memory that it ever had resident, KiB.
    pub memory: u64,
}

/// A tracer that is ready.
pub(super) struct Tracer {
    child: Child,
    /// From its start to its being ready.
    pub ready: Duration,
    /// The line that said so.
    pub announced: String,
    /// Lines of its stderr after that.
    said: Receiver<String>,
    counting: Option<JoinHandle<Result<Count>>>,
}

/// How a tracer ended.
pub(super) struct Stopped {
    /// From the signal to its end.
    pub took: Duration,
    /// What it wrote, if that was counted.
    pub count: Option<Count>,
    /// Events that it says it saw; only others than lasthop do.
    pub seen: u64,
    /// Events that it says it lost; the same.
    pub lost: u64,
}

impl Tracer {
    /// Starts `command` and waits for a line on its stderr that contains `ready`. Its stdout is
    /// counted, or thrown away.
    pub(super) fn start(mut command: Command, ready: &str, counted: bool) -> Result<Self> {
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(if counted { Stdio::piped() } else { Stdio::null() })
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program(&command)))?;
        let said = lines(child.stderr.take().context("no pipe")?);
        let counting =
            child.stdout.take().map(|output: ChildStdout| thread::spawn(move || count(output)));
        let mut tracer =
            Self { child, ready: Duration::ZERO, announced: String::new(), said, counting };
        let mut before = Vec::new();
        loop {
            let left = START.saturating_sub(began.elapsed());
            match tracer.said.recv_timeout(left) {
                Ok(line) if line.contains(ready) => {
                    tracer.ready = began.elapsed();
                    tracer.announced = line;
                    return Ok(tracer);
                }
                Ok(line) => before.push(line),
                Err(why) => {
                    let what = match why {
                        RecvTimeoutError::Timeout => "was not ready in time",
                        RecvTimeoutError::Disconnected => "ended before it was ready",
                    };
                    bail!("{} {what}: {}", program(&command), before.join("\n"));
                }
            }
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        let pid = self.pid();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let ticks_a_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        Ok(Usage {
            cpu: ticks(&stat).context("cannot read its processor time")? as f64
                / ticks_a_second as f64,
            memory: peak_memory(&status).context("cannot read its memory")?,
        })
    }

    /// Interrupts it, as Ctrl-C does, and waits for its end.
    pub(super) fn stop(mut self) -> Result<Stopped> {
        let began = Instant::now();
        let pid = i32::try_from(self.pid()).context("a process id")?;
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        // Its stderr is closed when it ends.
        let (mut latest, mut seen, mut lost) = (String::new(), 0, 0);
        loop {
            match self.said.recv_timeout(STOP.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    match others::told(&line) {
                        Some(Told::Seen(count)) => seen += count,
                        Some(Told::Lost(count)) => lost += count,
                        None => {}
                    }
                    latest = line;
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it did not end within {} s: {latest}", STOP.as_secs())
                }
            }
        }
        let status = self.child.wait()?;
        let took = began.elapsed();
        // A signal, or 0: the tracers catch it and end well.
        if status.code().is_some_and(|code| code != 0) {
            bail!("it ended with {status}: {latest}");
        }
        let count = match self.counting.take() {
            None => None,
            Some(counting) => match counting.join() {
                Ok(count) => Some(count?),
                Err(_) => bail!("cannot read what it writes"),
            },
        };
        Ok(Stopped { took, count, seen, lost })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Nothing to do when it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that come from a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receive
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// User and system time from `/proc/PID/stat` (proc(5), fields 14 and 15), in clock ticks.
fn ticks(stat: &str) -> Option<u64> {
    // The name is in parentheses, and may contain some.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmHWM` from `/proc/PID/status`, KiB.
fn peak_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_a_process_with_a_strange_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 17 4 0 0 20 0 1 0 99 0 0";
        assert_eq!(ticks(stat), Some(21));
        assert_eq!(ticks("42 (a"), None);
    }

    #[test]
    fn peak_memory_among_the_others() {
        let status = "Name:\tlasthop\nVmPeak:\t  200 kB\nVmHWM:\t  31234 kB\nVmRSS:\t  100 kB\n";
        assert_eq!(peak_memory(status), Some(31234));
    }

    #[test]
    fn one_that_ends_too_early_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such thing >&2; exit 1"]);
        let error = Tracer::start(command, "ready", false).err().expect("fails");
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[test]
    fn it_is_ready_when_it_says_so_and_its_lines_are_counted() {
        // Whoever runs the tests may have an interrupt ignored.
        let mut command = Command::new("env");
        command.args([
            "--default-signal=INT",
            "sh",
            "-c",
            "echo starting >&2; echo '{\"type\":\"hop\"}'; echo ready: 1 >&2; exec sleep 100",
        ]);
        let tracer = Tracer::start(command, "ready: ", true).expect("starts");
        assert_eq!(tracer.announced, "ready: 1");
        assert!(tracer.usage().expect("it runs").memory > 0);
        let stopped = tracer.stop().expect("stops");
        assert_eq!(stopped.count.expect("was counted").hops, 1);
    }
}
