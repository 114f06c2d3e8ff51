//! One packet at one place, as the reconstruction remembers it.
//!
//! A [`Hop`] owns a score of strings; thousands of open packets would make that the whole memory.
//! A [`Sight`] shares what repeats (devices, namespaces, causes of death) and keeps the rest in
//! plain numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::{Dev, Drop, HookName, Hop, Icmp, Netns, Ovs, Place, Tunnel, Vlan, Where};
use crate::reconstruct::tracked::Tracked;
use crate::reconstruct::tuple::FlowTuple;

/// An Ethernet address, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// From `aa:bb:cc:dd:ee:ff`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let hex = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(hex)?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(mac))
    }

    /// Broadcast or multicast: the I/G bit (IEEE 802, 8.2).
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// TCP flags, one bit for each of `SFRPAUEC`, SYN lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// From the letters of a record; letters it does not know are passed over.
    pub fn parse(letters: &str) -> Self {
        let bit = |c| "SFRPAUEC".find(c).map_or(0, |i| 1 << i);
        Self(letters.chars().fold(0, |flags, c| flags | bit(c)))
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

    /// Ends a connection in order: FIN.
    pub fn is_fin(self) -> bool {
        self.0 & 0b10 != 0
    }
}

/// For whom a frame is, as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as PACKET_* of include/uapi/linux/if_packet.h")]
pub enum PktType {
    Host,
    Broadcast,
    Multicast,
    OtherHost,
    Outgoing,
    Loopback,
}

impl PktType {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "host" => Self::Host,
            "broadcast" => Self::Broadcast,
            "multicast" => Self::Multicast,
            "otherhost" => Self::OtherHost,
            "outgoing" => Self::Outgoing,
            "loopback" => Self::Loopback,
            _ => return None,
        })
    }
}

/// ARP operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ArpOp {
    Request,
    Reply,
    Other,
}

/// Who let go of an skb, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// What the drop hook said.
    pub drop: Option<Drop>,
    /// The function that consumed it.
    pub by: Option<Place>,
    /// Call chain, innermost first, `symbol+0xoffset`.
    pub stack: Vec<String>,
}

impl Cause {
    /// The kernel's reason, unless it is the one that says nothing.
    pub fn reason(&self) -> Option<&str> {
        self.drop.as_ref()?.reason.as_deref().filter(|r| *r != "NOT_SPECIFIED")
    }

    /// The function that let go of it, and how far into it.
    pub fn place(&self) -> Option<(&str, u64)> {
        if let Some(by) = &self.by {
            return Some((&by.symbol, by.offset));
        }
        let drop = self.drop.as_ref()?;
        Some((drop.symbol.as_deref()?, drop.offset.unwrap_or(0)))
    }

    /// The function that let go of it, then its callers, innermost first.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        let callers = self.stack.iter().map(|frame| frame.split('+').next().unwrap_or(frame));
        self.place().map(|(symbol, _)| symbol).into_iter().chain(callers)
    }
}

/// One packet at one place.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Nanoseconds since the trace began.
    pub ts: u64,
    /// What kind of place.
    pub hook: HookName,
    /// Network namespace.
    pub netns: Option<Arc<Netns>>,
    /// Device.
    pub dev: Option<Arc<Dev>>,
    /// Ethernet source and destination.
    pub eth: Option<(Mac, Mac)>,
    /// VLAN tags, outermost first.
    pub vlan: Vec<Vlan>,
    /// The innermost flow.
    pub tuple: Option<FlowTuple>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// IP identification.
    pub ip_id: Option<u32>,
    /// A fragment: its offset in bytes.
    pub fragment: Option<u32>,
    /// TCP flags.
    pub tcp: Option<TcpFlags>,
    /// ICMP facts.
    pub icmp: Option<Icmp>,
    /// ARP operation.
    pub arp: Option<ArpOp>,
    /// The tunnel around `tuple`.
    pub tunnel: Option<Box<Tunnel>>,
    /// What Open vSwitch was doing with it.
    pub ovs: Option<Arc<Ovs>>,
    /// Who let go of it, at a drop or a consume.
    pub cause: Option<Arc<Cause>>,
    /// Bytes of the packet.
    pub len: u32,
    /// For whom the frame is.
    pub pkt_type: Option<PktType>,
    /// Kernel address of the skb.
    pub skb: Option<u64>,
    /// The conntrack entry that it carries.
    pub ct: Option<Arc<Tracked>>,
    /// An ICMP error: the flow that it is about, as it quotes it.
    pub about: Option<FlowTuple>,
    /// Of an error about an echo: its identifier.
    pub about_id: Option<u16>,
}

