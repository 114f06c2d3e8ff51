//! Follows the links of one namespace with one netlink socket.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::message::{RawLink, dump_links, messages};

/// `RTNLGRP_LINK` as a bit of `sockaddr_nl.nl_groups`.
const LINK_GROUP: u32 = 1;
/// The kernel fills at most 32 KiB of a dump into one datagram (`netlink_dump`).
pub(super) const DATAGRAM_BYTES: usize = 64 * 1024;
/// What may wait to be read while many devices come and go at once.
const RECEIVE_BUFFER_BYTES: i32 = 1 << 20;

/// What a socket tells.
pub(super) enum Update {
    /// A link is there, and looks like this.
    Link(RawLink),
    /// A link has gone.
    Gone(u32),
    /// A dump is complete: any link but these, and those told of since it began, has gone.
    Only(HashSet<u32>),
}

/// The socket of one namespace, and the dump it is in the middle of.
pub(super) struct Monitor {
    socket: Socket,
    /// The socket's own address: only replies to it carry this number.
    port: u32,
    seq: u32,
    dump: Option<Dump>,
    /// Something was lost: ask for everything once more.
    stale: bool,
}

struct Dump {
    seq: u32,
    /// Told of by the dump or, since it began, by an event. Events win: the dump may have been
    /// written before them and queued after.
    seen: HashSet<u32>,
    by_event: HashSet<u32>,
    interrupted: bool,
}

impl Monitor {
    /// Opens a socket in the namespace of the calling thread, where it stays, and asks for all
    /// links. It listens before it asks, so nothing falls between.
    pub fn open_here() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER_BYTES)?;
        socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address)?;
        let port = address.port_number();
        let mut monitor = Self { socket, port, seq: 0, dump: None, stale: false };
        monitor.ask()?;
        Ok(monitor)
    }

    /// Whether all that was asked for has been read.
    pub fn is_settled(&self) -> bool {
        self.dump.is_none()
    }

    /// Reads all that is there, through `buffer`, whose capacity is at least [`DATAGRAM_BYTES`].
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub fn read(&mut self, buffer: &mut Vec<u8>, tell: &mut dyn FnMut(Update)) -> io::Result<()> {
        loop {
            buffer.clear();
            match self.socket.recv(buffer, 0) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.datagram(buffer, tell)?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => self.stale = true,
                Err(e) => return Err(e),
            }
        }
        if self.stale && self.dump.is_none() {
            self.ask()?;
        }
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        self.seq += 1;
        self.socket.send_to(&dump_links(self.seq), &SocketAddr::new(0, 0), 0)?;
        self.stale = false;
        self.dump = Some(Dump {
            seq: self.seq,
            seen: HashSet::new(),
            by_event: HashSet::new(),
            interrupted: false,
        });
        Ok(())
    }

    fn datagram(&mut self, datagram: &[u8], tell: &mut dyn FnMut(Update)) -> io::Result<()> {
        messages(datagram).try_for_each(|message| self.message(&message, tell))
    }

    fn message(
        &mut self,
        message: &NetlinkBuffer<&[u8]>,
        tell: &mut dyn FnMut(Update),
    ) -> io::Result<()> {
        let to_us = message.port_number() == self.port;
        let dump = self.dump.as_mut();
        let replied = dump.filter(|dump| to_us && message.sequence_number() == dump.seq);
        match (message.message_type(), replied) {
            (NLMSG_DONE, Some(_)) => return self.done(tell),
            (NLMSG_ERROR, Some(_)) => {
                return Err(io::Error::other("the kernel refuses to list the links"));
            }
            (libc::RTM_NEWLINK, Some(dump)) => {
                dump.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                if let Some(link) = RawLink::read(message.payload())
                    && dump.seen.insert(link.ifindex)
                    && !dump.by_event.contains(&link.ifindex)
                {
                    tell(Update::Link(link));
                }
            }
            (libc::RTM_NEWLINK, None) => {
                if let Some(link) = RawLink::read(message.payload()) {
                    self.told_by_event(link.ifindex);
                    tell(Update::Link(link));
                }
            }
            (libc::RTM_DELLINK, None) => {
                if let Some(link) = RawLink::read(message.payload()) {
                    self.told_by_event(link.ifindex);
                    tell(Update::Gone(link.ifindex));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn told_by_event(&mut self, ifindex: u32) {
        if let Some(dump) = &mut self.dump {
            dump.by_event.insert(ifindex);
        }
    }

    fn done(&mut self, tell: &mut dyn FnMut(Update)) -> io::Result<()> {
        let Some(dump) = self.dump.take() else {
            return Ok(());
        };
        if dump.interrupted || self.stale {
            return self.ask();
        }
        tell(Update::Only(dump.seen.union(&dump.by_event).copied().collect()));
        Ok(())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    fn ip(args: &str) {
        let status = Command::new("ip").args(args.split_whitespace()).status().unwrap();
        assert!(status.success(), "ip {args}");
    }

    /// Reads until nothing is outstanding; `links` are then those of the namespace.
    fn settle(monitor: &mut Monitor, links: &mut BTreeSet<u32>) {
        let mut buffer = Vec::with_capacity(DATAGRAM_BYTES);
        loop {
            monitor
                .read(&mut buffer, &mut |update| match update {
                    Update::Link(link) => {
                        links.insert(link.ifindex);
                    }
                    Update::Gone(ifindex) => {
                        links.remove(&ifindex);
                    }
                    Update::Only(only) => links.retain(|ifindex| only.contains(ifindex)),
                })
                .unwrap();
            if monitor.is_settled() {
                return;
            }
        }
    }

    #[test]
    fn what_overflowed_the_socket_is_asked_for_again() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: what_overflowed_the_socket_is_asked_for_again: needs root");
            return;
        }
        // The thread, and with it its namespace, ends with the test.
        let in_a_namespace_of_its_own = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let (mut monitor, mut links) = (Monitor::open_here().unwrap(), BTreeSet::new());
            monitor.socket.set_rx_buf_sz(1).unwrap();
            settle(&mut monitor, &mut links);
            let loopback = links.clone();
            for i in 0..20 {
                ip(&format!("link add br{i} type bridge"));
            }
            settle(&mut monitor, &mut links);
            assert_eq!(links.len(), loopback.len() + 20);
            let asked = monitor.seq;
            assert!(asked > 1, "a buffer of the smallest size holds it all: nothing is tested");
            for i in 0..20 {
                ip(&format!("link del br{i}"));
            }
            settle(&mut monitor, &mut links);
            assert!(monitor.seq > asked);
            assert_eq!(links, loopback);
        };
        thread::spawn(in_a_namespace_of_its_own).join().unwrap();
    }
}
