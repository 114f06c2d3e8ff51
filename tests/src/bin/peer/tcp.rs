//! TCP: connections that send bytes and read them back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use socket2::{Domain, Socket, Type};

use crate::{Digest, say_ready, wait_for_the_end};

#[derive(Args)]
pub struct Connect {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Source address and port; the kernel's choice otherwise.
    #[arg(long)]
    from: Option<SocketAddr>,
    /// Bytes to send and to read back.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Give up connecting after this many milliseconds.
    #[arg(long, default_value_t = 3000)]
    timeout_ms: u64,
    /// Once connected, wait this many milliseconds before sending.
    #[arg(long, default_value_t = 0)]
    hold_ms: u64,
    /// Do not say that nothing more is to come before all is read back; if that never happens, end
    /// with RST.
    #[arg(long)]
    keep_open: bool,
    /// Wait so long before closing: every segment so far has arrived.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// While that connection is open, open another from the same port to here.
    #[arg(long, requires = "from")]
    then: Option<SocketAddr>,
}

#[derive(Args)]
pub struct Listen {
    /// Address and port.
    #[arg(long)]
    on: SocketAddr,
    /// End after this many connections.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Wait this many milliseconds before sending anything back.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// How many connections may wait to be accepted.
    #[arg(long, default_value_t = 16)]
    backlog: i32,
    /// Never accept: connections stand all the same.
    #[arg(long)]
    never_accept: bool,
}

#[derive(Args)]
pub struct Many {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// How many connections.
    #[arg(long)]
    count: usize,
}

/// Says `ready` once all stand.
pub fn many(args: &Many) -> Result<()> {
    let files = args.count as u64 + 64;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, files, files)?;
    let timeout = Duration::from_secs(5);
    let open = |_| TcpStream::connect_timeout(&args.to, timeout);
    let _all: Vec<TcpStream> = (0..args.count).map(open).collect::<std::io::Result<_>>()?;
    say_ready()?;
    wait_for_the_end()
}

pub fn connect(args: &Connect) -> Result<()> {
    let Some(first) = open(args, args.to)? else { return Ok(()) };
    let Some(then) = args.then else {
        say(exchange(first, args));
        return Ok(());
    };
    say(round_trip(&first, args.bytes));
    if let Some(second) = open(args, then)? {
        say(exchange(second, args));
    }
    Ok(())
}

/// A connection to `to`; none where it cannot be had, which is said.
fn open(args: &Connect, to: SocketAddr) -> Result<Option<TcpStream>> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if let Some(from) = args.from {
        socket.bind(&from.into()).with_context(|| format!("cannot bind {from}"))?;
    }
    let timeout = Duration::from_millis(args.timeout_ms);
    match socket.connect_timeout(&to.into(), timeout) {
        Ok(()) => {
            std::thread::sleep(Duration::from_millis(args.hold_ms));
            if args.keep_open {
                socket.set_linger(Some(Duration::ZERO))?;
            }
            Ok(Some(socket.into()))
        }
        Err(e) => {
            println!("not connected: {e}");
            Ok(None)
        }
    }
}

fn say(result: std::io::Result<(usize, bool)>) {
    match result {
        Ok((echoed, same)) => println!("echoed={echoed} same={same}"),
        Err(e) => println!("connection broke: {e}"),
    }
}

/// Sends `bytes` bytes and reads as many back; the connection stays open.
fn round_trip(mut stream: &TcpStream, bytes: usize) -> std::io::Result<(usize, bool)> {
    let payload: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
    stream.write_all(&payload)?;
    let mut echoed = vec![0_u8; bytes];
    stream.read_exact(&mut echoed)?;
    Ok((echoed.len(), echoed == payload))
}

/// Sends `bytes` bytes while reading them back; returns how many came back, and whether unchanged.
fn exchange(stream: TcpStream, args: &Connect) -> std::io::Result<(usize, bool)> {
    let payload: Vec<u8> = (0..args.bytes).map(|i| (i % 251) as u8).collect();
    if args.keep_open {
        let (mut stream, mut echoed) = (stream, vec![0; args.bytes]);
        stream.write_all(&payload)?;
        stream.read_exact(&mut echoed)?;
        socket2::SockRef::from(&stream).set_linger(None)?;
        return Ok((echoed.len(), echoed == payload));
    }
    let mut back = stream.try_clone()?;
    let reader = std::thread::spawn(move || {
        let mut echoed = Vec::new();
        back.read_to_end(&mut echoed).map(|_| echoed)
    });
    let mut out = stream;
    out.write_all(&payload)?;
    std::thread::sleep(Duration::from_millis(args.pause_ms));
    out.shutdown(Shutdown::Write)?;
    let echoed = reader.join().unwrap_or_else(|_| Ok(Vec::new()))?;
    Ok((echoed.len(), echoed == payload))
}

pub fn listen(args: &Listen) -> Result<()> {
    let socket = Socket::new(Domain::for_address(args.on), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&args.on.into()).with_context(|| format!("cannot bind {}", args.on))?;
    socket.listen(args.backlog)?;
    let listener = TcpListener::from(socket);
    say_ready()?;
    if args.never_accept {
        wait_for_the_end();
    }
    let delay = Duration::from_millis(args.delay_ms);
    // Connections may be open at the same time; each has a thread.
    std::thread::scope(|scope| {
        for _ in 0..args.count {
            let (stream, from) = listener.accept()?;
            scope.spawn(move || match echo(stream, delay) {
                Ok((bytes, digest)) => println!("from={from} bytes={bytes} digest={digest:016x}"),
                Err(e) => println!("from={from}: {e}"),
            });
        }
        Ok(())
    })
}

fn echo(mut stream: TcpStream, delay: Duration) -> std::io::Result<(u64, u64)> {
    let mut digest = Digest::new();
    let (mut bytes, mut chunk) = (0_u64, vec![0_u8; 65_536]);
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok((bytes, digest.0));
        }
        digest.update(&chunk[..len]);
        bytes += len as u64;
        std::thread::sleep(delay);
        stream.write_all(&chunk[..len])?;
    }
}
