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

/// Gives its memory back to the system until somebody reads it again.
pub fn give_back() {
    let Some(object) = OBJECT else { return };
    // Whole pages of it only.
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let Some(page) = page.and_then(|size| usize::try_from(size).ok()) else { return };
    let before = object.as_ptr().align_offset(page);
    let Some(pages) = object.get(before..) else { return };
    let len = pages.len() / page * page;
    // SAFETY: the pages are of this binary's file, mapped to be read only: they read the same again.
    unsafe { libc::madvise(pages.as_ptr().cast_mut().cast(), len, libc::MADV_DONTNEED) };
}

/// What to say, and do, when [`OBJECT`] is missing.
pub const MISSING: &str =
    "this lasthop was built without its kernel programs; `cargo xtask build` makes one with them";
