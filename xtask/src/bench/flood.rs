//! A UDP flood over the lab's veth pair, as fast as it is received.
//!
//! Sender and sink share a count, so that never more packets are on the way than the sink's buffer
//! holds: no packet is dropped, and the rate is that of the whole path.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::lab;

/// How many addresses the packets go to, one after the other.
pub(super) const ADDRESSES: u16 = 1000;
/// The port that they go to.
const PORT: u16 = 7800;
/// Bytes of UDP payload.
const PAYLOAD: usize = 64;
/// Packets a system call.
const BATCH: usize = 50;
/// Packets on the way at most; their memory in the kernel is about 1 KiB each.
const WINDOW: u64 = 2000;
/// Memory of the sink's socket, bytes: several times what the window needs.
const BUFFER: usize = 16 << 20;
/// Packets that are not received for so long are taken for lost.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    pub sent: u64,
    pub received: u64,
    pub seconds: f64,
    /// Processor time that sending and receiving took: a packet's whole way is walked in it.
    pub cpu: Duration,
}

impl Flood {
    /// Packets received a second.
    pub(super) fn rate(&self) -> f64 {
        self.received as f64 / self.seconds
    }

    /// Nanoseconds of processor time a packet: what it costs, whatever else the machine does.
    pub(super) fn cost(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.received.max(1) as f64
    }
}

/// The address of a packet, by its number; every one of them is the sink's.
pub(super) fn address(number: u16) -> Ipv4Addr {
    let [high, low] = (number % ADDRESSES).to_be_bytes();
    Ipv4Addr::new(10, 78, high, low)
}

/// An address whose packets are dropped, by its number.
fn dropped_address(number: u16) -> Ipv4Addr {
    let [_, _, high, low] = address(number).octets();
    Ipv4Addr::new(10, 80, high, low)
}

/// Floods for so long with what is dropped at the other end. Nothing is queued on the way: the
/// sender's processor goes it to its end.
pub(super) fn run_dropped(duration: Duration) -> Result<Flood> {
    let cpus = processors()?;
    let from = lab::inside(lab::A, || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    let pace = Pace { duration, rate: None, window: None };
    thread::scope(|scope| {
        let source = scope.spawn(|| source(&from, cpus[0], &pace, dropped_address));
        let Sent { packets: sent, seconds, cpu } =
            source.join().map_err(|_| anyhow!("the source panicked"))??;
        Ok(Flood { sent, received: sent, seconds, cpu })
    })
}

/// Floods for so long.
pub(super) fn run(duration: Duration) -> Result<Flood> {
    run_paced(duration, None)
}

/// Floods for so long, at `rate` packets a second at most.
pub(super) fn run_paced(duration: Duration, rate: Option<f64>) -> Result<Flood> {
    let received = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let cpus = processors()?;
    let to = lab::inside(lab::B, sink_socket)?;
    let from = lab::inside(lab::A, || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    thread::scope(|scope| {
        let sink = scope.spawn(|| sink(&to, cpus[1], &received, &over));
        let pace = Pace { duration, rate, window: Some(&received) };
        let source = scope.spawn(move || source(&from, cpus[0], &pace, address));
        let sent = source.join().map_err(|_| anyhow!("the source panicked"));
        over.store(true, Ordering::Relaxed);
        let receiving = sink.join().map_err(|_| anyhow!("the sink panicked"))??;
        let Sent { packets: sent, seconds, cpu } = sent??;
        let received = received.load(Ordering::Relaxed);
        Ok(Flood { sent, received, seconds, cpu: cpu + receiving })
    })
}

/// One processor for the source, another one for the sink where there is one.
fn processors() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let first = cpus.next().context("no processor is allowed")?;
    Ok([first, cpus.next().unwrap_or(first)])
}

fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// How fast is sent, and for how long.
struct Pace<'a> {
    duration: Duration,
    /// Packets a second.
    rate: Option<f64>,
    /// How many were received: never more than [`WINDOW`] are on the way.
    window: Option<&'a AtomicU64>,
}

