//! The kernel programs that this binary carries.

/// The BPF object, aligned as an ELF file's reader wants it; `None` in a binary that was built
/// without one, that is, not by `cargo xtask build`.
#[cfg(lasthop_bpf_object)]
pub static OBJECT: Option<&[u8]> =
    Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf")));

/// The BPF object, aligned as an ELF file's reader wants it; `None` in a binary that was built
/// without one, that is, not by `cargo xtask build`.
#[cfg(not(lasthop_bpf_object))]
pub static OBJECT: Option<&[u8]> = None;

/// What to say, and do, when [`OBJECT`] is missing.
pub const MISSING: &str =
    "this lasthop was built without its kernel programs; `cargo xtask build` makes one with them";
