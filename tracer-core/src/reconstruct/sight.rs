//! One packet at one place, as the reconstruction remembers it.
//!
//! Of a [`Hop`] a [`Sight`] keeps what the judgement needs: there are thousands of open packets.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::reconstruct::pieces::Piece;
use crate::reconstruct::segment::Segment;
use crate::reconstruct::tracked::Tracked;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{
    Address, ArpOp, Dev, Drop, Eth, HookName, Hop, Icmp, Ip, Netns, Ovs, PktType, Place, Proto,
    TcpFlags, Tunnel, Via, Vlan, Where,
};

/// Who let go of an skb, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// What the drop hook said.
    pub drop: Option<Arc<Drop>>,
    /// The function that consumed it.
    pub by: Option<Arc<Place>>,
    /// Call chain, innermost first, `symbol+0xoffset`.
    pub stack: Option<Arc<[String]>>,
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
        let callers = self
            .stack
            .iter()
            .flat_map(|stack| stack.iter())
            .map(|frame| frame.split('+').next().unwrap_or(frame));
        self.place().map(|(symbol, _)| symbol).into_iter().chain(callers)
    }
}

/// The device that a packet was at, in its namespace. There are few of them, so that each is one
/// object, and its parts are counted no more often than that: other threads count them too.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Network namespace.
    pub netns: Option<Arc<Netns>>,
    /// Device.
    pub dev: Option<Arc<Dev>>,
}

impl Site {
    /// Whether it is the one that the hop names, by the very same objects.
    fn is_of(&self, hop: &Hop) -> bool {
        fn is_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
        }
        is_same(self.netns.as_ref(), hop.netns.as_ref())
            && is_same(self.dev.as_ref(), hop.dev.as_ref())
    }
}

/// A place on a packet's way, and who let go of it there.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Namespace and device.
    pub site: Rc<Site>,
    /// What kind of place.
    pub hook: HookName,
    /// See [`Sight::cause`].
    pub cause: Option<Rc<Cause>>,
}

impl Stop {
    /// As records name it.
    pub fn place(&self) -> Where {
        let Site { netns, dev } = &*self.site;
        let symbol = self.cause.as_ref().and_then(|cause| cause.place());
        Where {
            netns: netns.as_deref().map(netns_name),
            dev: dev.as_ref().map(|d| d.name.clone()),
            hook: Some(self.hook),
            symbol: symbol.map(|(symbol, _)| symbol.to_owned()),
            bridge: dev.as_ref().and_then(|d| d.bridge.clone()),
        }
    }
}

/// One packet at one place.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Nanoseconds since the trace began.
    pub ts: u64,
    /// What kind of place.
    pub hook: HookName,
    /// Namespace and device.
    pub site: Rc<Site>,
    /// Ethernet source and destination.
    pub eth: Option<Eth>,
    /// VLAN tags, outermost first.
    pub vlan: Box<[Vlan]>,
    /// The innermost flow.
    pub tuple: Option<FlowTuple>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// IP identification.
    pub ip_id: Option<u32>,
    /// A fragment: its offset in bytes.
    pub fragment: Option<u32>,
    /// A fragment: what it has of its datagram.
    pub piece: Option<Piece>,
    /// It is followed for what another packet showed, not for its own headers.
    pub is_learned: bool,
    /// TCP flags.
    pub tcp: Option<TcpFlags>,
    /// TCP's numbers.
    pub segment: Option<Segment>,
    /// The checksum of its transport header is wrong.
    pub bad_checksum: bool,
    /// ICMP facts.
    pub icmp: Option<Box<Icmp>>,
    /// ARP operation.
    pub arp: Option<ArpOp>,
    /// The tunnel around `tuple`.
    pub tunnel: Option<Arc<Tunnel>>,
    /// What Open vSwitch was doing with it.
    pub ovs: Option<Arc<Ovs>>,
    /// Who let go of it, at a drop or a consume.
    pub cause: Option<Rc<Cause>>,
    /// Bytes of the packet.
    pub len: u32,
    /// For whom the frame is.
    pub pkt_type: Option<PktType>,
    /// Kernel address of the skb.
    pub skb: Option<Address>,
    /// The conntrack entry that it carries.
    pub ct: Option<Rc<Tracked>>,
}

