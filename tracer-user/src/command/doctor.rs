//! `lasthop doctor`: what this node supports, what is missing, and what that costs.
//!
//! Hooks are not guessed from the kernel's version: each is loaded and attached for real, and
//! detached again.

mod owner;

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use tracer_common::flow::Filter;

use super::output::Output;
use crate::capture::load::{Loaded, Purpose, load, loader};
use crate::capture::ovs::{OvsFacts, OvsHooks};
use crate::capture::ports::{Choice, Ports};
use crate::capture::probes::{Attached, attach_devices, attach_ends};
use crate::cli::DoctorArgs;
use crate::kernel::btf::{BTF_DIR, KernelBtf};
use crate::kernel::reasons::Reasons;
use crate::kernel::symbols::Symbols;
use crate::preflight;
use crate::render::json;
use crate::topology::{LinkEvent, Scope, Watch};
use tracer_core::verdict::words::safe;

/// How a check came out, from fine to fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// Something is not seen, or not named.
    Limited,
    /// Nothing can be traced.
    Missing,
}

/// One line of the report; with `--json` an object of type `check`.
#[derive(Clone, Debug, Serialize)]
struct Check {
    r#type: &'static str,
    name: String,
    status: Status,
    detail: String,
    /// What is not to be had because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn new(name: &str, status: Status, detail: impl Into<String>) -> Self {
        let (name, detail) = (name.to_owned(), detail.into());
        Self { r#type: "check", name, status, detail, costs: None, fix: None }
    }

    fn costs(mut self, costs: &str) -> Self {
        self.costs = Some(costs.to_owned());
        self
    }

    fn fix(mut self, fix: &str) -> Self {
        self.fix = Some(fix.to_owned());
        self
    }
}

/// Prints the report; status 1 when nothing can be traced here.
///
/// # Errors
/// The report cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<u8> {
    let checks = examine();
    let mut out = Output::new(anstream::stdout().lock());
    for check in &checks {
        if args.output.json {
            json::write(&mut out, check)?;
        } else {
            write_text(&mut out, check)?;
        }
    }
    let worst = checks.iter().map(|c| c.status).max().unwrap_or(Status::Ok);
    if !args.output.json {
        let sum = match worst {
            Status::Ok => "lasthop sees everything it can see on this node.",
            Status::Limited => "lasthop works on this node, within the limits above.",
            Status::Missing => "lasthop cannot trace on this node: see above.",
        };
        writeln!(out, "\n{sum}")?;
    }
    Ok(u8::from(worst == Status::Missing))
}

fn write_text(out: &mut impl std::io::Write, check: &Check) -> std::io::Result<()> {
    let (mark, colour) = match check.status {
        Status::Ok => ("ok     ", anstyle::AnsiColor::Green),
        Status::Limited => ("limited", anstyle::AnsiColor::Yellow),
        Status::Missing => ("missing", anstyle::AnsiColor::Red),
    };
    let style = anstyle::Style::new().fg_color(Some(colour.into()));
    let detail = safe(&check.detail);
    writeln!(out, "{style}{mark}{style:#}  {:<14} {detail}", check.name)?;
    for (label, text) in [("costs", &check.costs), ("fix", &check.fix)] {
        if let Some(text) = text {
            writeln!(out, "{:25}{label}: {}", "", safe(text))?;
        }
    }
    Ok(())
}

fn examine() -> Vec<Check> {
    let mut checks = vec![kernel(), capabilities()];
    let btf = match KernelBtf::open() {
        Ok(btf) => {
            checks.push(Check::new("BTF", Status::Ok, format!("{BTF_DIR}/vmlinux")));
            btf
        }
        Err(e) => {
            checks.push(Check::new("BTF", Status::Missing, e.to_string()));
            return checks;
        }
    };
    checks.push(reasons(&btf));
    checks.push(symbols());
    checks.push(conntrack(&btf));
    let daemons = owner::daemons();
    if preflight::check().is_ok() {
        checks.extend(hooks(&btf));
    }
    checks.extend(daemons);
    checks
}

fn kernel() -> Check {
    let release = nix::sys::utsname::uname()
        .map_or_else(|e| e.to_string(), |u| u.release().to_string_lossy().into_owned());
    Check::new("kernel", Status::Ok, format!("Linux {release}"))
}

fn capabilities() -> Check {
    match preflight::check() {
        Ok(()) if preflight::has(caps::Capability::CAP_SYS_ADMIN) => {
            Check::new("capabilities", Status::Ok, "all that is needed")
        }
        Ok(()) => Check::new("capabilities", Status::Limited, "no CAP_SYS_ADMIN")
            .costs("devices of other network namespaces are not seen")
            .fix("run lasthop as root"),
        Err(e) => {
            Check::new("capabilities", Status::Missing, e.to_string()).fix("run lasthop as root")
        }
    }
}

fn reasons(btf: &KernelBtf) -> Check {
    if Reasons::read(btf).any() {
        Check::new("drop reasons", Status::Ok, "this kernel names its reasons")
    } else {
        Check::new("drop reasons", Status::Limited, "this kernel gives none (it does since 5.17)")
            .costs("a drop is explained by the function that dropped it alone")
    }
}

