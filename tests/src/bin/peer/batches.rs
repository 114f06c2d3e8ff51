//! UDP in batches that are read back before the next is sent: nothing overflows on the way, and the
//! time is that of the path. Both ends are this one process, each in a namespace of its own.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use nix::sched::{CloneFlags, setns};

#[derive(Args)]
pub struct Batches {
    /// Namespace, by its name, and address of the sender.
    #[arg(long, num_args = 2, value_names = ["NETNS", "ADDRESS"])]
    from: Vec<String>,
    /// Namespace and address of the receiver.
    #[arg(long, num_args = 2, value_names = ["NETNS", "ADDRESS"])]
    to: Vec<String>,
    /// Datagrams that are on the way at most.
    #[arg(long, default_value_t = 50)]
    batch: u64,
    /// Datagrams a round.
    #[arg(long, default_value_t = 5000)]
    packets: u64,
    /// Rounds, each told on a line of its own.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
}

const PAYLOAD: [u8; 64] = [0x5a; 64];
/// What has not arrived by then never will.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn run(args: &Batches) -> Result<()> {
    let source = socket(&args.from)?;
    let sink = socket(&args.to)?;
    sink.set_read_timeout(Some(PATIENCE))?;
    source.connect(sink.local_addr()?)?;
    // Neighbours, routes, caches and flows are there before anything is measured.
    batches(&source, &sink, args.batch, 2 * args.batch)?;
    for _ in 0..args.rounds {
        let began = Instant::now();
        let packets = batches(&source, &sink, args.batch, args.packets)?;
        println!("packets={packets} ns={}", began.elapsed().as_nanos());
    }
    Ok(())
}

/// A socket bound in a namespace, where it stays.
fn socket(place: &[String]) -> Result<UdpSocket> {
    let [netns, address] = place else { bail!("a namespace and an address") };
    let address: SocketAddr = address.parse().with_context(|| format!("{address:?}"))?;
    let path = format!("/run/netns/{netns}");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let bind = move || -> Result<UdpSocket> {
        setns(file, CloneFlags::CLONE_NEWNET)?;
        Ok(UdpSocket::bind(address)?)
    };
    std::thread::spawn(bind).join().map_err(|_| anyhow!("a thread panicked"))?
}

fn batches(source: &UdpSocket, sink: &UdpSocket, batch: u64, packets: u64) -> Result<u64> {
    let mut datagram = [0; 2 * PAYLOAD.len()];
    let mut done = 0;
    while done < packets {
        for _ in 0..batch {
            source.send(&PAYLOAD)?;
        }
        for n in 0..batch {
            sink.recv(&mut datagram).with_context(|| format!("{} did not arrive", done + n))?;
        }
        done += batch;
    }
    Ok(done)
}
