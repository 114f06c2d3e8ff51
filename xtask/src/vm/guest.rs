//! A machine: starts it, runs one command in it, ends it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::console;
use super::kernels::{self, Kernel, Name};
use super::terminal::{self, Terminal};
use super::tools::{self, Tools};
use crate::step;

/// How many lines of the console are shown when a machine fails.
const TAIL: usize = 30;

/// How the kernel begins to speak of its own death.
const FAULTS: [&str; 4] = ["BUG: ", "Kernel panic", "Oops: ", "sysrq: Trigger a crash"];

/// What `timeout(1)` exits with when the limit was reached, and when it had to kill.
const TIME_OVER: [i32; 2] = [124, 137];

const SCRIPT: &str = include_str!("guest.sh");

/// What machine to make.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub kernel: Name,
    /// Its start included.
    pub timeout: Duration,
    pub cpus: u8,
    /// As QEMU reads it: `2G`.
    pub memory: String,
    /// Time there is instructions: one a nanosecond.
    pub icount: bool,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this status; 128 + N by signal N, as shells have it.
    Exited(u8),
    /// With the machine, whose time was over.
    TimedOut,
}

/// One run's folder, removed when it is over.
struct Run {
    folder: PathBuf,
    mark: String,
    stdout: UnixListener,
    stderr: UnixListener,
}

/// Kernel parameters that spare an emulator work; where instructions are counted they are those of a
/// kernel as people run it. With mitigations each entry into the kernel would change page tables, and
/// allocations would be filled with zeros. At random addresses each start of a program would be
/// translated anew, since what was translated is found again by its virtual address.
const CHEAP_TO_EMULATE: &str = "mitigations=off init_on_alloc=0 norandmaps";

/// The virtual clock is the number of instructions run.
const COUNTING: &str = "-icount shift=0,sleep=off";

/// Without fast short strings (ERMS, FSRM) the kernel copies and clears eight bytes at a time, not one:
/// fast on hardware, and slow where each repetition is emulated.
const COPYING_BY_WORDS: &str = "-cpu max,-erms,-fsrm";

impl Machine {
    /// Runs `command` in the current directory of this process, as root, and copies its outputs as
    /// they come. The checkout can be written to; the rest of the file system is a copy that is
    /// forgotten afterwards.
    pub(crate) fn run(
        &self,
        command: &[OsString],
        stdout: &mut (impl Write + Send),
        stderr: &mut (impl Write + Send),
    ) -> Result<End> {
        self.attend(&Run::new(command)?, stdout, stderr)
    }

    /// The same for a command that a person talks with, at this process's terminal.
    pub(crate) fn run_on_terminal(&self, command: &[OsString]) -> Result<End> {
        let run = Run::new(command)?;
        let _terminal = Terminal::open(&run.folder)?;
        self.attend(&run, &mut std::io::sink(), &mut std::io::stderr())
    }

    fn attend(
        &self,
        run: &Run,
        stdout: &mut (impl Write + Send),
        stderr: &mut (impl Write + Send),
    ) -> Result<End> {
        let (tools, kernel) = {
            let _lock = super::lock()?;
            (tools::ensure()?, kernels::ensure(self.kernel)?)
        };
        let log = console_log(self.kernel)?;
        let mut child = self
            .vng(&tools, &kernel, run)
            .stdin(Stdio::null())
            .stdout(log.1.try_clone()?)
            .stderr(log.1)
            .spawn()
            .context("cannot start virtme-ng")?;
        let (status, ended) = run.attend(&mut child, stdout, stderr)?;
        match (status, ended.code()) {
            (Some(status), _) => {
                let _ = fs::remove_file(&log.0);
                Ok(End::Exited(status))
            }
            (None, Some(code)) if TIME_OVER.contains(&code) => {
                step::note(&format!("the machine's console: {}", log.0.display()));
                Ok(End::TimedOut)
            }
            (None, _) => {
                show_tail(&log.0);
                bail!(
                    "the machine with {} ended before the command did ({ended}); its console: {}",
                    kernel.release,
                    log.0.display()
                )
            }
        }
    }

    /// The machine's command line, within its time limit.
    fn vng(&self, tools: &Tools, kernel: &Kernel, run: &Run) -> Command {
        // timeout(1) makes a process group of it all and ends that, even if this process is gone.
        let mut vng = Command::new("timeout");
        vng.args(["--kill-after=10", &self.timeout.as_secs().to_string()]);
        vng.arg(&tools.vng);
        // KVM where there is any would make the results depend on the machine.
        vng.args(["--verbose", "--disable-kvm", "--disable-microvm", "--force-9p"]);
        vng.args(["--user", "root", "--run"]).arg(&kernel.image);
        vng.arg("--busybox").arg(&tools.busybox);
        vng.arg("--overlay-rwdir=/root");
        vng.arg(option("--rwdir=", &crate::root()));
        vng.args(["--cpus", &self.cpus.to_string(), "--memory", &self.memory]);
        vng.arg(format!("--qemu-opts={}", self.qemu(&run.folder)));
        if !self.icount {
            vng.arg(format!("--append={CHEAP_TO_EMULATE}"));
        }
        vng.arg("--exec");
        vng.arg(format!("bash {} {}", quoted(&run.folder.join("guest.sh")), quoted(&run.folder)));
        let mut tool_paths = vec![tools.bin.as_path(), Path::new("/usr/sbin")];
        tool_paths.extend(tools.emulator.as_deref());
        vng.env("PATH", path_with(&tool_paths));
        // virtme-ng keeps settings there.
        vng.env("HOME", super::folder().join("home"));
        vng.env("TMPDIR", &run.folder);
        vng
    }

