//! Numbers that records write as words: held as numbers, so that a hop costs no text until it is
//! printed.

mod hex;

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};

use self::hex::HEX;
pub use self::hex::{Address, Fingerprint};

/// What is no word of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no {0}")]
pub struct NotA(&'static str);

/// Text that was made of ASCII.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// An Ethernet address, in the order of the wire; as text lower case, with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, SerializeDisplay, DeserializeFromStr)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Broadcast or multicast: the I/G bit (IEEE 802, 8.2).
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl FromStr for Mac {
    type Err = NotA;

    fn from_str(text: &str) -> Result<Self, NotA> {
        let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8).ok_or(NotA("MAC address"));
        let mut mac = [0; 6];
        let text = text.as_bytes();
        let colons = text.iter().skip(2).step_by(3).all(|c| *c == b':');
        if text.len() != "00:00:00:00:00:00".len() || !colons {
            return Err(NotA("MAC address"));
        }
        for (byte, pair) in mac.iter_mut().zip(text.chunks(3)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(mac))
    }
}

impl Display for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = [b':'; 17];
        for (byte, pair) in self.0.iter().zip(text.chunks_mut(3)) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        f.write_str(ascii(&text))
    }
}

/// The protocol of a tuple: `tcp` `udp` `icmp` `icmp6` `sctp` `arp`, or `ip-N` for any other IP
/// protocol N.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, SerializeDisplay, DeserializeFromStr,
)]
#[expect(missing_docs, reason = "the names are the protocols'")]
pub enum Proto {
    Tcp,
    Udp,
    Icmp,
    Icmp6,
    Sctp,
    Arp,
    /// Any other IP protocol, by its IANA number.
    Other(u8),
    /// One that a later version of lasthop has a name for.
    Unknown,
}

impl Proto {
    /// From its name in a record; `None` for a name this version does not know.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "icmp" => Self::Icmp,
            "icmp6" => Self::Icmp6,
            "sctp" => Self::Sctp,
            "arp" => Self::Arp,
            _ => Self::Other(name.strip_prefix("ip-")?.parse().ok()?),
        })
    }

    /// From its IANA number.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmp6,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }

    /// Its IANA number; ARP has none.
    pub fn number(self) -> Option<u8> {
        Some(match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp6 => 58,
            Self::Sctp => 132,
            Self::Other(number) => number,
            Self::Arp | Self::Unknown => return None,
        })
    }
}

impl FromStr for Proto {
    type Err = NotA;

    fn from_str(name: &str) -> Result<Self, NotA> {
        Ok(Self::parse(name).unwrap_or(Self::Unknown))
    }
}

impl Display for Proto {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Sctp => "sctp",
            Self::Arp => "arp",
            Self::Unknown => "unknown",
            Self::Other(number) => return write!(f, "ip-{number}"),
        })
    }
}

/// TCP flags, one bit for each of `SFRPAUEC`, SYN lowest: in that order they are written, as `S` and
/// `SA` are what people look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub struct TcpFlags(u8);

const FLAG_LETTERS: &[u8; 8] = b"SFRPAUEC";

impl TcpFlags {
    /// From the letters of a record; letters it does not know are passed over.
    pub fn parse(letters: &str) -> Self {
        let bit = |c| FLAG_LETTERS.iter().position(|l| *l == c).map_or(0, |i| 1 << i);
        Self(letters.bytes().fold(0, |flags, c| flags | bit(c)))
    }

    /// From the byte of the header that has them (RFC 9293, 3.1), FIN lowest.
    pub fn from_wire(byte: u8) -> Self {
        // From `FSRPAUEC` to `SFRPAUEC`, which is the same exchange as back.
        Self(Self(byte).on_the_wire())
    }

    /// The byte of the header that has them (RFC 9293, 3.1), FIN lowest.
    pub fn on_the_wire(self) -> u8 {
        // From `SFRPAUEC` to `FSRPAUEC`.
        self.0 & !0b11 | (self.0 & 1) << 1 | (self.0 & 0b10) >> 1
    }

    /// Opens a connection: SYN without ACK.
    pub fn is_syn(self) -> bool {
        self.0 & 0b1_0001 == 1
    }

    /// Answers an opening: SYN and ACK.
    pub fn is_syn_ack(self) -> bool {
        self.0 & 0b1_0001 == 0b1_0001
    }

    /// Ends a connection the hard way: RST.
    pub fn is_reset(self) -> bool {
        self.0 & 0b100 != 0
    }

    /// Acknowledges and does nothing else.
    pub fn is_bare_ack(self) -> bool {
        self.0 == 0b1_0000
    }

    /// Whether all of these letters' flags are set.
    pub fn has(self, letters: &str) -> bool {
        let wanted = Self::parse(letters).0;
        self.0 & wanted == wanted
    }

    /// Whether TCP has such a combination at all (`tcp_valid_flags` of
    /// `net/netfilter/nf_conntrack_proto_tcp.c`, which passes over PSH, ECE and CWR).
    pub fn is_possible(self) -> bool {
        // Bits of `SFR.AU..`.
        let has = |letters| Self::parse(letters).0;
        let counted = self.0 & has("SFRAU");
        ["S", "SU", "SA", "R", "RA", "FA", "FAU", "A", "AU"].map(has).contains(&counted)
    }

    /// Ends a connection in order: FIN.
    pub fn is_fin(self) -> bool {
        self.0 & 0b10 != 0
    }
}

impl FromStr for TcpFlags {
    type Err = NotA;

    fn from_str(letters: &str) -> Result<Self, NotA> {
        Ok(Self::parse(letters))
    }
}

impl Display for TcpFlags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = [0; FLAG_LETTERS.len()];
        let mut len = 0;
        for (bit, letter) in FLAG_LETTERS.iter().enumerate() {
            if self.0 & 1 << bit != 0 {
                text[len] = *letter;
                len += 1;
            }
        }
        f.write_str(ascii(&text[..len]))
    }
}

/// What an ARP packet is for: `request`, `reply`, or the operation's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ArpOp {
    Request,
    Reply,
    Other(u16),
}

impl ArpOp {
    /// From the number of RFC 826.
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

impl FromStr for ArpOp {
    type Err = NotA;

    fn from_str(word: &str) -> Result<Self, NotA> {
        match word {
            "request" => Ok(Self::Request),
            "reply" => Ok(Self::Reply),
            other => other.parse().map(Self::Other).map_err(|_| NotA("ARP operation")),
        }
    }
}

impl Display for ArpOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Reply => f.write_str("reply"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

/// For whom a frame is, as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as PACKET_* of include/uapi/linux/if_packet.h")]
pub enum PktType {
    Host,
    Broadcast,
    Multicast,
    OtherHost,
    Outgoing,
    Loopback,
    #[serde(other)]
    Unknown,
}

/// How a packet came to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// By the filter.
    Filter,
    /// The skb matched before, with other headers.
    Identity,
    /// Its tuple is a translation that a followed packet took on.
    Learned,
    /// In a way that this version does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests;
