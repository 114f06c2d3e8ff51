//! One question to netfilter over netlink, and one answer.
//!
//! Message layouts: `include/uapi/linux/netfilter/nfnetlink.h`.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr};

/// `NETLINK_NETFILTER`.
const NETLINK_NETFILTER: isize = 12;
pub(super) const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
pub(super) const NESTED: u16 = 0x8000;
/// How long an answer is waited for. The kernel gives it before the question's `send` returns.
const PATIENCE: Duration = Duration::from_millis(200);
const HEADER: usize = 20;

/// A socket to the netfilter of the namespace that it was opened in. The kernel alone can write to
/// it, since it is connected to the kernel (`netlink_getsockbyportid`).
pub(super) struct Nfnetlink {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Nfnetlink {
    /// In the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no `nfnetlink`.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    /// One message there and one back: its type, and what is behind its `struct nlmsghdr`. `kind`: subsystem and
    /// message.
    ///
    /// # Errors
    /// The kernel refuses to take the question, or does not answer.
    pub fn ask(&self, kind: u16, family: u8, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        let len = u32::try_from(HEADER + body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        message.extend(len.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(NLM_F_REQUEST.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]); // port id
        message.extend([family, 0, 0, 0]); // struct nfgenmsg
        message.extend(body);
        self.socket.send(&message, 0)?;
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.receive(until)?;
            let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
            let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
            let of = answer.get(8..12).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
            // One to an earlier question that came too late is passed over.
            if u32::from_ne_bytes(of) == sequence {
                let body = answer.get(16..).ok_or_else(short)?.to_vec();
                return Ok((u16::from_ne_bytes(kind), body));
            }
        }
    }

    fn receive(&self, until: Instant) -> io::Result<Vec<u8>> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&self.socket), PollFlags::POLLIN)];
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        if poll(&mut fds, left)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(self.socket.recv_from_full()?.0)
    }
}

/// The number that a namespace's nftables have given to their state of now: another after each change
/// (`nft_net.base_seq`). `None` where the kernel has no nftables.
///
/// # Errors
/// Those of the socket.
pub(super) fn generation() -> io::Result<Option<u32>> {
    /// `NFNL_SUBSYS_NFTABLES`.
    const NFTABLES: u16 = 10 << 8;
    const GET: u16 = 16;
    const NEW: u16 = 15;
    /// `NFTA_GEN_ID`.
    const ID: u16 = 1;
    let (kind, answer) = Nfnetlink::open()?.ask(NFTABLES | GET, 0, &[])?;
    if kind != NFTABLES | NEW {
        return Ok(None);
    }
    Ok(attributes(&answer).find(|(kind, _)| *kind == ID).and_then(|(_, id)| be32(id)))
}

/// `struct nlmsgerr`: the error, positive; `None` where it is none.
pub(super) fn error(answer: &[u8]) -> Option<i32> {
    let code = i32::from_ne_bytes(answer.get(..4)?.try_into().ok()?);
    (code != 0).then(|| code.saturating_neg())
}

/// `struct nlattr` and its value, padded to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 7);
    out.extend((value.len() as u16 + 4).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The attributes behind `struct nfgenmsg`.
pub(super) fn attributes(answer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    nested(answer.get(4..).unwrap_or(&[]))
}

/// Attributes one after the other; ends where one does not fit.
pub(super) fn nested(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

pub(super) fn be16(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?))
}

pub(super) fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_do_not_fit_end_the_list() {
        let mut bytes = attribute(1, &[1, 2, 3]);
        bytes.extend([9, 0, 1, 0, 5]);
        assert_eq!(nested(&bytes).collect::<Vec<_>>(), [(1, &[1_u8, 2, 3][..])]);
        assert_eq!(nested(&[0; 8]).count(), 0);
    }

    #[test]
    fn an_error_is_positive_and_none_overflows() {
        assert_eq!(error(&(-2_i32).to_ne_bytes()), Some(2));
        assert_eq!(error(&i32::MIN.to_ne_bytes()), Some(i32::MAX));
        assert_eq!(error(&[0; 4]), None);
        assert_eq!(error(&[1]), None);
    }
}
