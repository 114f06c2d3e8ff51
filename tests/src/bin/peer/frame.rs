//! One UDP datagram as a raw Ethernet frame, to whatever MAC address is asked for.

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
    /// How many times.
    #[arg(long, default_value_t = 1)]
    count: u64,
}

const UDP: u8 = 17;
const TTL: u8 = 64;
const PAYLOAD: &[u8] = b"lasthop raw frame";

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

/// Ethernet, IPv4 (RFC 791) or IPv6 (RFC 8200), UDP (RFC 768), with true checksums.
fn build(args: &Frame) -> Result<Vec<u8>> {
    let udp_len = (8 + PAYLOAD.len()) as u16;
    let mut udp = Vec::new();
    udp.extend(args.from.port().to_be_bytes());
    udp.extend(args.to.port().to_be_bytes());
    udp.extend(udp_len.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(PAYLOAD);

    let (ethertype, header, mut pseudo) = match (args.from.ip(), args.to.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = 20 + udp_len;
            let mut ip = vec![0x45, 0];
            ip.extend(total.to_be_bytes());
            ip.extend([0x4c, 0x48, 0x40, 0, TTL, UDP, 0, 0]);
            ip.extend(src.octets());
            ip.extend(dst.octets());
            let sum = checksum(&ip).to_be_bytes();
            ip[10..12].copy_from_slice(&sum);
            (0x0800_u16, ip, [src.octets(), dst.octets()].concat())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut ip = vec![0x60, 0, 0, 0];
            ip.extend(udp_len.to_be_bytes());
            ip.extend([UDP, TTL]);
            ip.extend(src.octets());
            ip.extend(dst.octets());
            (0x86dd, ip, [src.octets(), dst.octets()].concat())
        }
        _ => bail!("{} and {} are of different families", args.from, args.to),
    };
    pseudo.extend([0, UDP]);
    pseudo.extend(udp_len.to_be_bytes());
    pseudo.extend(&udp);
    let sum = checksum(&pseudo).to_be_bytes();
    udp[6..8].copy_from_slice(&sum);

    let mut frame = Vec::new();
    frame.extend(args.dst_mac);
    frame.extend(args.src_mac);
    if let Some(id) = args.vlan {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(header);
    frame.extend(udp);
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