fn symbols() -> Check {
    match Symbols::read() {
        Ok(symbols) if !symbols.is_empty() => Check::new("symbols", Status::Ok, "/proc/kallsyms"),
        Ok(_) => Check::new("symbols", Status::Limited, "/proc/kallsyms hides its addresses")
            .costs("places in the kernel stay unnamed")
            .fix("grant CAP_SYSLOG, or set kernel.kptr_restrict to 1"),
        Err(e) => Check::new("symbols", Status::Limited, format!("/proc/kallsyms: {e}"))
            .costs("places in the kernel stay unnamed"),
    }
}

/// Attaches every hook for real and lets go of it.
fn hooks(btf: &KernelBtf) -> Vec<Check> {
    let ovs = OvsFacts::find(btf, false);
    let purpose = Purpose::Follow { ring_bytes: 4096, choice: Choice::ByNetns };
    let mut loaded = match load(loader(), btf, &Filter::ANY, purpose) {
        Ok(loaded) => loaded,
        Err(e) => return vec![Check::new("BPF object", Status::Missing, format!("{e:#}"))],
    };
    let mut checks: Vec<_> = attach_devices(&mut loaded).iter().map(node_wide).collect();
    match Ports::new(&mut loaded, Choice::ByNetns) {
        Ok(mut ports) => checks.extend(devices(&mut ports, &mut loaded)),
        Err(e) => checks.push(Check::new("devices", Status::Missing, format!("{e:#}"))),
    }
    checks.extend(openvswitch(&mut loaded, ovs));
    checks.extend(attach_ends(&mut loaded).iter().map(node_wide));
    checks
}

fn devices(ports: &mut Ports, loaded: &mut Loaded) -> Vec<Check> {
    let links = match Watch::start(Scope::from_options::<&str>(&[])) {
        Ok((_, links)) => links,
        Err(e) => return vec![Check::new("devices", Status::Missing, format!("{e:#}"))],
    };
    let mut checks = Vec::new();
    for event in links {
        let LinkEvent::Appeared(link) = event else {
            continue;
        };
        if let Err(e) = ports.attach(loaded, &link, true) {
            checks.push(Check::new("devices", Status::Limited, format!("{e:#}")));
        }
    }
    let mut detail = format!("{} are seen", ports.devices());
    if ports.taps() != 0 {
        let _ = write!(
            detail,
            ", {} of them by a packet socket for what arrives (VLANs, bonds, macvlans: their packets \
             come by way of another device)",
            ports.taps()
        );
    }
    checks.insert(0, Check::new("devices", Status::Ok, detail));
    checks
}

fn node_wide(attached: &Attached) -> Check {
    let refused: Vec<String> =
        attached.refused.iter().map(|(probe, why)| format!("{probe} refused: {why}")).collect();
    let Some(probe) = &attached.probe else {
        let status = if attached.is_fatal().is_some() { Status::Missing } else { Status::Limited };
        return Check::new(attached.kind, status, refused.join("; ")).costs(attached.costs);
    };
    let mut detail = probe.clone();
    if !refused.is_empty() {
        detail = format!("{detail} ({})", refused.join("; "));
    }
    Check::new(attached.kind, Status::Ok, detail)
}

/// Attaches the hooks of Open vSwitch for real, where its datapath is there.
fn conntrack(btf: &KernelBtf) -> Check {
    let layout = crate::kernel::conntrack::layout(btf);
    if layout.known == 0 {
        return Check::new(
            "conntrack",
            Status::Limited,
            "this kernel's BTF does not have its types",
        )
        .costs(
            "no hop tells which connection conntrack takes the packet for; translated replies \
                 are followed only where one skb shows both addresses",
        )
        .fix("where conntrack is a module, load it before the trace: modprobe nf_conntrack");
    }
    let lacks =
        [(layout.has_zone, "zones"), (layout.has_mark, "marks"), (layout.has_labels, "labels")];
    let lacks: Vec<_> = lacks.iter().filter(|(has, _)| *has == 0).map(|(_, what)| *what).collect();
    let detail = if lacks.is_empty() {
        "entries are shown with zone, mark and labels".to_owned()
    } else {
        format!("entries are shown; this kernel has no {}", lacks.join(", no "))
    };
    Check::new("conntrack", Status::Ok, detail)
}

fn openvswitch(loaded: &mut Loaded, facts: Option<OvsFacts>) -> Vec<Check> {
    let mut hooks = OvsHooks::new(false);
    hooks.start(loaded, facts);
    if hooks.attached().is_empty() {
        let detail = "the module is not loaded: no Open vSwitch datapath here; when it is loaded \
                      while tracing, it is noticed";
        return vec![Check::new("openvswitch", Status::Ok, detail)];
    }
    let mut checks = vec![match hooks.gap() {
        None => Check::new("openvswitch", Status::Ok, "its datapath is in this kernel, with BTF"),
        Some(gap) => Check::new("openvswitch", Status::Limited, "its datapath is in this kernel")
            .costs(&gap.to_string()),
    }];
    checks.extend(hooks.attached().iter().map(node_wide));
    checks
}
