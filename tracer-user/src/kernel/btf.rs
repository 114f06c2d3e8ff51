//! The running kernel's BTF (`Documentation/bpf/btf.rst`), its loaded modules' included.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use btf_rs::{Backend, Btf, BtfType, Type};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Where the kernel shows its BTF.
pub const BTF_DIR: &str = "/sys/kernel/btf";

/// Why a kernel fact is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel was built without BTF, or sysfs is not mounted.
    #[error(
        "{BTF_DIR}/vmlinux cannot be read ({0}): lasthop needs a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, and sysfs mounted on /sys"
    )]
    NoBtf(String),
    /// A structure lacks a field that lasthop needs.
    #[error("this kernel's BTF has no {0}: lasthop does not know such a kernel, please report it")]
    Missing(String),
}

/// A field of a kernel structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset from the start of the structure, bits.
    pub bit: u32,
    /// Width, bits, when it is a bit-field.
    pub bits: Option<u32>,
}

impl Field {
    /// Offset, bytes, of the byte that holds its lowest bit.
    pub fn byte(self) -> u32 {
        self.bit / 8
    }
}

/// Types that are found by name. Finding one takes a look at all of them, so it is remembered.
pub struct Types {
    btf: Btf,
    found: RefCell<HashMap<Box<str>, Vec<u32>>>,
}

impl Types {
    fn new(btf: Btf) -> Self {
        Self { btf, found: RefCell::default() }
    }

    /// The types of that name, and their numbers.
    pub fn named(&self, name: &str) -> Vec<(u32, Type)> {
        let mut found = self.found.borrow_mut();
        let ids = found
            .entry(name.into())
            .or_insert_with(|| self.btf.resolve_ids_by_name(name).unwrap_or_default());
        ids.iter().filter_map(|id| Some((*id, self.btf.resolve_type_by_id(*id).ok()?))).collect()
    }
}

/// The BTF of the kernel proper.
pub struct KernelBtf {
    vmlinux: Types,
}

impl KernelBtf {
    /// Opens the running kernel's BTF; it is read in place, not parsed as a whole.
    pub fn open() -> Result<Self, Error> {
        let path = Path::new(BTF_DIR).join("vmlinux");
        let vmlinux = Btf::from_file_with_backend(&path, Backend::Mmap)
            // sysfs grew mmap for it in 6.16.
            .or_else(|_| mapped_copy(&path))
            .map_err(|e| Error::NoBtf(e.to_string()))?;
        Ok(Self { vmlinux: Types::new(vmlinux) })
    }

    /// The kernel proper's types.
    pub fn vmlinux(&self) -> &Types {
        &self.vmlinux
    }

    /// The BTF of a loaded module, or `None` when it is not loaded or has none.
    pub fn module(&self, name: &str) -> Option<Types> {
        let bytes = std::fs::read(Path::new(BTF_DIR).join(name)).ok()?;
        Btf::from_split_bytes(&bytes, &self.vmlinux.btf).ok().map(Types::new)
    }

    /// A field by its path: `["sk_buff", "dev"]`, or through nested structures
    /// `["net", "ns", "inum"]`. Anonymous structures and unions in between need no mention.
    pub fn field(&self, path: &[&str]) -> Result<Field, Error> {
        field(&self.vmlinux, path)
    }

    /// How many arguments a tracepoint hands to a program, or `None` when the kernel has none of
    /// that name. From its prototype `btf_trace_NAME`, whose first parameter is internal.
    pub fn tracepoint_args(&self, name: &str) -> Option<usize> {
        let types = self.vmlinux.named(&format!("btf_trace_{name}"));
        let (_, typedef) = types.into_iter().find(|(_, t)| matches!(t, Type::Typedef(_)))?;
        self.vmlinux.btf.chained_type_iter(typedef.as_btf_type()?).find_map(|t| match t {
            Type::FuncProto(p) => p.parameters.len().checked_sub(1),
            _ => None,
        })
    }
}

