//! Programs for the entry of a module's functions (fentry): aya finds functions of the kernel proper
//! alone (0.14), so these are linked with its maps and loaded here.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, anyhow};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::Object;
use btf_rs::Type;

use super::object::OBJECT;
use super::refusal::chain;
use super::syscall::{EntryProgram, attach, module_btf};
use super::verifier;
use crate::kernel::btf::KernelBtf;

/// How much a verifier may write of its reasons, bytes.
const LOG_BYTES: usize = 1 << 20;

/// A program in the object, and the function that it is for.
pub type Entry = (&'static str, &'static str);

/// Functions as the kernel's types number them.
pub struct Functions {
    /// Whose they are; `None`: the kernel's proper.
    module: Option<&'static str>,
    /// Those that there are.
    numbered: Vec<(Entry, u32)>,
}

impl Functions {
    /// Looks the functions up in the module's types, or in the kernel's where it is built in.
    pub fn find(btf: &KernelBtf, module: &'static str, is_built_in: bool, of: &[Entry]) -> Self {
        let types = if is_built_in { None } else { btf.module(module) };
        if types.is_none() && !is_built_in {
            return Self { module: Some(module), numbered: Vec::new() };
        }
        let module = types.is_some().then_some(module);
        let types = types.as_ref().unwrap_or(btf.vmlinux());
        let number = |function| {
            let named = types.named(function).into_iter();
            named.filter(|(_, t)| matches!(t, Type::Func(_))).map(|(id, _)| id).next()
        };
        let numbered = of.iter().filter_map(|entry| Some((*entry, number(entry.1)?)));
        Self { module, numbered: numbered.collect() }
    }
}

/// A program in the kernel.
#[derive(Debug)]
struct Loaded {
    program: OwnedFd,
    /// Attached while this is open.
    link: Option<OwnedFd>,
}

/// The programs, and what it takes to load them.
pub struct Entries {
    /// aya's maps, by name: some of them change hands after the load.
    maps: BTreeMap<String, OwnedFd>,
    /// By name; of those that the kernel has refused, why.
    programs: BTreeMap<&'static str, Result<Loaded, String>>,
}

impl Entries {
    /// None yet, with the maps of `ebpf`.
    pub fn of(ebpf: &Ebpf) -> io::Result<Self> {
        let maps = ebpf.maps().filter_map(|(name, map)| Some((name, data(map)?)));
        let maps =
            maps.map(|(name, map)| Ok((name.to_owned(), map.fd().as_fd().try_clone_to_owned()?)));
        Ok(Self { maps: maps.collect::<io::Result<_>>()?, programs: BTreeMap::new() })
    }

    /// Loads the programs of these functions, on all processors; each is tried once.
    pub fn load(&mut self, functions: &Functions) {
        let tried = |(name, _): &Entry| self.programs.contains_key(name);
        let numbered = functions.numbered.iter().filter(|(entry, _)| !tried(entry));
        let numbered: Vec<_> = numbered.copied().collect();
        if numbered.is_empty() {
            return;
        }
        match load_all(&self.maps, functions.module, &numbered) {
            Ok(loaded) => self.programs.extend(loaded),
            Err(e) => {
                let why = |((name, _), _): &(Entry, u32)| (*name, Err(format!("{e:#}")));
                self.programs.extend(numbered.iter().map(why));
            }
        }
    }

    /// Attaches a program that was loaded.
    ///
    /// # Errors
    /// Why it was not, or the kernel's.
    pub fn attach(&mut self, (name, function): Entry) -> anyhow::Result<()> {
        let held = self.programs.get_mut(name);
        let held = held.with_context(|| format!("no BTF tells of {function}"))?;
        let loaded = held.as_mut().map_err(|why| anyhow!("{why}"))?;
        match attach(loaded.program.as_fd()) {
            Ok(link) => loaded.link = Some(link),
            Err(e) => {
                *held = Err(format!("not attached: {e}"));
                return Err(e.into());
            }
        }
        Ok(())
    }

    /// Detaches and unloads a program.
    pub fn unload(&mut self, program: &str) {
        self.programs.remove(program);
    }

    /// The programs in the kernel, by name.
    pub fn programs(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let loaded =
            self.programs.iter().filter_map(|(name, held)| Some((*name, held.as_ref().ok()?)));
        loaded.map(|(name, loaded)| (name, loaded.program.as_fd()))
    }
}

/// What aya knows of a map, where it is of a kind that there is among lasthop's.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(map)
        | Map::HashMap(map)
        | Map::LruHashMap(map)
        | Map::PerCpuArray(map)
        | Map::PerCpuHashMap(map)
        | Map::RingBuf(map)
        | Map::StackTraceMap(map) => Some(map),
        _ => None,
    }
}

type Results = Vec<(&'static str, Result<Loaded, String>)>;

fn load_all(
    maps: &BTreeMap<String, OwnedFd>,
    module: Option<&str>,
    functions: &[(Entry, u32)],
) -> anyhow::Result<Results> {
    let btf = module.map(module_btf).transpose().context("the module's BTF")?;
    let names = functions.iter().map(|((name, _), _)| *name);
    let object = link(maps, &names.collect())?;
    let load = |(name, _): Entry, id| -> Result<Loaded, String> {
        let program = object.programs.get(name).ok_or("not inside")?;
        let linked = object.functions.get(&program.function_key()).ok_or("not inside")?;
        let program = EntryProgram {
            name,
            license: &object.license,
            instructions: &linked.instructions,
            function: id,
            module: btf.as_ref().map(|btf| btf.as_fd()),
        };
        let program = load_one(&program).map_err(|e| chain(&e))?;
        Ok(Loaded { program, link: None })
    };
    Ok(std::thread::scope(|scope| {
        let load = &load;
        let threads = functions.iter();
        let threads = threads.map(|(entry, id)| (entry.0, scope.spawn(|| load(*entry, *id))));
        let threads: Vec<_> = threads.collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(|(name, thread)| (name, join(thread))).collect()
    }))
}

/// Of the object these programs with all that they call, each one piece, referring to the maps.
fn link(maps: &BTreeMap<String, OwnedFd>, names: &HashSet<&str>) -> anyhow::Result<Object> {
    let mut object = Object::parse(OBJECT.context("no BPF object inside")?)?;
    // What is not a program is a function that programs share.
    let others = object.programs.extract_if(|name, _| !names.contains(name.as_str()));
    for (_, program) in others {
        object.functions.remove(&program.function_key());
    }
    let known = std::mem::take(&mut object.maps);
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    let maps = maps
        .iter()
        .filter_map(|(name, fd)| Some((name.as_str(), fd.as_raw_fd(), known.get(name)?)));
    object.relocate_maps(maps, &sections)?;
    object.relocate_calls(&sections)?;
    Ok(object)
}

/// Once more with the verifier's words where it is refused and somebody asked for them (`-vv`).
fn load_one(program: &EntryProgram<'_>) -> io::Result<OwnedFd> {
    let _turn = verifier::turn();
    let refused = match program.load(&mut []) {
        Err(e) if log::log_enabled!(log::Level::Debug) => e,
        result => return result,
    };
    let mut said = vec![0; LOG_BYTES];
    program.load(&mut said).map_err(|_| {
        let said = String::from_utf8_lossy(&said);
        io::Error::other(format!("{refused}. Verifier output: {}", said.trim_end_matches('\0')))
    })
}
