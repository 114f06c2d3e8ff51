//! What takes another kernel than this machine's: the scenarios with Open vSwitch, and every program
//! loaded and attached on the oldest and the newest.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::count::{Count, scenario_failures};
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

/// The functions of Open vSwitch that every packet passes: hooked the cheaper way wherever the kernel has
/// one, which its modules' BTF decides.
const PASSED: [(&str, &str); 3] = [
    ("ovs-receive", "ovs_vport_receive"),
    ("ovs-actions", "ovs_execute_actions"),
    ("ovs-output", "ovs_vport_send"),
];

/// All scenarios for guests, or the one of this name. Two guests at a time: each has one processor.
pub(super) fn run(binary: &Path, only: Option<&str>) -> Result<Count> {
    super::harness("scenarios")?;
    let mut sum = Count::default();
    for (kernels, attach) in [(SCENARIOS, false), (ATTACH, true)] {
        if attach && only.is_some() {
            continue;
        }
        let began = Instant::now();
        let counts = std::thread::scope(|scope| {
            let runs = kernels.map(|kernel| {
                scope.spawn(move || {
                    if attach { attaches(kernel, binary) } else { judged(kernel, binary, only) }
                })
            });
            runs.map(|run| run.join().unwrap_or_else(|_| bail!("the machine's thread ended")))
        });
        for (kernel, count) in kernels.iter().zip(counts) {
            sum += count.unwrap_or_else(|error| {
                println!("    FAILED  {}: {error:#}", kernel.text());
                Count::failure(format!("the guest with {}", kernel.text()))
            });
        }
        let names = kernels.map(Name::text).join(" and ");
        eprintln!("  guests with {names} … {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(sum)
}

/// The command that runs a program of the harness in a guest, its arguments still to come. The
/// checkout is slow to read there, so that what is run is copied into the guest's memory.
pub(crate) fn program(name: &str, binary: &Path) -> Vec<OsString> {
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
    let harness = super::harness_folder();
    let folder = crate::root().join("tests/scenarios");
    let mut words: Vec<OsString> = ["sh", "-c", COPY, "sh", name].map(OsString::from).into();
    words.extend([binary, &harness, &folder].map(|path| path.as_os_str().to_owned()));
    words
}

fn machine(kernel: Name, timeout: Duration) -> Machine {
    // One processor each: two virtual ones that wait for each other on one real one lose far more
    // than they win.
    Machine { kernel, timeout, cpus: 1, memory: "2G".to_owned(), icount: false }
}

/// The scenarios for guests with this kernel, and `doctor` where it is about more than one of them; their
/// recordings and logs come out.
fn judged(kernel: Name, binary: &Path, only: Option<&str>) -> Result<Count> {
    let records = folder(kernel)?;
    let mut command = program("scenarios", binary);
    command.extend(["--kernel", kernel.text(), "--records"].map(OsString::from));
    command.push(records.into());
    command.extend(only.map(OsString::from));
    let mut count = counted(&machine(kernel, LIMIT), &command)?;
    if only.is_none() {
        count += examined(&machine(kernel, ATTACH_LIMIT), binary)?;
    }
    Ok(count)
}

/// `doctor`, then some of the scenarios that any kernel runs.
fn attaches(kernel: Name, binary: &Path) -> Result<Count> {
    folder(kernel)?;
    let machine = machine(kernel, ATTACH_LIMIT);
    let mut count = examined(&machine, binary)?;
    let mut command = program("scenarios", binary);
    command.extend(OWN.map(OsString::from));
    count += counted(&machine, &command)?;
    Ok(count)
}

/// `doctor`, which is to find the best way for each hook of Open vSwitch.
fn examined(machine: &Machine, binary: &Path) -> Result<Count> {
    let kernel = machine.kernel;
    let mut doctor: Vec<OsString> =
        ["sh", "-c", "modprobe -q openvswitch; exec \"$0\" doctor"].map(OsString::from).into();
    doctor.push(binary.into());
    let mut said = Lines::new(kernel, false);
    let end = machine.run(&doctor, &mut said, &mut io::sink())?;
    fs::write(output(kernel).join("doctor"), &said.text)?;
    let text = String::from_utf8_lossy(&said.text);
    if end != End::Exited(0) {
        bail!("lasthop doctor ended with {end:?}: {text}");
    }
    if let Some(missing) = not_best(kernel, &text) {
        bail!("lasthop doctor does not find {missing}: {text}");
    }
    println!("    {} ok      doctor", kernel.text());
    let mut count = Count::PASSED;
    count += shapes(machine, binary)?;
    Ok(count)
}

/// Kinds of filter: each makes the kernel programs larger by something else, and what this kernel's verifier
/// takes of one it may refuse of another.
const SHAPES: [&str; 3] = ["icmp6", "host 10.0.0.1", "tcp [fd00::1]:1000 -> [fd00::2]:53"];

/// Every hook attaches, whatever the filter (a trace says itself what it cannot see), in the memory that lasthop
/// is to live in.
fn shapes(machine: &Machine, binary: &Path) -> Result<Count> {
    let script = r#"set -e
        modprobe -q openvswitch || true
        cp "$0" /tmp/lasthop
        root=$(mktemp -d)
        mount -t cgroup2 none "$root"
        echo +memory >"$root/cgroup.subtree_control"
        mkdir "$root/small"
        echo 64M >"$root/small/memory.max"
        echo $$ >"$root/small/cgroup.procs"
        for shape; do
            /tmp/lasthop trace "$shape" --json --for 10ms
        done
        /tmp/lasthop drops --json --for 10ms
        /tmp/lasthop doctor"#;
    let mut command: Vec<OsString> = ["sh", "-c", script].map(OsString::from).into();
    command.push(binary.into());
    command.extend(SHAPES.map(OsString::from));
    let (mut said, mut errors) = (Lines::new(machine.kernel, false), Vec::new());
    let end = machine.run(&command, &mut said, &mut errors)?;
    let text = String::from_utf8_lossy(&said.text).into_owned();
    let metas: Vec<&str> = text.lines().filter(|l| l.starts_with("{\"type\":\"meta\"")).collect();
    if end != End::Exited(0) || metas.len() < SHAPES.len() {
        let errors = String::from_utf8_lossy(&errors);
        bail!("traces of each kind of filter in 64 MiB ended with {end:?}: {text}{errors}");
    }
    if let Some(meta) = metas.iter().find(|meta| meta.contains("\"unseen\"")) {
        bail!("a hook did not attach: {meta}");
    }
    println!("    {} ok      every kind of filter in 64 MiB", machine.kernel.text());
    Ok(Count::PASSED)
}

/// The first hook of Open vSwitch that `doctor` does not find attached in the best way that there is: lines
/// `ok KIND PROBE`.
fn not_best(kernel: Name, doctor: &str) -> Option<String> {
    // Modules have BTF since 5.11.
    let way = if kernel == Name::V5_10 { "kprobe" } else { "fentry" };
    let said = |kind: &str, probe: &str| {
        let mut lines = doctor.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|words| words.starts_with(&["ok", kind, probe]))
    };
    let probes = PASSED.iter().map(|(kind, function)| (kind, format!("{way}:{function}")));
    probes.into_iter().find(|(kind, probe)| !said(kind, probe)).map(|(_, probe)| probe)
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
    let on = |name: String| format!("{name} on {}", machine.kernel.text());
    count.failures = scenario_failures(&text).into_iter().map(on).collect();
    if end != End::Exited(0) {
        if count.failed == 0 {
            count += Count::failure(on("the scenarios".to_owned()));
        }
    } else if count.passed == 0 {
        bail!("no scenario ran");
    }
    Ok(count)
}

/// Where what came out of one kernel's guest is kept; empty.
fn folder(kernel: Name) -> Result<PathBuf> {
    let folder = output(kernel);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    step::note(&format!("recordings from {}: {}", kernel.text(), folder.display()));
    Ok(folder)
}

fn output(kernel: Name) -> PathBuf {
    crate::root().join("target/xtask/guests").join(kernel.text())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesser_way_is_noticed() {
        let doctor = |way: &str| {
            let line =
                |(kind, f): &(&str, &str)| format!("ok       {kind}    {way}:{f} (and more)\n");
            PASSED.iter().map(line).collect::<String>()
        };
        assert_eq!(not_best(Name::V6_12, &doctor("fentry")), None);
        assert_eq!(not_best(Name::V5_10, &doctor("kprobe")), None);
        let missing = Some("fentry:ovs_vport_receive".to_owned());
        assert_eq!(not_best(Name::V6_1, &doctor("kprobe")), missing);
        assert_eq!(not_best(Name::V6_1, ""), missing);
    }
}