/// What the source did.
struct Sent {
    packets: u64,
    seconds: f64,
    /// In the system calls that send; not while it waits.
    cpu: Duration,
}

/// Processor time of this thread.
fn own_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.into())
}

/// Sends until the time is over.
fn source(
    socket: &UdpSocket,
    cpu: usize,
    pace: &Pace<'_>,
    address: fn(u16) -> Ipv4Addr,
) -> Result<Sent> {
    pin(cpu)?;
    let payload = [0x5a; PAYLOAD];
    let slices = [[IoSlice::new(&payload)]; BATCH];
    let addresses: Vec<Option<SockaddrIn>> = (0..ADDRESSES)
        .map(|number| Some(SocketAddrV4::new(address(number), PORT).into()))
        .collect();
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let (mut sent, mut lost) = (0, 0);
    let mut used = Duration::ZERO;
    let began = Instant::now();
    // Whole batches, so that every address gets the same number of packets.
    for batch in addresses.chunks_exact(BATCH).cycle() {
        if began.elapsed() >= pace.duration {
            break;
        }
        if let Some(received) = pace.window {
            lost += wait_for_room(sent - lost, received);
        }
        if let Some(rate) = pace.rate {
            while began.elapsed().as_secs_f64() * rate < sent as f64 {
                thread::yield_now();
            }
        }
        let mut rest = batch;
        let before = own_time()?;
        while !rest.is_empty() {
            let done =
                sendmmsg(socket.as_raw_fd(), &mut headers, &slices, rest, [], MsgFlags::empty());
            let done = match done {
                Ok(results) => results.count(),
                Err(Errno::ENOBUFS | Errno::EINTR) => 0,
                Err(error) => return Err(error).context("cannot send the flood"),
            };
            sent += done as u64;
            rest = &rest[done..];
        }
        used += own_time()?.saturating_sub(before);
    }
    Ok(Sent { packets: sent, seconds: began.elapsed().as_secs_f64(), cpu: used })
}

/// Waits until fewer packets than the window are on the way; how many had to be given up for that.
fn wait_for_room(expected: u64, received: &AtomicU64) -> u64 {
    let mut last = received.load(Ordering::Relaxed);
    let mut since: Option<Instant> = None;
    loop {
        let now = received.load(Ordering::Relaxed);
        let on_the_way = expected.saturating_sub(now);
        if on_the_way < WINDOW {
            return 0;
        }
        if now != last {
            (last, since) = (now, None);
        }
        if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return on_the_way;
        }
        thread::yield_now();
    }
}

fn sink_socket() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    // Only for the end: whether the flood is over.
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

/// Receives until the flood is over and nothing more comes; the processor time that it took.
fn sink(
    socket: &UdpSocket,
    cpu: usize,
    received: &AtomicU64,
    over: &AtomicBool,
) -> Result<Duration> {
    pin(cpu)?;
    let mut bytes = [[0; PAYLOAD]; BATCH];
    loop {
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let mut slices: Vec<[IoSliceMut; 1]> =
            bytes.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let done = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        );
        match done {
            Ok(results) => {
                received.fetch_add(results.count() as u64, Ordering::Relaxed);
            }
            Err(Errno::EAGAIN) if over.load(Ordering::Relaxed) => return own_time(),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot receive the flood"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_number_has_an_address_of_its_own() {
        let all: BTreeSet<Ipv4Addr> = (0..ADDRESSES).map(address).collect();
        assert_eq!(all.len(), usize::from(ADDRESSES));
        assert_eq!(usize::from(ADDRESSES) % BATCH, 0, "whole batches");
        assert_eq!(dropped_address(1001), Ipv4Addr::new(10, 80, 0, 1));
    }

    #[test]
    fn lost_packets_do_not_stop_the_flood() {
        let received = AtomicU64::new(10);
        assert_eq!(wait_for_room(WINDOW + 9, &received), 0);
        assert_eq!(wait_for_room(WINDOW + 10, &received), WINDOW);
    }
}