impl Sight {
    /// The place, as records name it.
    pub fn place(&self) -> Where {
        Where {
            netns: self.netns.as_deref().map(netns_name),
            dev: self.dev.as_ref().map(|d| d.name.clone()),
            hook: Some(self.hook),
            symbol: self.symbol().map(str::to_owned),
            bridge: self.dev.as_ref().and_then(|d| d.bridge.clone()),
        }
    }

    /// The function that let go of it.
    pub fn symbol(&self) -> Option<&str> {
        Some(self.cause.as_ref()?.place()?.0)
    }

    /// The kernel's drop reason, as it stands in the record.
    pub fn raw_reason(&self) -> Option<&str> {
        self.cause.as_ref()?.drop.as_ref()?.reason.as_deref()
    }

    /// A place where a packet enters or leaves a device.
    pub fn is_port(&self) -> bool {
        matches!(
            self.hook,
            HookName::TcIngress | HookName::TcEgress | HookName::OvsReceive | HookName::OvsOutput
        )
    }

    /// Addressed to a group: by its frame, or by what the kernel made of it.
    pub fn is_group(&self) -> bool {
        self.eth.is_some_and(|(_, dst)| dst.is_group())
            || matches!(self.pkt_type, Some(PktType::Broadcast | PktType::Multicast))
    }

    /// Name of the device's kind, empty where it has none.
    pub fn kind(&self) -> &str {
        self.dev.as_ref().and_then(|d| d.kind.as_deref()).unwrap_or("")
    }
}

/// The name of a namespace, or its inode where it has none.
pub fn netns_name(netns: &Netns) -> String {
    netns.name.clone().unwrap_or_else(|| netns.inode.to_string())
}

/// How many devices and namespaces are remembered for sharing; past that it starts anew, which
/// costs memory for a while and nothing else.
const SHARED: usize = 16_384;
/// How many of the latest causes are held for sharing.
const CAUSES: usize = 4;
/// How many of the latest facts of Open vSwitch are.
const OVS: usize = 16;

/// Makes [`Sight`]s, and lets equal devices, namespaces and causes be one allocation.
#[derive(Debug, Default)]
pub struct Catalog {
    devs: HashMap<(u32, u32), Arc<Dev>>,
    netns: HashMap<u32, Arc<Netns>>,
    causes: VecDeque<Arc<Cause>>,
    ovs: VecDeque<Arc<Ovs>>,
    tracked: VecDeque<Arc<Tracked>>,
}

impl Catalog {
    /// What is worth remembering of a hop.
    pub fn sight(&mut self, hop: &Hop) -> Sight {
        let inode = hop.netns.as_ref().map_or(0, |n| n.inode);
        Sight {
            ts: hop.ts,
            hook: hop.hook,
            netns: hop.netns.as_ref().map(|n| self.share_netns(n)),
            dev: hop.dev.as_ref().map(|d| self.share_dev(inode, d)),
            eth: hop.eth.as_ref().and_then(|e| Some((Mac::parse(&e.src)?, Mac::parse(&e.dst)?))),
            vlan: hop.vlan.clone(),
            tuple: hop.tuple.as_ref().and_then(FlowTuple::from_record),
            ttl: hop.ip.as_ref().map(|ip| ip.ttl),
            ip_id: hop.ip.as_ref().and_then(|ip| ip.id),
            fragment: hop
                .ip
                .as_ref()
                .and_then(|ip| ip.frag_offset.or_else(|| ip.more_fragments.then_some(0))),
            tcp: hop.tcp.as_ref().map(|t| TcpFlags::parse(&t.flags)),
            icmp: hop.icmp.clone(),
            arp: hop.arp.as_ref().map(|a| match a.op.as_str() {
                "request" => ArpOp::Request,
                "reply" => ArpOp::Reply,
                _ => ArpOp::Other,
            }),
            tunnel: hop.tunnel.clone().map(Box::new),
            ovs: hop.ovs.as_ref().map(|o| self.share_ovs(o)),
            cause: self.cause(hop),
            len: hop.len,
            pkt_type: hop.pkt_type.as_deref().and_then(PktType::parse),
            skb: hop
                .skb
                .as_deref()
                .and_then(|s| u64::from_str_radix(s.strip_prefix("0x")?, 16).ok()),
            ct: self.tracked(hop),
            about: hop
                .icmp
                .as_ref()
                .and_then(|i| i.about.as_deref())
                .and_then(FlowTuple::from_record),
            about_id: hop.icmp.as_ref().and_then(|i| i.about_id),
        }
    }

