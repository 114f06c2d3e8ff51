//! A BPF program of two instructions that drops, or passes, every packet of a device.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::{say_ready, wait_for_the_end};

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    /// XDP in the stack, after the skb is made (`XDP_FLAGS_SKB_MODE`).
    XdpGeneric,
    /// XDP in the driver (`XDP_FLAGS_DRV_MODE`).
    XdpNative,
    /// tc ingress (tcx, Linux 6.6 and later).
    TcIngress,
    /// tc egress (tcx).
    TcEgress,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// The packet dies.
    Drop,
    /// The packet goes on, and no later program of the same hook is asked.
    Accept,
}

#[derive(Args)]
pub struct Hold {
    /// Device, in the current network namespace.
    #[arg(long)]
    dev: String,
    /// Where on the packet's way.
    #[arg(long)]
    at: Place,
    /// What becomes of every packet.
    #[arg(long, default_value = "drop")]
    answer: Answer,
}

// include/uapi/linux/bpf.h and if_link.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
// Answers: include/uapi/linux/bpf.h (XDP) and pkt_cls.h (tc).
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_ACT_OK: u32 = 0;
const TC_ACT_SHOT: u32 = 2;

/// `r0 = answer; exit`, as `struct bpf_insn` in memory order of a little-endian machine.
const fn program(answer: u32) -> [u64; 2] {
    [0x0000_0000_0000_00b7 | (answer as u64) << 32, 0x0000_0000_0000_0095]
}

/// The head of `union bpf_attr` as `BPF_PROG_LOAD` reads it; the rest is zero for the kernel.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_count: u32,
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
}

/// The head of `union bpf_attr` as `BPF_LINK_CREATE` reads it.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attr: &T, what: &str) -> Result<OwnedFd> {
    // SAFETY: `attr` is a plain repr(C) struct of that command and its size is given; the kernel
    // only reads it during the call.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    let Ok(fd) = i32::try_from(fd) else { bail!("bpf(2) returned {fd}") };
    if fd < 0 {
        bail!("{what}: {}", std::io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn hold(args: &Hold) -> Result<()> {
    let name = CString::new(args.dev.as_str())?;
    // SAFETY: a NUL-terminated string that outlives the call.
    let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if ifindex == 0 {
        bail!("no device {}", args.dev);
    }
    let drops = args.answer == Answer::Drop;
    let xdp = if drops { XDP_DROP } else { XDP_PASS };
    let tc = if drops { TC_ACT_SHOT } else { TC_ACT_OK };
    let (prog_type, attach_type, flags, answer) = match args.at {
        Place::XdpGeneric => (BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_SKB_MODE, xdp),
        Place::XdpNative => (BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_DRV_MODE, xdp),
        Place::TcIngress => (BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, 0, tc),
        Place::TcEgress => (BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_EGRESS, 0, tc),
    };
    let insns = program(answer);
    let license = c"GPL";
    let load = ProgLoad {
        prog_type,
        insn_count: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..ProgLoad::default()
    };
    let program = bpf(BPF_PROG_LOAD, &load, "cannot load the program")?;
    let link = LinkCreate {
        prog_fd: u32::try_from(program.as_raw_fd()).context("a negative descriptor")?,
        target_ifindex: ifindex,
        attach_type,
        flags,
    };
    // The program stays attached for as long as this process holds the link.
    let _link = bpf(BPF_LINK_CREATE, &link, "cannot attach the program")?;
    say_ready()?;
    wait_for_the_end()
}
