//! What Debian must provide, why, and how to tell that it is there.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use crate::step;

/// A Debian package, needed for one thing that it brings.
pub(crate) struct Package {
    /// Its name in Debian 12.
    pub name: &'static str,
    /// What it is needed for: a command looked for as a shell would, or a file's whole path.
    pub brings: &'static str,
    /// Who needs that.
    pub why: &'static str,
}

const fn package(name: &'static str, brings: &'static str, why: &'static str) -> Package {
    Package { name, brings, why }
}

/// What the demo, the scenarios and the benchmark run.
pub(crate) const RUN_TIME: &[Package] = &[
    package("iproute2", "ip", "makes the namespaces, links, addresses and routes"),
    package(
        "iproute2",
        "tc",
        "other people's tc filters, beside which lasthop must leave no trace",
    ),
    package("iproute2", "bridge", "VLAN filters of a bridge"),
    package("nftables", "nft", "the rules that drop and translate packets"),
    package("iptables", "iptables", "rules as older nodes write them"),
    package("iputils-ping", "ping", "ICMP traffic"),
    package("ethtool", "ethtool", "offloads off: a packet stays one packet"),
    package("tcpdump", "tcpdump", "what lasthop's cost is compared with"),
];

/// What the benchmark compares with beside those.
pub(crate) const COMPARED: &[Package] =
    &[package("bpftrace", "bpftrace", "what lasthop's cost is compared with")];

/// What the scenarios in guests run. None of it runs on this machine.
pub(crate) const OPEN_VSWITCH: &[Package] = &[
    package("openvswitch-switch", "ovs-vswitchd", "the switch that packets die in"),
    package("ovn-central", "ovn-northd", "incident 1 with a real OVN"),
    package("ovn-host", "ovn-controller", "incident 1 with a real OVN"),
    package("conntrack", "conntrack", "a second witness of what conntrack did"),
];

/// The services that these packages bring.
const SERVICES: &[&str] = &["openvswitch-switch", "ovn-central", "ovn-host"];

/// What it takes to compile bpf-linker against Debian's LLVM.
pub(crate) const LINKER: &[Package] = &[
    package(
        "llvm-22-dev",
        "/usr/lib/llvm-22/include/llvm-c/Core.h",
        "libLLVM, which bpf-linker uses",
    ),
    package("libzstd-dev", "/usr/include/zstd.h", "libLLVM is linked with it"),
    package("zlib1g-dev", "/usr/include/zlib.h", "libLLVM is linked with it"),
    package("libxml2-dev", "/usr/include/libxml2/libxml/parser.h", "libLLVM is linked with it"),
];

/// What it takes to compile libFuzzer.
pub(crate) const FUZZER: &[Package] = &[package("g++", "c++", "libFuzzer is written in C++")];

/// Debian's own rustc with a compiled `core` for BPF.
pub(crate) const COMPILER: &[Package] = &[
    package("rustc-web", "/usr/bin/rustc", "compiles the kernel programs"),
    package(
        "libstd-rust-web-dev-bpf",
        "/usr/lib/rustlib/bpfel-unknown-none/lib",
        "`core` for bpfel-unknown-none",
    ),
];

/// The lints of that rustc.
pub(crate) const LINTER: &[Package] =
    &[package("rust-web-clippy", "/usr/bin/clippy-driver", "checks the kernel programs")];

/// Where a command is, as root's shell would find it: Debian keeps many of these in `sbin`, which
/// is not in everybody's path.
pub(crate) fn command(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

impl Package {
    fn is_there(&self) -> bool {
        if self.brings.starts_with('/') {
            Path::new(self.brings).exists()
        } else {
            command(self.brings).is_some()
        }
    }
}

/// Installs those of `wanted` whose commands or files are missing.
pub(crate) fn ensure(wanted: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = wanted.iter().filter(|package| !package.is_there()).collect();
    install(&missing)
}

/// The same for packages with services, none of which is started, now or later.
pub(crate) fn ensure_idle(wanted: &[Package]) -> Result<()> {
    if wanted.iter().all(Package::is_there) {
        return Ok(());
    }
    let had: Vec<&str> = SERVICES.iter().copied().filter(|name| has_service(name)).collect();
    let policy = Policy::no_services()?;
    ensure(wanted)?;
    drop(policy);
    let came = SERVICES.iter().filter(|name| !had.contains(name));
    if Path::new("/run/systemd/system").is_dir() {
        step::run("leaving its services off", Command::new("systemctl").arg("disable").args(came))?;
    }
    Ok(())
}

fn has_service(name: &str) -> bool {
    Path::new("/lib/systemd/system").join(format!("{name}.service")).exists()
}

/// While it is there, no package starts a service: Debian's own way, see invoke-rc.d(8).
struct Policy {
    ours: bool,
}

impl Policy {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn no_services() -> Result<Self> {
        let ours = nix::unistd::geteuid().is_root() && !Path::new(Self::FILE).exists();
        if ours {
            fs::write(Self::FILE, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(Self::FILE, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(Self::FILE);
        }
    }
}

/// Installs all of `wanted`, newer versions included: for what is there but too old.
pub(crate) fn upgrade(wanted: &[Package]) -> Result<()> {
    install(&wanted.iter().collect::<Vec<_>>())
}

fn install(missing: &[&Package]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    names.dedup();
    let by_hand =
        format!("apt-get update && apt-get install --no-install-recommends {}", names.join(" "));
    if command("apt-get").is_none() || !nix::unistd::geteuid().is_root() {
        let wants: Vec<String> =
            missing.iter().map(|p| format!("{} ({})", p.brings, p.why)).collect();
        bail!("missing: {}. As root on Debian 12: {by_hand}", wants.join(", "));
    }
    for package in missing {
        step::note(&format!("{} is missing: {}", package.brings, package.why));
    }
    let fresh = !lists_are_old();
    if !fresh {
        update()?;
    }
    let title = format!("installing {}", names.join(" "));
    let done = step::attempt(&title, apt("install").arg("--no-remove").args(&names))?;
    if !done.status.success() {
        if fresh {
            // A package may have been replaced by a newer one since the lists were read.
            update()?;
        }
        step::run(&format!("{title}, again"), apt("install").arg("--no-remove").args(&names))?;
    }
    match missing.iter().find(|package| !package.is_there()) {
        Some(package) => bail!("{} is installed, but has no {}", package.name, package.brings),
        None => Ok(()),
    }
}

fn update() -> Result<()> {
    step::run("reading Debian's package lists", &mut apt("update")).map(drop)
}

fn apt(action: &str) -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // Another apt may be at work; it is waited for.
    apt.args(["-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", action]);
    apt
}

/// Package lists that are missing, or were last fetched more than a day ago. The lists themselves
/// have the server's time; the directory that they arrive in has ours.
fn lists_are_old() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    let has_lists = fs::read_dir(lists).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().contains("_Packages")))
    });
    let fetched = lists.join("partial").metadata().and_then(|m| m.modified());
    let age = fetched.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    !has_lists || age.is_none_or(|age| age > Duration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_files_are_told_apart() {
        assert!(package("dash", "sh", "").is_there());
        assert!(!package("nothing", "no-such-command-anywhere", "").is_there());
        assert!(!package("nothing", "/no/such/file", "").is_there());
    }

    #[test]
    fn what_is_there_installs_nothing() {
        ensure(&[package("no-such-package", "sh", "")]).expect("sh is everywhere");
    }
}
