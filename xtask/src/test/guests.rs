//! What takes another kernel than this machine's: the scenarios with Open vSwitch, and every program
//! loaded and attached on the oldest and the newest.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::count::Count;
use crate::step;
use crate::vm::{End, Machine, Name};

/// Kernels that run all scenarios that are for guests, and those that only attach.
const SCENARIOS: [Name; 2] = [Name::V6_1, Name::V6_12];
const ATTACH: [Name; 2] = [Name::V5_10, Name::Newest];

/// Until all of one kernel's scenarios are over, on a busy machine.
const LIMIT: Duration = Duration::from_mins(55);
const ATTACH_LIMIT: Duration = Duration::from_mins(10);

/// Some of this machine's own scenarios: between them each kind of program has work to do.
const OWN: [&str; 3] = ["udp-echo/ipv4", "tcp-transfer/ipv6", "nft-drop/ipv4"];

/// Which scenarios guests run.
#[derive(Clone, Copy)]
pub(super) enum Scenarios<'a> {
    /// By its name.
    One(&'a str),
    /// The incidents, and each hook of Open vSwitch at work: enough for every change.
    Few,
    /// Every one.
    All,
}

impl Scenarios<'_> {
    fn names(&self) -> Vec<OsString> {
        match self {
            Self::One(name) => vec![name.into()],
            Self::Few => FEW.map(OsString::from).into(),
            Self::All => Vec::new(),
        }
    }
}

/// The six incidents, and a rule that drops.
const FEW: [&str; 7] = [
    "ovn-br-local",
    "octavia-ct-invalid",
    "stale-flow/ipv4",
    "undnat-lost/ipv4",
    "port-collision/ipv4",
    "bond-arp-mac",
    "ovs-drop-rule/ipv4",
];

/// Two guests at a time: each has one processor.
pub(super) fn run(binary: &Path, scenarios: Scenarios<'_>) -> Result<Count> {
    super::harness("scenarios")?;
    let mut sum = Count::default();
    for (kernels, attach) in [(SCENARIOS, false), (ATTACH, true)] {
        if attach && matches!(scenarios, Scenarios::One(_)) {
            continue;
        }
        let began = Instant::now();
        let counts = std::thread::scope(|scope| {
            let runs = kernels.map(|kernel| {
                scope.spawn(move || {
                    if attach {
                        attaches(kernel, binary)
                    } else {
                        judged(kernel, binary, scenarios)
                    }
                })
            });
            runs.map(|run| run.join().unwrap_or_else(|_| bail!("the machine's thread ended")))
        });
        for (kernel, count) in kernels.iter().zip(counts) {
            sum += count.unwrap_or_else(|error| {
                println!("    FAILED  {}: {error:#}", kernel.text());
                Count::FAILED
            });
        }
        let names = kernels.map(Name::text).join(" and ");
        eprintln!("  guests with {names} … {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(sum)
}

/// The command that runs a program of the harness in a guest, its arguments still to come. The
/// checkout is slow to read there, so that what is run is copied into the guest's memory.
pub(crate) fn program(name: &str, binary: &Path) -> Result<Vec<OsString>> {
    const COPY: &str = r#"set -e
        to=/tmp/lasthop-bin
        mkdir -p "$to"
        program=$1
        shift
        cp "$1" "$to/lasthop"
        cp "$2/peer" "$2/$program" "$to"
        folder=$3
        shift 3
        LASTHOP=$to/lasthop exec "$to/$program" --folder "$folder" "$@""#;
    let release = binary.parent().context("a binary without a folder")?;
    let folder = crate::root().join("tests/scenarios");
    let mut words: Vec<OsString> = ["sh", "-c", COPY, "sh", name].map(OsString::from).into();
    words.extend([binary, release, &folder].map(|path| path.as_os_str().to_owned()));
    Ok(words)
}

fn machine(kernel: Name, timeout: Duration) -> Machine {
    // One processor each: two virtual ones that wait for each other on one real one lose far more
    // than they win.
    Machine { kernel, timeout, cpus: 1, memory: "2G".to_owned(), icount: false }
}

/// The scenarios for guests with this kernel; their recordings and logs come out.
fn judged(kernel: Name, binary: &Path, scenarios: Scenarios<'_>) -> Result<Count> {
    let records = folder(kernel)?;
    let mut command = program("scenarios", binary)?;
    command.extend(["--kernel", kernel.text(), "--records"].map(OsString::from));
    command.push(records.into());
    command.extend(scenarios.names());
    counted(&machine(kernel, LIMIT), &command)
}

/// `doctor`, then some of the scenarios that any kernel runs.
fn attaches(kernel: Name, binary: &Path) -> Result<Count> {
    let mut doctor: Vec<OsString> =
        ["sh", "-c", "modprobe -q openvswitch; exec \"$0\" doctor"].map(OsString::from).into();
    doctor.push(binary.into());
    let machine = machine(kernel, ATTACH_LIMIT);
    let mut said = Lines::new(kernel, false);
    let end = machine.run(&doctor, &mut said, &mut io::sink())?;
    fs::write(folder(kernel)?.join("doctor"), &said.text)?;
    if end != End::Exited(0) {
        bail!("lasthop doctor ended with {end:?}: {}", String::from_utf8_lossy(&said.text));
    }
    println!("    {} ok      doctor", kernel.text());
    let mut command = program("scenarios", binary)?;
    command.extend(OWN.map(OsString::from));
    let mut count = counted(&machine, &command)?;
    count += Count::PASSED;
    Ok(count)
}

/// Runs the harness and reads its sums.
fn counted(machine: &Machine, command: &[OsString]) -> Result<Count> {
    let mut said = Lines::new(machine.kernel, true);
    let mut errors = Vec::new();
    let end = machine.run(command, &mut said, &mut errors)?;
    let text = String::from_utf8_lossy(&said.text).into_owned();
    let last = text.lines().rev().find_map(|line| line.parse::<Count>().ok());
    let Some(mut count) = last else {
        bail!("no sum; it ended with {end:?}: {}", String::from_utf8_lossy(&errors));
    };
    if end != End::Exited(0) {
        count.failed = count.failed.max(1);
    } else if count.passed == 0 {
        bail!("no scenario ran");
    }
    Ok(count)
}

/// Where what came out of one kernel's guest is kept; empty.
fn folder(kernel: Name) -> Result<PathBuf> {
    let folder = crate::root().join("target/xtask/guests").join(kernel.text());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    step::note(&format!("recordings from {}: {}", kernel.text(), folder.display()));
    Ok(folder)
}

/// Keeps what a guest says, and shows it line by line: two guests speak at a time.
struct Lines {
    kernel: Name,
    shown: bool,
    text: Vec<u8>,
    line: Vec<u8>,
}

impl Lines {
    const fn new(kernel: Name, shown: bool) -> Self {
        Self { kernel, shown, text: Vec::new(), line: Vec::new() }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        for &byte in bytes {
            if byte == b'\n' {
                if self.shown {
                    let line = String::from_utf8_lossy(&self.line);
                    println!("    {} {line}", self.kernel.text());
                }
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
