//! A tcx link by a device's index. The loader attaches by name, and only by one that is UTF-8.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya::programs::TcAttachType;

/// `BPF_LINK_CREATE`, and what goes with it (include/uapi/linux/bpf.h, 6.6).
const LINK_CREATE: libc::c_long = 28;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
/// `BPF_F_BEFORE`; with no other program named: before all of them.
const BEFORE: u32 = 1 << 3;

/// `union bpf_attr`, the part `link_create` with `tcx`.
#[derive(Default)]
#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    expected_revision: u64,
}

/// Attaches in front of what is there, on a device of the calling thread's namespace. The link is
/// gone when the descriptor is closed.
///
/// # Errors
/// Those of bpf(2).
pub fn attach(
    program: BorrowedFd<'_>,
    ifindex: u32,
    direction: TcAttachType,
) -> io::Result<OwnedFd> {
    let attach_type = match direction {
        TcAttachType::Ingress => TCX_INGRESS,
        TcAttachType::Egress => TCX_EGRESS,
        TcAttachType::Custom(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let attributes = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        ifindex,
        attach_type,
        flags: BEFORE,
        ..LinkCreate::default()
    };
    // SAFETY: the kernel reads as many bytes as it is told, which are all of `attributes`, and keeps
    // no pointer.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, LINK_CREATE, &raw const attributes, size_of_val(&attributes))
    };
    match i32::try_from(fd) {
        // SAFETY: the descriptor is new, and nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
