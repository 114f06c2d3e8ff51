//! The calls of bpf(2) that aya has no way to make: those for a program that is attached to a function
//! of a module. Each argument is as `union bpf_attr` has it, `include/uapi/linux/bpf.h`, up to the last
//! field that is of use: the kernel takes what is not handed to it as zero.

use std::ffi::CStr;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use aya_obj::generated::{bpf_attach_type, bpf_btf_info, bpf_cmd, bpf_insn, bpf_prog_type};

/// `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    core_relo_cnt: u32,
}

const _: () = assert!(size_of::<ProgLoad>() == 120, "no padding");
const _: () = assert!(offset_of!(ProgLoad, attach_btf_obj_fd) == 112, "as the kernel has it");

/// `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
#[derive(Default)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

/// `BPF_BTF_GET_NEXT_ID`, `BPF_BTF_GET_FD_BY_ID`.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
#[repr(C)]
#[derive(Default)]
struct Batch {
    start: u64,
    end: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const _: () = assert!(size_of::<Batch>() == 56, "no padding");

/// Takes entries out of a hash map (5.6), as many as there is room for, behind those that were taken
/// before: `at`, which is moved on. Gives back how many, and whether those are the last.
///
/// # Errors
/// The kernel's. `StorageFull`: there has to be more room.
///
/// # Safety
/// `K` is what the map has for keys, and `values` has for each of `keys` as many `V` as the map has for a
/// value: those of all possible processors, where it has one for each. `V` is a multiple of 8 bytes long.
pub unsafe fn take_entries<K: aya::Pod, V: aya::Pod>(
    map: BorrowedFd<'_>,
    at: &mut Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    let mut behind = 0_u32;
    let mut attr = Batch {
        start: at.as_ref().map_or(0, |at| &raw const *at as u64),
        end: &raw mut behind as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        map_fd: number(map),
        ..Batch::default()
    };
    // SAFETY: the command's argument; it writes no more keys and values than `count`, of the sizes that the
    // caller vouches for, and a word at `behind`. A hash map's position is a word (`htab_map_get_next_batch`).
    let taken = unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attr) };
    let is_last = match taken {
        Ok(_) => false,
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
        Err(e) => return Err(e),
    };
    *at = Some(behind);
    Ok((attr.count as usize, is_last))
}

/// A program for the entry of a function.
pub struct EntryProgram<'a> {
    /// As the kernel lists it; cut after 15 bytes.
    pub name: &'a str,
    /// Its licence.
    pub license: &'a CStr,
    /// Its instructions, linked.
    pub instructions: &'a [bpf_insn],
    /// The function's number in the BTF that has it.
    pub function: u32,
    /// That BTF, where it is a module's.
    pub module: Option<BorrowedFd<'a>>,
}

impl EntryProgram<'_> {
    /// Loads it (`BPF_TRACE_FENTRY`: 5.5, of a module: 5.11). The verifier writes into `log`, unless
    /// it is empty.
    pub fn load(&self, log: &mut [u8]) -> io::Result<OwnedFd> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let mut attr = ProgLoad {
            prog_type: bpf_prog_type::BPF_PROG_TYPE_TRACING as u32,
            insn_cnt: u32::try_from(self.instructions.len()).map_err(too_long)?,
            insns: self.instructions.as_ptr() as u64,
            license: self.license.as_ptr() as u64,
            expected_attach_type: bpf_attach_type::BPF_TRACE_FENTRY as u32,
            attach_btf_id: self.function,
            attach_btf_obj_fd: self.module.map_or(0, number),
            ..ProgLoad::default()
        };
        // The last byte stays zero.
        for (to, from) in attr.prog_name.iter_mut().take(15).zip(self.name.bytes()) {
            *to = from;
        }
        if !log.is_empty() {
            attr.log_level = 1;
            attr.log_size = u32::try_from(log.len()).map_err(too_long)?;
            attr.log_buf = log.as_mut_ptr() as u64;
        }
        // SAFETY: the command's argument; the addresses in it are of borrowed memory of the lengths
        // beside them, the licence ends with a zero, and only the log is written.
        let fd = unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr) }?;
        // SAFETY: the command gives a descriptor that nobody else has.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Attaches a program to the function that it was loaded for; it stays attached until what is given
/// back is closed.
pub fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepointOpen { prog_fd: number(program), ..Default::default() };
    // SAFETY: the command's argument; without a name it is about the program alone.
    let fd = unsafe { bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr) }?;
    // SAFETY: the command gives a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The BTF of a loaded module. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// The kernel's; `NotFound` where none of that name is loaded, or it has no BTF.
pub fn module_btf(module: &str) -> io::Result<OwnedFd> {
    let mut id = 0;
    loop {
        id = next_btf(id).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOENT) => io::ErrorKind::NotFound.into(),
            _ => e,
        })?;
        // It may have been let go of since.
        if let Ok(btf) = open_btf(id)
            && is_of_module(btf.as_fd(), module)?
        {
            return Ok(btf);
        }
    }
}

/// The number of the first BTF object after this one.
fn next_btf(id: u32) -> io::Result<u32> {
    let mut attr = ById { id, ..ById::default() };
    // SAFETY: the command's argument; it has no addresses in it.
    unsafe { bpf(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr) }?;
    Ok(attr.next_id)
}

fn open_btf(id: u32) -> io::Result<OwnedFd> {
    let mut attr = ById { id, ..ById::default() };
    // SAFETY: the command's argument; it has no addresses in it.
    let fd = unsafe { bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: the command gives a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a BTF object is the kernel's own about the module, and not a program's.
fn is_of_module(btf: BorrowedFd<'_>, module: &str) -> io::Result<bool> {
    // Longer than `MODULE_NAME_LEN` and its terminating zero.
    let mut name = [0_u8; 64];
    let mut info = bpf_btf_info {
        btf: 0,
        btf_size: 0,
        id: 0,
        name: name.as_mut_ptr() as u64,
        name_len: name.len() as u32,
        kernel_btf: 0,
    };
    let mut attr = InfoByFd {
        bpf_fd: number(btf),
        info_len: size_of_val(&info) as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the command's argument; the kernel writes `info_len` bytes to `info`, and `name_len` to
    // the name, which both outlive the call.
    match unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) } {
        Ok(_) => {}
        // Somebody's name is longer.
        Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => return Ok(false),
        Err(e) => return Err(e),
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(info.kernel_btf != 0 && name.to_bytes() == module.as_bytes())
}

/// As the kernel takes it in an argument.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `A` is the beginning of what `union bpf_attr` is for the command, without padding, and the
/// addresses in it are of memory that the command may read or write.
unsafe fn bpf<A>(command: bpf_cmd, attr: &mut A) -> io::Result<RawFd> {
    // SAFETY: the caller's; the kernel reads and writes no more than the size it is told.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<A>())
    };
    RawFd::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)
}
