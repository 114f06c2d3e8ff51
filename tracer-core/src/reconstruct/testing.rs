//! Hops for tests: a client, a router and a server joined by veth pairs.

#![allow(
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    reason = "compiled for tests alone: a panic is a test that fails"
)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::record::{
    Address, Dev, Drop, Eth, Fingerprint, HookName, Hop, Ip, Mac, Netns, Ovs, Peer, PktType, Place,
    Proto, Tcp, TcpFlags, Tuple,
};

/// A hop at `hook`, at time `ms`, of the skb `life`, not yet known as a packet.
pub fn hop(hook: HookName, ms: u64, life: u64) -> Hop {
    Hop {
        ts: ms * 1_000_000,
        cpu: 0,
        packet: 0,
        hop: 0,
        hook,
        netns: None,
        dev: None,
        eth: None,
        vlan: Vec::new(),
        tuple: Some(tuple("udp", "10.0.0.1", 1000, "10.0.0.2", 53)),
        ip: Some(Ip {
            id: Some(7),
            ttl: 64,
            len: 60,
            df: false,
            frag_offset: None,
            more_fragments: false,
        }),
        tcp: None,
        icmp: None,
        arp: None,
        tunnel: None,
        ovs: None,
        ct: None,
        drop: None,
        by: None,
        stack: None,
        len: 60,
        bad_checksum: false,
        pkt_type: None,
        life,
        parent: None,
        skb: Some(Address(0xffff_8880_0000_0000 + life * 256)),
        fingerprint: Some(fingerprint("f1")),
        via: None,
        truncated: false,
    }
}

/// A fingerprint that is like no other word's.
pub fn fingerprint(word: &str) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    Fingerprint(hasher.finish())
}

/// A tuple with ports.
pub fn tuple(proto: &str, src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    Tuple {
        proto: Proto::parse(proto).unwrap(),
        src: src.parse().unwrap(),
        sport: Some(sport),
        dst: dst.parse().unwrap(),
        dport: Some(dport),
    }
}

/// Short ways to say what a hop shows besides.
pub trait HopExt: Sized {
    /// On a device of this kind, in a namespace.
    fn on(self, netns: &str, dev: &str, kind: Option<&str>) -> Self;
    /// The device's other end is on this node.
    fn paired(self) -> Self;
    /// The device is a port of a bridge.
    fn enslaved(self) -> Self;
    /// With a drop reason, and the function that gave it.
    fn because(self, reason: Option<&str>, symbol: &str) -> Self;
    /// Consumed by this function.
    fn taken_by(self, symbol: &str) -> Self;
    /// The frame's destination.
    fn to_mac(self, dst: &str) -> Self;
    /// For whom the frame is.
    fn for_whom(self, pkt_type: PktType) -> Self;
    /// A TCP segment with these flags.
    fn tcp(self, flags: &str) -> Self;
    /// With this fingerprint.
    fn print(self, fingerprint: &str) -> Self;
    /// With this tuple.
    fn tuple(self, tuple: Tuple) -> Self;
    /// In Open vSwitch's datapath, entered by port 2.
    fn in_ovs(self, set: impl FnOnce(&mut Ovs)) -> Self;
    /// A fragment.
    fn fragment(self, offset: u32, more: bool) -> Self;
}

/// The MAC of every device made by [`HopExt::on`].
pub const OWN_MAC: &str = "02:00:00:00:00:01";

impl HopExt for Hop {
    fn on(mut self, netns: &str, dev: &str, kind: Option<&str>) -> Self {
        let inode = netns.bytes().fold(1, |n, b| n * 31 % 100_003 + u32::from(b));
        self.netns = Some(Arc::new(Netns { inode, name: Some(netns.to_owned()), path: None }));
        self.dev = Some(Arc::new(Dev {
            ifindex: dev.bytes().fold(1, |n, b| n * 31 % 100_003 + u32::from(b)),
            name: dev.to_owned(),
            kind: kind.map(str::to_owned),
            mac: OWN_MAC.parse().ok(),
            peer: None,
            master: None,
            mtu: Some(1500),
            carrier: None,
            bridge: None,
            ofport: None,
            bond: None,
        }));
        self
    }

    fn paired(mut self) -> Self {
        let peer = Peer { netns: 9, ifindex: 9, name: Some("other".to_owned()) };
        Arc::make_mut(self.dev.as_mut().unwrap()).peer = Some(peer);
        self
    }

    fn enslaved(mut self) -> Self {
        Arc::make_mut(self.dev.as_mut().unwrap()).master = Some("br0".to_owned());
        self
    }

    fn because(mut self, reason: Option<&str>, symbol: &str) -> Self {
        self.drop = Some(Arc::new(Drop {
            reason: reason.map(str::to_owned),
            subsystem: reason.map(|r| {
                if r.starts_with("OVS") { "openvswitch".to_owned() } else { "core".to_owned() }
            }),
            symbol: Some(symbol.to_owned()),
            offset: Some(16),
            silent: false,
        }));
        self
    }

    fn taken_by(mut self, symbol: &str) -> Self {
        self.by = Some(Arc::new(Place { symbol: symbol.to_owned(), offset: 16 }));
        self
    }

    fn to_mac(mut self, dst: &str) -> Self {
        self.eth = Some(Eth { src: Mac([2, 0, 0, 0, 0, 0x99]), dst: dst.parse().unwrap() });
        self
    }

    fn for_whom(mut self, pkt_type: PktType) -> Self {
        self.pkt_type = Some(pkt_type);
        self
    }

    fn tcp(mut self, flags: &str) -> Self {
        self.tuple.as_mut().unwrap().proto = Proto::Tcp;
        self.tcp = Some(Tcp {
            flags: TcpFlags::parse(flags),
            seq: 1,
            ack: 0,
            window: None,
            data: None,
            scale: None,
        });
        self
    }

    fn print(mut self, word: &str) -> Self {
        self.fingerprint = Some(fingerprint(word));
        self
    }

    fn tuple(mut self, tuple: Tuple) -> Self {
        self.tuple = Some(tuple);
        self
    }

    fn in_ovs(mut self, set: impl FnOnce(&mut Ovs)) -> Self {
        let mut ovs = Ovs {
            dp: Some("ovs-system".to_owned()),
            in_port: Some("va".to_owned()),
            in_port_no: Some(2),
            recirc_id: Some(0),
            ..Ovs::default()
        };
        set(&mut ovs);
        self.ovs = Some(Arc::new(ovs));
        self
    }

    fn fragment(mut self, offset: u32, more: bool) -> Self {
        let ip = self.ip.as_mut().unwrap();
        (ip.frag_offset, ip.more_fragments) = (Some(offset), more);
        self.fingerprint = Some(fingerprint(&format!("fragment {offset}")));
        if offset > 0 {
            let tuple = self.tuple.as_mut().unwrap();
            (tuple.sport, tuple.dport) = (None, None);
        }
        self
    }
}