impl Sight {
    /// The place.
    pub fn stop(&self) -> Stop {
        Stop { site: self.site.clone(), hook: self.hook, cause: self.cause.clone() }
    }

    /// The place, as records name it.
    pub fn place(&self) -> Where {
        self.stop().place()
    }

    /// The function that let go of it.
    pub fn symbol(&self) -> Option<&str> {
        Some(self.cause.as_ref()?.place()?.0)
    }

    /// The kernel's drop reason, as it stands in the record.
    pub fn raw_reason(&self) -> Option<&str> {
        self.cause.as_ref()?.drop.as_ref()?.reason.as_deref()
    }

    /// An ICMP error: the flow that it is about, as it quotes it.
    pub fn about(&self) -> Option<&FlowTuple> {
        self.icmp.as_ref()?.about.as_deref()
    }

    /// A host tells itself that it cannot reach the neighbour (`ipv4_link_failure`, `ip6_link_failure`).
    pub fn is_link_failure(&self) -> bool {
        let kind = self.icmp.as_ref().map(|icmp| (icmp.r#type, icmp.code));
        let is_unreachable = |t: &FlowTuple| match t.proto {
            Proto::Icmp => kind == Some((3, 1)),
            Proto::Icmp6 => kind == Some((1, 3)),
            _ => false,
        };
        self.tuple.as_ref().is_some_and(|t| t.src == t.dst && is_unreachable(t))
    }

    /// A host tells itself of a packet that it was to send to another, as its own rules do that reject one
    /// (before the drop of the packet itself is seen).
    pub fn is_told_to_itself(&self) -> bool {
        let told = self.tuple.as_ref().filter(|t| t.src == t.dst).map(|t| t.src);
        let lost = self.about().filter(|lost| lost.src != lost.dst).map(|lost| lost.src);
        told.is_some() && told == lost
    }

    /// How its connection's first packet was sent, where its entry translates it: a host has done so
    /// with its own packets before the first device sees them.
    pub fn origin(&self) -> Option<FlowTuple> {
        let tracked = self.ct.as_ref().filter(|_| self.about().is_none())?;
        tracked.origin_of(self.tuple?)
    }

    /// How it was sent, going the connection's way: before the host translated it that it was seen in.
    pub fn sent_as(&self) -> Option<FlowTuple> {
        let before = || {
            let (from, to) = self.ct.as_ref().filter(|_| self.about().is_none())?.translation()?;
            (Some(to) == self.tuple).then_some(from)
        };
        before().or(self.tuple)
    }

    /// A place where a packet enters or leaves a device.
    pub fn is_port(&self) -> bool {
        matches!(
            self.hook,
            HookName::TcIngress | HookName::TcEgress | HookName::OvsReceive | HookName::OvsOutput
        )
    }

    /// In Open vSwitch's datapath.
    pub fn is_datapath(&self) -> bool {
        use HookName::{OvsActions, OvsOutput, OvsReceive, OvsUpcall};
        matches!(self.hook, OvsActions | OvsOutput | OvsReceive | OvsUpcall)
    }

    /// Addressed to a group: by its frame, or by what the kernel made of it.
    pub fn is_group(&self) -> bool {
        self.eth.is_some_and(|eth| eth.dst.is_group())
            || matches!(self.pkt_type, Some(PktType::Broadcast | PktType::Multicast))
    }

    /// Name of the device's kind, empty where it has none.
    pub fn kind(&self) -> &str {
        self.site.dev.as_ref().and_then(|d| d.kind.as_deref()).unwrap_or("")
    }
}

/// What a fragment has of its datagram. Header options are not on the record: of a fragment that others
/// follow the bytes are a multiple of 8 (RFC 791, 3.2; RFC 8200, 4.5), which leaves the options out.
fn piece(ip: &Ip, tuple: Option<FlowTuple>) -> Option<Piece> {
    const V4_HEADER: u32 = 20;
    const V6_HEADERS: u32 = 40 + 8;
    let offset = ip.frag_offset.or_else(|| ip.more_fragments.then_some(0))?;
    let header = if tuple?.src.is_ipv6() { V6_HEADERS } else { V4_HEADER };
    let (bytes, more) = (ip.len.saturating_sub(header), ip.more_fragments);
    Some(Piece { offset, bytes: if more { bytes / 8 * 8 } else { bytes }, more })
}

/// The name of a namespace, or its inode where it has none.
pub fn netns_name(netns: &Netns) -> String {
    netns.name.clone().unwrap_or_else(|| netns.inode.to_string())
}

/// How many of the latest sites are held for sharing.
const SITES: usize = 32;
/// How many of the latest causes are held for sharing.
const CAUSES: usize = 4;
/// How many of the latest facts of Open vSwitch are.
const OVS: usize = 16;

/// Makes [`Sight`]s, and lets equal causes be one allocation.
#[derive(Debug, Default)]
pub struct Catalog {
    sites: VecDeque<Rc<Site>>,
    causes: VecDeque<Rc<Cause>>,
    ovs: VecDeque<Arc<Ovs>>,
    tracked: VecDeque<Rc<Tracked>>,
}

/// Finds the one that is the same among the latest, or remembers it as the latest.
fn share<T: Clone>(
    latest: &mut VecDeque<T>,
    room: usize,
    is_same: impl Fn(&T) -> bool,
    make: impl FnOnce() -> T,
) -> T {
    if let Some(known) = latest.iter().find(|known| is_same(known)) {
        return known.clone();
    }
    let new = make();
    latest.truncate(room - 1);
    latest.push_front(new.clone());
    new
}

impl Catalog {
    /// What is worth remembering of a hop.
    pub fn sight(&mut self, hop: &Hop) -> Sight {
        let ovs = hop.ovs.as_ref();
        Sight {
            ts: hop.ts,
            hook: hop.hook,
            site: self.site(hop),
            eth: hop.eth,
            vlan: hop.vlan.as_slice().into(),
            tuple: hop.tuple,
            ttl: hop.ip.map(|ip| ip.ttl),
            ip_id: hop.ip.and_then(|ip| ip.id),
            fragment: hop
                .ip
                .and_then(|ip| ip.frag_offset.or_else(|| ip.more_fragments.then_some(0))),
            piece: hop.ip.and_then(|ip| piece(&ip, hop.tuple)),
            is_learned: hop.via == Some(Via::Learned),
            tcp: hop.tcp.map(|tcp| tcp.flags),
            segment: hop.tcp.as_ref().and_then(Segment::from_record),
            bad_checksum: hop.bad_checksum,
            icmp: hop.icmp.clone().map(Box::new),
            arp: hop.arp.map(|arp| arp.op),
            tunnel: hop.tunnel.clone(),
            ovs: ovs.map(|ovs| share(&mut self.ovs, OVS, |known| known == ovs, || ovs.clone())),
            cause: self.cause(hop),
            len: hop.len,
            pkt_type: hop.pkt_type,
            skb: hop.skb,
            ct: self.tracked(hop),
        }
    }

    fn site(&mut self, hop: &Hop) -> Rc<Site> {
        let make = || Rc::new(Site { netns: hop.netns.clone(), dev: hop.dev.clone() });
        share(&mut self.sites, SITES, |known| known.is_of(hop), make)
    }

    fn tracked(&mut self, hop: &Hop) -> Option<Rc<Tracked>> {
        let tracked = Tracked::from_record(hop.ct.as_ref()?);
        let make = || Rc::new(tracked);
        Some(share(&mut self.tracked, CAUSES, |known| **known == tracked, make))
    }

    fn cause(&mut self, hop: &Hop) -> Option<Rc<Cause>> {
        if hop.drop.is_none() && hop.by.is_none() && hop.stack.is_none() {
            return None;
        }
        let same = |c: &Rc<Cause>| c.drop == hop.drop && c.by == hop.by && c.stack == hop.stack;
        let make = || {
            let (drop, by) = (hop.drop.clone(), hop.by.clone());
            Rc::new(Cause { drop, by, stack: hop.stack.clone() })
        };
        Some(share(&mut self.causes, CAUSES, same, make))
    }
}
