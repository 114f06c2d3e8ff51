//! The guest behind a tap: one that reads, one that reads slowly, one that never does, one gone.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{say_ready, wait_for_the_end};

// include/uapi/linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Guest {
    /// Takes every frame at once.
    Reads,
    /// Takes one frame each 100 ms: a guest that is starved.
    Slow,
    /// Holds the device and takes nothing: a guest that hangs.
    Deaf,
    /// Makes the device and leaves it without a reader: a guest that has died.
    Gone,
}

#[derive(Args)]
pub struct Tap {
    /// Name of the device.
    #[arg(long)]
    name: String,
    /// What the guest does.
    #[arg(long)]
    guest: Guest,
}

pub fn run(args: &Tap) -> Result<()> {
    let mut tap = open(&args.name)?;
    if args.guest == Guest::Gone {
        set_persistent(&tap)?;
        drop(tap);
        return say_ready();
    }
    say_ready()?;
    let mut frame = vec![0_u8; 65_536];
    loop {
        match args.guest {
            Guest::Deaf | Guest::Gone => wait_for_the_end(),
            Guest::Slow => std::thread::sleep(Duration::from_millis(100)),
            Guest::Reads => {}
        }
        let _whole_frame = tap.read(&mut frame)?;
    }
}

fn open(name: &str) -> Result<File> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        bail!("{name:?} is no device name");
    }
    let tap = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an all-zero ifreq is a valid one: integers and byte arrays.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes the ifreq given, which outlives the call.
    if unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        bail!("cannot make tap {name}: {}", std::io::Error::last_os_error());
    }
    Ok(tap)
}

fn set_persistent(tap: &File) -> Result<()> {
    // SAFETY: TUNSETPERSIST takes a plain integer.
    if unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETPERSIST, 1) } != 0 {
        bail!("cannot keep the tap: {}", std::io::Error::last_os_error());
    }
    Ok(())
}
