//! The traffic programs of the scenarios: small senders, listeners and guests.
//!
//! Each is bounded in time by `--limit` (an alarm(2) that ends it however stuck it is) and in
//! count. One that others wait for prints `ready` once it can receive. What the network does to
//! the traffic is printed, not failed on: the exit status says only whether the program could run.

mod batches;
mod bpf;
mod frame;
mod tap;
mod tcp;
mod udp;

use std::io::Write;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Traffic for lasthop's scenarios")]
struct Cli {
    /// Seconds after which the program is ended, whatever it is doing.
    #[arg(long, global = true, default_value_t = 30)]
    limit: u32,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send numbered UDP datagrams.
    UdpSend(udp::Send),
    /// Receive UDP datagrams, or refuse to.
    UdpListen(udp::Listen),
    /// Send UDP datagrams at a steady pace, each of a flow of its own.
    UdpFlows(udp::Flows),
    /// Open TCP connections, send bytes and read them back.
    TcpConnect(tcp::Connect),
    /// Open many TCP connections and hold them.
    TcpMany(tcp::Many),
    /// Accept TCP connections and echo what they send.
    TcpListen(tcp::Listen),
    /// Be the guest behind a tap device.
    Tap(tap::Tap),
    /// Send a UDP datagram as a raw frame to a chosen MAC address.
    Frame(frame::Frame),
    /// Send UDP in batches between two namespaces, and say how long it took.
    Batches(batches::Batches),
    /// Attach a BPF program that drops or passes everything, and hold it.
    Bpf(bpf::Hold),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    nix::unistd::alarm::set(cli.limit);
    match cli.command {
        Command::UdpSend(c) => udp::send(&c),
        Command::UdpListen(c) => udp::listen(&c),
        Command::UdpFlows(c) => udp::flows(&c),
        Command::TcpConnect(c) => tcp::connect(&c),
        Command::TcpMany(c) => tcp::many(&c),
        Command::TcpListen(c) => tcp::listen(&c),
        Command::Tap(c) => tap::run(&c),
        Command::Frame(c) => frame::send(&c),
        Command::Batches(c) => batches::run(&c),
        Command::Bpf(c) => bpf::hold(&c),
    }
}

/// Tells whoever waits that this program can receive.
fn say_ready() -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(b"ready\n")?;
    Ok(out.flush()?)
}

/// A running FNV-1a over everything received: equal for equal bytes in equal order.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn update(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Blocks until the alarm or a signal ends the program.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}
