//! A socket that sees what arrives at one device, and keeps nothing of it.
//!
//! The kernel hands each packet to the packet sockets of its device in every round through
//! `__netif_receive_skb_core`, before tc. The socket's filter runs there and takes nothing. Unlike a
//! qdisc, a filter or a link, nobody else meets it, and it is gone with its descriptor, however
//! lasthop ends, on every kernel.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use aya::programs::SocketFilter;

use super::refusal::chain;

/// `include/uapi/linux/if_packet.h`; Linux 4.20. What leaves is seen elsewhere.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Opens one for a device of the calling thread's namespace.
///
/// # Errors
/// The kernel's: `EPERM` without `CAP_NET_RAW`, `ENODEV` where the device has gone.
pub fn open(program: &SocketFilter, ifindex: u32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers. Of no protocol yet: nothing comes before it is bound.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads as many bytes as it is told, which are all of `on`.
    done(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })?;
    program.attach(&socket).map_err(|e| io::Error::other(chain(&e)))?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: as above, of `address`.
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes them. For each the kernel waits until no processor is in it any more (`packet_release`), some
/// 15 ms: together, as the waiting is the same for all.
pub fn close(taps: Vec<OwnedFd>) {
    const AT_ONCE: usize = 64;
    let each = taps.len().div_ceil(AT_ONCE).max(1);
    let mut taps = taps;
    std::thread::scope(|scope| {
        while taps.len() > each {
            let some = taps.split_off(taps.len() - each);
            scope.spawn(move || drop(some));
        }
        drop(taps);
    });
}