    fn share_dev(&mut self, inode: u32, dev: &Dev) -> Arc<Dev> {
        if self.devs.len() >= SHARED {
            self.devs.clear();
        }
        let known = self.devs.entry((inode, dev.ifindex)).or_insert_with(|| Arc::new(dev.clone()));
        if **known != *dev {
            *known = Arc::new(dev.clone());
        }
        known.clone()
    }

    fn share_netns(&mut self, netns: &Netns) -> Arc<Netns> {
        if self.netns.len() >= SHARED {
            self.netns.clear();
        }
        let known = self.netns.entry(netns.inode).or_insert_with(|| Arc::new(netns.clone()));
        if **known != *netns {
            *known = Arc::new(netns.clone());
        }
        known.clone()
    }

    fn share_ovs(&mut self, ovs: &Ovs) -> Arc<Ovs> {
        if let Some(known) = self.ovs.iter().find(|known| ***known == *ovs) {
            return known.clone();
        }
        let ovs = Arc::new(ovs.clone());
        self.ovs.truncate(OVS - 1);
        self.ovs.push_front(ovs.clone());
        ovs
    }

    fn tracked(&mut self, hop: &Hop) -> Option<Arc<Tracked>> {
        let tracked = Tracked::from_record(hop.ct.as_ref()?);
        if let Some(known) = self.tracked.iter().find(|t| ***t == tracked) {
            return Some(known.clone());
        }
        let tracked = Arc::new(tracked);
        self.tracked.truncate(CAUSES - 1);
        self.tracked.push_front(tracked.clone());
        Some(tracked)
    }

    fn cause(&mut self, hop: &Hop) -> Option<Arc<Cause>> {
        if hop.drop.is_none() && hop.by.is_none() && hop.stack.is_empty() {
            return None;
        }
        let same = |c: &&Arc<Cause>| c.drop == hop.drop && c.by == hop.by && c.stack == hop.stack;
        if let Some(known) = self.causes.iter().find(same) {
            return Some(known.clone());
        }
        let cause = Arc::new(Cause {
            drop: hop.drop.clone(),
            by: hop.by.clone(),
            stack: hop.stack.clone(),
        });
        self.causes.truncate(CAUSES - 1);
        self.causes.push_front(cause.clone());
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_six_pairs_of_digits() {
        let mac = Mac::parse("02:00:00:00:0A:ff").unwrap();
        assert_eq!(mac.to_string(), "02:00:00:00:0a:ff");
        assert!(!mac.is_group());
        assert!(Mac::parse("33:33:00:00:00:01").unwrap().is_group());
        for bad in ["", "02:00:00:00:0a", "02:00:00:00:0a:ff:00", "2:0:0:0:a:f", "+2:00:00:00:00:0"]
        {
            assert_eq!(Mac::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn flags_tell_openings_from_answers() {
        assert!(TcpFlags::parse("S").is_syn());
        assert!(!TcpFlags::parse("SA").is_syn() && TcpFlags::parse("SA").is_syn_ack());
        assert!(TcpFlags::parse("SEC").is_syn());
        assert!(TcpFlags::parse("RA").is_reset() && !TcpFlags::parse("A").is_syn_ack());
    }
}
