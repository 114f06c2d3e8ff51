//! The kernel's BTF as the loader needs it: the types that hooks are found by, each at its number,
//! and nothing else.
//!
//! The loader parses whatever BTF it is given as a whole, which for the kernel's own takes tens of
//! megabytes and a good part of the start. It asks one thing of it: the number of a type of a given
//! name and kind. (Layout: `Documentation/bpf/btf.rst`.)

use aya::Btf;
use btf_rs::Type;

use super::btf::KernelBtf;

/// A type that a hook is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookType {
    /// Of a tracepoint: the typedef `btf_trace_NAME`.
    Tracepoint(&'static str),
    /// Of a function's entry or return.
    Function(&'static str),
}

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_BYTES: u32 = 24;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;

impl HookType {
    fn name(&self) -> String {
        match self {
            Self::Tracepoint(name) => format!("btf_trace_{name}"),
            Self::Function(name) => (*name).to_owned(),
        }
    }

    fn kind(&self) -> u32 {
        match self {
            Self::Tracepoint(_) => KIND_TYPEDEF,
            Self::Function(_) => KIND_FUNC,
        }
    }

    /// Its number in the kernel's BTF, or `None` when the kernel has no such type.
    fn id(&self, kernel: &KernelBtf) -> Option<u32> {
        let types = kernel.vmlinux().named(&self.name()).into_iter();
        let is_it = |t: &Type| {
            matches!(
                (self, t),
                (Self::Tracepoint(_), Type::Typedef(_)) | (Self::Function(_), Type::Func(_))
            )
        };
        types.filter(|(_, t)| is_it(t)).map(|(id, _)| id).next()
    }
}

/// A BTF in which `wanted` have the numbers that they have in the kernel's. What the kernel does not
/// have is left out: attaching to it is then refused by name.
///
/// # Errors
/// The loader does not take it.
pub fn hook_types(kernel: &KernelBtf, wanted: &[HookType]) -> Result<Btf, aya::BtfError> {
    let numbered = wanted.iter().filter_map(|hook| Some((hook.id(kernel)?, hook)));
    Btf::parse(&blob(numbered.collect()), aya::Endianness::default())
}

/// Every type is three words long here, so that its number is its place; those in between are
/// nameless forward declarations.
fn blob(mut numbered: Vec<(u32, &HookType)>) -> Vec<u8> {
    numbered.sort_by_key(|(id, _)| *id);
    numbered.dedup_by_key(|(id, _)| *id);
    let (mut types, mut strings): (Vec<[u32; 3]>, Vec<u8>) = (Vec::new(), vec![0]);
    for (id, hook) in numbered {
        // Type 0 is `void` and is not stored.
        types.resize(id.saturating_sub(1) as usize, [0, KIND_FWD << 24, 0]);
        types.push([strings.len() as u32, hook.kind() << 24, 0]);
        strings.extend(hook.name().bytes().chain([0]));
    }
    let types_bytes = (types.len() * size_of::<[u32; 3]>()) as u32;
    let mut blob = Vec::with_capacity(HEADER_BYTES as usize + types_bytes as usize + strings.len());
    blob.extend(MAGIC.to_ne_bytes());
    blob.extend([VERSION, 0]);
    // hdr_len, type_off, type_len, str_off, str_len
    for word in [HEADER_BYTES, 0, types_bytes, types_bytes, strings.len() as u32] {
        blob.extend(word.to_ne_bytes());
    }
    blob.extend(types.iter().flatten().flat_map(|word| word.to_ne_bytes()));
    blob.extend(strings);
    blob
}

#[cfg(test)]
mod tests {
    use aya::Endianness;
    use aya_obj::btf::BtfKind;

    use super::*;

    #[test]
    fn types_keep_their_numbers() {
        let (drop, clone) = (HookType::Tracepoint("kfree_skb"), HookType::Function("skb_clone"));
        let bytes = blob(vec![(70_000, &clone), (3, &drop)]);
        let btf = Btf::parse(&bytes, Endianness::default()).expect("a whole BTF");
        let id = |name, kind| btf.id_by_type_name_kind(name, kind).ok();
        assert_eq!(id("btf_trace_kfree_skb", BtfKind::Typedef), Some(3));
        assert_eq!(id("skb_clone", BtfKind::Func), Some(70_000));
        assert_eq!(id("skb_clone", BtfKind::Typedef), None);
    }

    #[test]
    fn nothing_wanted_is_a_btf_all_the_same() {
        Btf::parse(&blob(Vec::new()), Endianness::default()).expect("a whole BTF");
    }
}
