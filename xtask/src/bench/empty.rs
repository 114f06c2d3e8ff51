//! A program that does nothing, on the hooks that lasthop uses: what the hooks themselves cost.

use std::collections::BTreeMap;
use std::fs::{self, File};

use anyhow::{Context, Result};
use aya::programs::{BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};
use aya::{Btf, Ebpf};
use object::write::{Object, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use super::programs;

/// A program: its name, its section, which says what kind it is as aya reads it, and what it returns
/// so that the packet goes on.
struct Empty {
    name: &'static str,
    section: &'static str,
    answer: i32,
}

/// Each with the tracepoint that it is for.
const TRACEPOINTS: [(Empty, &str); 3] = [
    (Empty { name: "empty_in", section: "tp_btf", answer: 0 }, "netif_receive_skb"),
    (Empty { name: "empty_out", section: "tp_btf", answer: 0 }, "net_dev_queue"),
    (Empty { name: "empty_end", section: "tp_btf", answer: 0 }, "consume_skb"),
];
const CGROUP: Empty = Empty {
    name: "empty_cgroup",
    section: "cgroup_skb/ingress",
    // The packet may pass.
    answer: 1,
};

fn all() -> impl Iterator<Item = &'static Empty> {
    TRACEPOINTS.iter().map(|(empty, _)| empty).chain([&CGROUP])
}

/// Runs below which a mean says more about what else the machine did: where the flood's packets do
/// not come by, only strangers' do.
const ENOUGH: u64 = 10_000;

/// Empty programs, attached for as long as this lives.
pub(super) struct Attached {
    ebpf: Ebpf,
}

/// What an empty program costs on one kind of hook.
pub(super) struct Cost {
    /// As [`programs::kind`] has it.
    pub kind: String,
    /// Nanoseconds a run, by the kernel's count.
    pub ns: f64,
}

/// Attaches them where lasthop attaches: where devices hand packets over and get them, in the kernel's
/// free path, before sockets.
pub(super) fn attach() -> Result<Attached> {
    let mut ebpf = Ebpf::load(&object_file()?).context("cannot load an empty program")?;
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    for (empty, tracepoint) in &TRACEPOINTS {
        let program: &mut BtfTracePoint = named(&mut ebpf, empty)?;
        program.load(tracepoint, &btf)?;
        program.attach()?;
    }
    let program: &mut CgroupSkb = named(&mut ebpf, &CGROUP)?;
    program.load()?;
    program.attach(
        File::open(cgroup2()?)?,
        CgroupSkbAttachType::Ingress,
        // As a link, which never stands in the way of others; the flags are of the older way.
        CgroupAttachMode::Single,
    )?;
    Ok(Attached { ebpf })
}

impl Attached {
    /// What they cost since they were loaded.
    pub(super) fn costs(&self) -> Result<Vec<Cost>> {
        let mut sums: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for empty in all() {
            let program = self.ebpf.program(empty.name).context("not loaded")?;
            let info = program.info()?;
            let (runs, ns) = sums.entry(programs::kind(&info)).or_default();
            *runs += info.run_count();
            *ns += info.run_time().as_nanos() as f64;
        }
        let enough = sums.into_iter().filter(|(_, (runs, _))| *runs >= ENOUGH);
        Ok(enough.map(|(kind, (runs, ns))| Cost { kind, ns: ns / runs as f64 }).collect())
    }
}

/// Where the cgroup2 hierarchy is mounted: not everywhere on `/sys/fs/cgroup` itself.
fn cgroup2() -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let at = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| at.to_owned())
    });
    at.context("no cgroup2 hierarchy is mounted")
}

fn named<'a, P>(ebpf: &'a mut Ebpf, empty: &Empty) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
    <&'a mut P as TryFrom<&'a mut aya::programs::Program>>::Error:
        std::error::Error + Send + Sync + 'static,
{
    let program = ebpf.program_mut(empty.name).context("not in the object")?;
    Ok(program.try_into()?)
}

/// An ELF file with all of them, as a compiler would write it.
fn object_file() -> Result<Vec<u8>> {
    let endian = if cfg!(target_endian = "big") { Endianness::Big } else { Endianness::Little };
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, endian);
    let license = object.add_section(Vec::new(), "license".into(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    for empty in all() {
        let section = object.add_section(Vec::new(), empty.section.into(), SectionKind::Text);
        let code = instructions(empty.answer);
        let value = object.append_section_data(section, &code, 8);
        object.add_symbol(Symbol {
            name: empty.name.into(),
            value,
            size: code.len() as u64,
            kind: SymbolKind::Text,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    }
    Ok(object.write()?)
}

/// `r0 = answer; exit`, as two `struct bpf_insn` (include/uapi/linux/bpf.h).
fn instructions(answer: i32) -> Vec<u8> {
    const MOV64_IMMEDIATE: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    let mut code = vec![MOV64_IMMEDIATE, 0, 0, 0];
    code.extend_from_slice(&answer.to_ne_bytes());
    code.extend_from_slice(&[EXIT, 0, 0, 0, 0, 0, 0, 0]);
    code
}