/// A copy of it in a file of memory, which can be mapped: parsed as a whole it takes ten times the room.
fn mapped_copy(path: &Path) -> Result<Btf, btf_rs::Error> {
    let mut copy =
        File::from(memfd_create(c"btf", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?);
    io::copy(&mut File::open(path)?, &mut copy)?;
    Btf::from_file_with_backend(format!("/proc/self/fd/{}", copy.as_raw_fd()), Backend::Mmap)
}

/// A field by its path, in the kernel proper's types or a module's; as [`KernelBtf::field`].
///
/// # Errors
/// The path leads nowhere.
pub fn field(types: &Types, path: &[&str]) -> Result<Field, Error> {
    let missing = || Error::Missing(path.join("."));
    let (&name, rest) = path.split_first().ok_or_else(missing)?;
    let mut found = Field { bit: 0, bits: None };
    let mut at = structure(types, name).ok_or_else(missing)?;
    for part in rest {
        let (field, kind) = member(&types.btf, &at, part).ok_or_else(missing)?;
        found = Field { bit: found.bit + field.bit, bits: field.bits };
        at = kind;
    }
    Ok(found)
}

/// A structure by its name.
fn structure(types: &Types, name: &str) -> Option<Type> {
    types.named(name).into_iter().map(|(_, t)| t).find(|t| matches!(t, Type::Struct(_)))
}

/// Size of a structure, bytes.
pub fn size_in(types: &Types, name: &str) -> Option<u32> {
    match structure(types, name)? {
        Type::Struct(s) => u32::try_from(s.size()).ok(),
        _ => None,
    }
}

/// The member `name` of a structure or union and the type it has; anonymous members are searched.
fn member(btf: &Btf, of: &Type, name: &str) -> Option<(Field, Type)> {
    let (Type::Struct(s) | Type::Union(s)) = of else {
        return None;
    };
    for m in &s.members {
        let kind = plain(btf, m)?;
        let own = btf.resolve_name(m).unwrap_or_default();
        if own == name {
            let bits = m.bitfield_size().filter(|b| *b != 0);
            return Some((Field { bit: m.bit_offset(), bits }, kind));
        }
        if own.is_empty()
            && let Some((inner, kind)) = member(btf, &kind, name)
        {
            return Some((Field { bit: inner.bit + m.bit_offset(), ..inner }, kind));
        }
    }
    None
}

/// The type behind typedefs and qualifiers.
fn plain(btf: &Btf, of: &dyn BtfType) -> Option<Type> {
    let mut kind = btf.resolve_chained_type(of).ok()?;
    while matches!(
        kind,
        Type::Typedef(_)
            | Type::Const(_)
            | Type::Volatile(_)
            | Type::Restrict(_)
            | Type::TypeTag(_)
    ) {
        kind = btf.resolve_chained_type(kind.as_btf_type()?).ok()?;
    }
    Some(kind)
}

/// The members of an enumeration by number.
pub fn enum_members(types: &Types, name: &str) -> Vec<(u32, String)> {
    types
        .named(name)
        .into_iter()
        .find_map(|(_, t)| match t {
            Type::Enum(e) => Some(
                e.members
                    .iter()
                    .filter_map(|m| Some((m.val(), types.btf.resolve_name(m).ok()?)))
                    .collect(),
            ),
            _ => None,
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_in_memory_says_the_same() {
        let path = Path::new(BTF_DIR).join("vmlinux");
        let (Ok(kernel), Ok(copy)) = (KernelBtf::open(), mapped_copy(&path)) else {
            assert!(!path.exists(), "{} cannot be read", path.display());
            return;
        };
        let copy = KernelBtf { vmlinux: Types::new(copy) };
        for path in [["sk_buff", "dev"], ["sk_buff", "_skb_refdst"], ["net_device", "ifindex"]] {
            assert_eq!(copy.field(&path).unwrap(), kernel.field(&path).unwrap());
        }
        assert_eq!(copy.tracepoint_args("kfree_skb"), kernel.tracepoint_args("kfree_skb"));
    }
}
