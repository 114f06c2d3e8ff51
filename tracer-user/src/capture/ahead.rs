//! Loads programs before they are attached, on all processors: most of the start is the kernel's
//! verifier, which looks through one program on one processor.

use aya::Btf;
use aya::programs::{Program, ProgramError};

use super::entry::Functions;
use super::load::Loaded;
use super::{probes, verifier};

/// Loads what is attached on most nodes, and the programs for these functions of Open vSwitch. What the
/// kernel refuses is tried again where it is to be attached, and told of there.
pub fn load_ahead(loaded: &mut Loaded, functions: Option<&Functions>) {
    let wanted: Vec<_> = probes::best().collect();
    let Loaded { ebpf, btf: Some(btf), entries } = loaded else { return };
    std::thread::scope(|scope| {
        if let Some(functions) = functions {
            scope.spawn(|| entries.load(functions));
        }
        for (name, program) in ebpf.programs_mut() {
            let found = wanted.iter().find(|(wanted, _)| *wanted == name);
            let Some((_, types_of)) = found else { continue };
            let btf = &*btf;
            scope.spawn(move || {
                if let Err(e) = load(program, types_of, btf) {
                    log::debug!("{name} is refused for now: {e}");
                }
            });
        }
    });
}

fn load(program: &mut Program, types_of: &str, btf: &Btf) -> Result<(), ProgramError> {
    let _turn = verifier::turn();
    match program {
        Program::CgroupSkb(p) => p.load(),
        Program::BtfTracePoint(p) => p.load(types_of, btf),
        Program::FEntry(p) => p.load(types_of, btf),
        Program::FExit(p) => p.load(types_of, btf),
        _ => Ok(()),
    }
}
