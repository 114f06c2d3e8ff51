//! UDP: numbered datagrams out, and receivers of every temperament.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use socket2::{Domain, Socket, Type};

use crate::{Digest, say_ready, wait_for_the_end};

#[derive(Args)]
pub struct Send {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Source address and port; the kernel's choice otherwise.
    #[arg(long)]
    from: Option<SocketAddr>,
    /// How many datagrams.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Bytes of payload in each, at least 8 for the number.
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// TTL or hop limit.
    #[arg(long)]
    ttl: Option<u32>,
    /// Set DF (IPv4) and never fragment, whatever path MTU the kernel has learned.
    #[arg(long)]
    dont_fragment: bool,
    /// Be allowed to send to a broadcast address.
    #[arg(long)]
    broadcast: bool,
    /// Pace: milliseconds between datagrams.
    #[arg(long, default_value_t = 0)]
    gap_ms: u64,
    /// Wait this long, in milliseconds, after each datagram for its echo or for an ICMP error.
    #[arg(long)]
    await_ms: Option<u64>,
    /// At the end, wait this long, in milliseconds, before closing, without reading.
    #[arg(long, default_value_t = 0)]
    linger_ms: u64,
}

#[derive(Args)]
pub struct Listen {
    /// Address and port.
    #[arg(long)]
    on: SocketAddr,
    /// End after this many datagrams.
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// Send each datagram back.
    #[arg(long)]
    echo: bool,
    /// Never read: the receive buffer fills.
    #[arg(long)]
    never_read: bool,
    /// Receive buffer, bytes (the kernel doubles it).
    #[arg(long)]
    rcvbuf: Option<usize>,
}

#[derive(Args)]
pub struct Flows {
    /// The first address, and the port; the addresses after it are sent to in turn.
    #[arg(long)]
    to: SocketAddrV4,
    /// How many addresses there are. After the last of them the source port is another one: no two
    /// datagrams are of one flow.
    #[arg(long, default_value_t = 60_000)]
    addresses: u32,
    /// Ports that the datagrams go to, one after the other, instead of the one above.
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    /// Datagrams, and with that flows, a second.
    #[arg(long)]
    per_second: u32,
    /// For how many seconds.
    #[arg(long)]
    seconds: u32,
}

/// Each datagram begins a flow: constant traffic of which nothing ever comes again.
pub fn flows(args: &Flows) -> Result<()> {
    let ports = if args.ports.is_empty() { vec![args.to.port()] } else { args.ports.clone() };
    let mut socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let total = u64::from(args.per_second) * u64::from(args.seconds);
    let began = Instant::now();
    let mut sent = 0_u64;
    for n in 0..total {
        let turn = u32::try_from(n % u64::from(args.addresses.max(1)))?;
        if turn == 0 && n != 0 {
            socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        }
        let due = Duration::from_nanos(n * 1_000_000_000 / u64::from(args.per_second.max(1)));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let address = Ipv4Addr::from_bits(args.to.ip().to_bits().wrapping_add(turn));
        let port = ports[usize::try_from(n)? % ports.len()];
        // What an ICMP error says of an earlier one is of no interest.
        sent += u64::from(socket.send_to(&n.to_be_bytes(), (address, port)).is_ok());
    }
    println!("sent={sent}");
    Ok(())
}

fn open(local: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
    socket.bind(&local.into()).with_context(|| format!("cannot bind {local}"))?;
    Ok(socket)
}

fn any_address(like: SocketAddr) -> SocketAddr {
    let text = if like.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    text.parse().unwrap_or(like)
}

/// `IP_PMTUDISC_PROBE`: DF is set and the learned path MTU is not obeyed, so that every datagram
/// really reaches the router that finds it too big.
fn never_fragment(socket: &Socket, v4: bool) -> Result<()> {
    use std::os::fd::AsRawFd;
    let (level, name) = if v4 {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    };
    let value: libc::c_int = libc::IP_PMTUDISC_PROBE;
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if rc != 0 {
        bail!("cannot forbid fragmentation: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

pub fn send(args: &Send) -> Result<()> {
    let local = args.from.unwrap_or_else(|| any_address(args.to));
    let socket = open(local)?;
    if let Some(ttl) = args.ttl {
        if args.to.is_ipv4() {
            socket.set_ttl_v4(ttl)?;
        } else {
            socket.set_unicast_hops_v6(ttl)?;
        }
    }
    socket.set_broadcast(args.broadcast)?;
    if args.dont_fragment {
        never_fragment(&socket, args.to.is_ipv4())?;
    }
    let socket = UdpSocket::from(socket);
    // Connected, so that ICMP errors come back to this socket.
    socket.connect(args.to).with_context(|| format!("cannot reach {}", args.to))?;
    socket.set_read_timeout(args.await_ms.map(Duration::from_millis))?;

    let (mut sent, mut echoed, mut errors) = (0_u64, 0_u64, 0_u64);
    let mut payload = vec![0x6c_u8; args.size.max(8)];
    let mut answer = vec![0_u8; 65_536];
    for n in 0..args.count {
        std::thread::sleep(Duration::from_millis(args.gap_ms));
        payload[..8].copy_from_slice(&n.to_be_bytes());
        match send_once(&socket, &payload) {
            Ok(()) => sent += 1,
            Err(e) => {
                errors += 1;
                println!("datagram {n}: {e}");
            }
        }
        if args.await_ms.is_some() {
            match socket.recv(&mut answer) {
                Ok(len) if answer[..len] == payload[..] => echoed += 1,
                Ok(_) => println!("datagram {n}: a wrong echo"),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => {
                    errors += 1;
                    println!("after datagram {n}: {e}");
                }
            }
        }
    }
    std::thread::sleep(Duration::from_millis(args.linger_ms));
    println!("sent={sent} echoed={echoed} errors={errors}");
    Ok(())
}

/// An ICMP error about an earlier datagram is reported by the next send, which then sends nothing:
/// so that each datagram is really sent, that one is tried once more.
fn send_once(socket: &UdpSocket, payload: &[u8]) -> std::io::Result<()> {
    socket.send(payload).or_else(|_| socket.send(payload)).map(drop)
}

pub fn listen(args: &Listen) -> Result<()> {
    let socket = open(args.on)?;
    if let Some(bytes) = args.rcvbuf {
        socket.set_recv_buffer_size(bytes)?;
    }
    let socket = UdpSocket::from(socket);
    say_ready()?;
    if args.never_read {
        wait_for_the_end();
    }
    let mut digest = Digest::new();
    let (mut received, mut bytes, mut in_order) = (0_u64, 0_u64, true);
    let mut datagram = vec![0_u8; 65_536];
    while received < args.count {
        let (len, from) = socket.recv_from(&mut datagram)?;
        let number = datagram[..len].first_chunk::<8>().map(|b| u64::from_be_bytes(*b));
        in_order &= number == Some(received);
        digest.update(&datagram[..len]);
        received += 1;
        bytes += len as u64;
        if args.echo {
            socket.send_to(&datagram[..len], from)?;
        }
    }
    println!("received={received} bytes={bytes} in_order={in_order} digest={:016x}", digest.0);
    Ok(())
}