    fn qemu(&self, folder: &Path) -> String {
        let mut options = vec![
            "-device virtio-serial-pci,id=lasthop".to_owned(),
            // The file system once more, for what the guest may keep in memory: see guest.sh.
            "-fsdev local,id=lasthop-files,path=/,security_model=none,readonly=on,multidevs=remap \
             -device virtio-9p-pci,fsdev=lasthop-files,mount_tag=lasthop.files"
                .to_owned(),
        ];
        for name in ["stdout", "stderr"] {
            options.push(format!(
                "-chardev socket,id=lasthop-{name},path={}/{name} \
                 -device virtserialport,bus=lasthop.0,chardev=lasthop-{name},name=lasthop.{name}",
                folder.display()
            ));
        }
        if folder.join(terminal::SOCKET).exists() {
            options.push(format!(
                "-chardev socket,id=lasthop-terminal,path={}/{} \
                 -device virtconsole,bus=lasthop.0,chardev=lasthop-terminal",
                folder.display(),
                terminal::SOCKET
            ));
        }
        options.push(if self.icount { COUNTING } else { COPYING_BY_WORDS }.to_owned());
        options.join(" ")
    }
}

impl Run {
    fn new(command: &[OsString]) -> Result<Self> {
        // The name of a socket may have 107 bytes: too few for some checkouts.
        let folder =
            env::temp_dir().join(format!("lasthop-vm-{}-{}", std::process::id(), serial()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let run = Self {
            mark: format!("end of {}", folder.display()),
            stdout: UnixListener::bind(folder.join("stdout"))?,
            stderr: UnixListener::bind(folder.join("stderr"))?,
            folder,
        };
        let mut words = Vec::new();
        for word in command {
            words.extend_from_slice(word.as_bytes());
            words.push(0);
        }
        run.write("command", &words)?;
        run.write("directory", env::current_dir()?.as_os_str().as_bytes())?;
        run.write("path", path_with(&[Path::new("/usr/sbin")]).as_bytes())?;
        run.write("mark", run.mark.as_bytes())?;
        run.write("guest.sh", SCRIPT.as_bytes())?;
        Ok(run)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Copies both outputs to their ends, then hangs up, upon which the machine goes off.
    fn attend(
        &self,
        child: &mut Child,
        stdout: &mut (impl Write + Send),
        stderr: &mut (impl Write + Send),
    ) -> Result<(Option<u8>, std::process::ExitStatus)> {
        thread::scope(|scope| {
            let out = scope.spawn(|| copy(&self.stdout, stdout, &self.mark));
            let err = scope.spawn(|| copy(&self.stderr, stderr, &self.mark));
            // Neither of them ends while the machine runs and its command does.
            let hang_up = scope.spawn(move || {
                let ends = (out.join(), err.join());
                match ends {
                    (Ok(out), Ok(err)) => {
                        let (status, _stdout) = out?;
                        let (_, _stderr) = err?;
                        Ok(status)
                    }
                    _ => bail!("cannot read what the machine writes"),
                }
            });
            let ended = child.wait();
            // If it never opened its ports, the threads still wait for that.
            for port in ["stdout", "stderr"] {
                drop(UnixStream::connect(self.folder.join(port)));
            }
            let status =
                hang_up.join().unwrap_or_else(|_| bail!("cannot read what the machine writes"))?;
            Ok((status, ended?))
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Copies one output to its end; the stream is still open then.
fn copy(port: &UnixListener, to: &mut impl Write, mark: &str) -> Result<(Option<u8>, UnixStream)> {
    let (stream, _) = port.accept()?;
    let status = console::copy(&stream, to, mark)?;
    Ok((status, stream))
}

/// A number that no other run of this process has.
fn serial() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A file for the machine's console; removed again when all went well.
fn console_log(kernel: Name) -> Result<(PathBuf, File)> {
    let folder = super::folder().join("console");
    fs::create_dir_all(&folder)?;
    let name = format!("{}-{}-{}.log", kernel.text(), std::process::id(), serial());
    let path = folder.join(name);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, file))
}

fn show_tail(log: &Path) {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    // A panic says what it is about at its beginning.
    let panic = lines.iter().position(|line| FAULTS.iter().any(|fault| line.contains(fault)));
    let first = panic.unwrap_or(lines.len().saturating_sub(TAIL));
    for line in lines.iter().skip(first).take(TAIL) {
        // Terminal sequences of the firmware's.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        eprintln!("    {line}");
    }
}

/// An option and its value in one word.
fn option(name: &str, value: &Path) -> OsString {
    let mut word = OsString::from(name);
    word.push(value);
    word
}

/// A path as one word of a shell's.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The path of this process, with folders before it.
fn path_with(folders: &[&Path]) -> OsString {
    let old = env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().map(|folder| folder.to_path_buf()).chain(env::split_paths(&old));
    // Only a folder with a colon in its name cannot be joined.
    env::join_paths(all).unwrap_or(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_words_of_a_shell() {
        assert_eq!(quoted(Path::new("/a b/c")), "'/a b/c'");
        assert_eq!(quoted(Path::new("/it's")), r"'/it'\''s'");
    }
}
