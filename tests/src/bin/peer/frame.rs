//! One UDP datagram, or one TCP segment out of nowhere, as a raw Ethernet frame: to whatever MAC
//! address is asked for, with whatever numbers.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

#[derive(Args)]
pub struct Frame {
    /// Device to send from.
    #[arg(long)]
    dev: String,
    /// Destination MAC address.
    #[arg(long, value_parser = parse_mac)]
    dst_mac: [u8; 6],
    /// Source MAC address.
    #[arg(long, value_parser = parse_mac)]
    src_mac: [u8; 6],
    /// Source address and port.
    #[arg(long)]
    from: SocketAddr,
    /// Destination address and port, of the same family.
    #[arg(long)]
    to: SocketAddr,
    /// VLAN id of an 802.1Q tag.
    #[arg(long)]
    vlan: Option<u16>,
    /// A TCP segment without data, with these flags (of `FSRPA`), instead of a UDP datagram.
    #[arg(long, value_parser = parse_flags)]
    tcp: Option<u8>,
    /// Its sequence number.
    #[arg(long, default_value_t = 0)]
    seq: u32,
    /// Its acknowledgement number.
    #[arg(long, default_value_t = 0)]
    ack: u32,
    /// Only one of the two fragments of the datagram.
    #[arg(long, value_enum)]
    fragment: Option<Part>,
    /// With a wrong checksum.
    #[arg(long)]
    bad_checksum: bool,
    /// How many times.
    #[arg(long, default_value_t = 1)]
    count: u64,
}

/// One of a datagram's two fragments.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    First,
    Last,
}

/// Bytes of the first fragment.
const FIRST: usize = 16;
/// What the fragments of a datagram have in common.
const IDENTIFICATION: u16 = 0x4c48;

impl Part {
    /// Offset, in units of 8 bytes, and whether more follow.
    fn place(self) -> (u16, bool) {
        match self {
            Self::First => (0, true),
            Self::Last => ((FIRST / 8) as u16, false),
        }
    }

    fn cut(self, load: &mut Vec<u8>) {
        let last = load.split_off(FIRST.min(load.len()));
        if self == Self::Last {
            *load = last;
        }
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const TTL: u8 = 64;
const PAYLOAD: &[u8] = b"lasthop raw frame";

fn parse_flags(text: &str) -> Result<u8> {
    text.chars().try_fold(0, |flags, c| {
        let bit = "FSRPA".find(c).with_context(|| format!("{c:?} is no TCP flag"))?;
        Ok(flags | 1 << bit)
    })
}

fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("{text:?} is no MAC address"))?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("{text:?} is no MAC address"))
}

pub fn send(args: &Frame) -> Result<()> {
    let frame = build(args)?;
    let name = std::ffi::CString::new(args.dev.as_str())?;
    // SAFETY: a NUL-terminated string that outlives the call.
    let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if ifindex == 0 {
        bail!("no device {}", args.dev);
    }
    // Protocol 0: this socket sends and receives nothing.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    // SAFETY: an all-zero sockaddr_ll is a valid one: integers and a byte array.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = i32::try_from(ifindex)?;
    for _ in 0..args.count {
        // SAFETY: both pointers come with the lengths of what they point to, alive for the call.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 {
            bail!("cannot send on {}: {}", args.dev, std::io::Error::last_os_error());
        }
    }
    println!("sent={}", args.count);
    Ok(())
}

/// The transport header and what it carries, its checksum left 0; the protocol, and where the
/// checksum goes.
fn transport(args: &Frame) -> (Vec<u8>, u8, usize) {
    let mut bytes = Vec::new();
    bytes.extend(args.from.port().to_be_bytes());
    bytes.extend(args.to.port().to_be_bytes());
    let Some(flags) = args.tcp else {
        bytes.extend(((8 + PAYLOAD.len()) as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(PAYLOAD);
        return (bytes, UDP, 6);
    };
    bytes.extend(args.seq.to_be_bytes());
    bytes.extend(args.ack.to_be_bytes());
    bytes.extend([5 << 4, flags]);
    bytes.extend(1024_u16.to_be_bytes());
    bytes.extend([0; 4]);
    (bytes, TCP, 16)
}

/// Ethernet, IPv4 (RFC 791) or IPv6 (RFC 8200), UDP (RFC 768) or TCP (RFC 9293), with true checksums
/// but where a wrong one is asked for.
fn build(args: &Frame) -> Result<Vec<u8>> {
    let (mut load, proto, sum_at) = transport(args);
    let load_len = load.len() as u16;
    let mut pseudo = match (args.from.ip(), args.to.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
        _ => bail!("{} and {} are of different families", args.from, args.to),
    };
    pseudo.extend([0, proto]);
    pseudo.extend(load_len.to_be_bytes());
    pseudo.extend(&load);
    let sum = checksum(&pseudo) ^ u16::from(args.bad_checksum);
    load[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    if let Some(part) = args.fragment {
        part.cut(&mut load);
    }

    let load_len = load.len() as u16;
    let place = args.fragment.map(Part::place);
    let (ethertype, header) = match (args.from.ip(), args.to.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = 20 + load_len;
            // "Don't fragment", or where the fragment belongs.
            let fragment = place.map_or(0x4000, |(at, more)| at | u16::from(more) << 13);
            let mut ip = vec![0x45, 0];
            ip.extend(total.to_be_bytes());
            ip.extend(IDENTIFICATION.to_be_bytes());
            ip.extend(fragment.to_be_bytes());
            ip.extend([TTL, proto, 0, 0]);
            ip.extend(src.octets());
            ip.extend(dst.octets());
            let sum = checksum(&ip).to_be_bytes();
            ip[10..12].copy_from_slice(&sum);
            (0x0800_u16, ip)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            const FRAGMENT: u8 = 44;
            let mut ip = vec![0x60, 0, 0, 0];
            let extension = if place.is_some() { 8 } else { 0 };
            ip.extend((load_len + extension).to_be_bytes());
            ip.extend([if place.is_some() { FRAGMENT } else { proto }, TTL]);
            ip.extend(src.octets());
            ip.extend(dst.octets());
            if let Some((at, more)) = place {
                ip.extend([proto, 0]);
                ip.extend((at << 3 | u16::from(more)).to_be_bytes());
                ip.extend(u32::from(IDENTIFICATION).to_be_bytes());
            }
            (0x86dd, ip)
        }
        _ => bail!("{} and {} are of different families", args.from, args.to),
    };

    let mut frame = Vec::new();
    frame.extend(args.dst_mac);
    frame.extend(args.src_mac);
    if let Some(id) = args.vlan {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(header);
    frame.extend(load);
    Ok(frame)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|c| u32::from(u16::from_be_bytes([c[0], c.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
