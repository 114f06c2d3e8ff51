//! The BPF objects that a process holds, and whether the kernel still has them.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result};

/// What kind of object an id belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A loaded program.
    Program,
    /// A map.
    Map,
    /// An attachment.
    Link,
}

/// One object; its id is not given to another for as long as a test lasts.
pub type Object = (Kind, u32);

// include/uapi/linux/bpf.h
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

/// All objects that a process holds a descriptor of, from `/proc/PID/fdinfo`.
pub fn held_by(pid: nix::unistd::Pid) -> Result<BTreeSet<Object>> {
    let dir = format!("/proc/{pid}/fdinfo");
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))? {
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let kind = match key {
                "prog_id" => Kind::Program,
                "map_id" => Kind::Map,
                "link_id" => Kind::Link,
                _ => continue,
            };
            if let Ok(id) = value.trim().parse() {
                held.insert((kind, id));
            }
        }
    }
    Ok(held)
}

/// Whether the kernel still has it.
pub fn exists((kind, id): Object) -> bool {
    let command = match kind {
        Kind::Program => BPF_PROG_GET_FD_BY_ID,
        Kind::Map => BPF_MAP_GET_FD_BY_ID,
        Kind::Link => BPF_LINK_GET_FD_BY_ID,
    };
    // The head of `union bpf_attr` for these commands: id, next_id, open_flags.
    let attr = [id, 0, 0];
    // SAFETY: the kernel reads the array, whose size is given, during the call only.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(&attr), size_of_val(&attr))
    };
    let Ok(fd @ 0..) = i32::try_from(fd) else {
        return false;
    };
    // SAFETY: a new descriptor that nobody else owns; it is closed at once.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}
