//! From an event's bytes to a hop: headers parsed, numbers given their names.

mod conntrack;
mod ovs;
mod repeats;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tracer_common::abi::{
    CHECKSUM_NONE, Event, FLAG_BY_FILTER, FLAG_BY_LEARNED, FLAG_LINK_HEADER, FLAG_TRUNCATED, Hook,
};
use tracer_common::checksum;
use tracer_common::codec::Decoded;
use tracer_common::fingerprint::fingerprint;
use tracer_common::flow::{self, Addr, proto};
use tracer_common::packet::{self, Network, VlanTag, arp_fields};
use tracer_common::source::Bytes;
use tracer_common::transport::{Transport, icmp, tcp, window_scale};
use tracer_common::tunnel::{self, Kind, Layer, MAX_LAYERS};

use crate::kernel::btf::KernelBtf;
use crate::kernel::conntrack::CtNames;
use crate::kernel::ovs_layout::ct_layout;
use crate::kernel::reasons::Reasons;
use crate::kernel::symbols::Symbols;
use crate::topology::Topology;
use tracer_core::ovs::actions::CtLayout;
use tracer_core::record::{
    Address, Arp, ArpOp, Drop, Eth, Fingerprint, HookName, Hop, Icmp, Ip, Mac, PktType, Place,
    Proto, Tcp, TcpFlags, Tunnel, Tuple, Via, Vlan,
};

use ovs::OvsNumbers;
use repeats::{End, EndNumbers, Repeats};

/// What numbers mean on this node.
pub struct Names {
    /// Code addresses.
    pub symbols: Symbols,
    /// Drop reasons.
    pub reasons: Reasons,
    /// Conntrack's states.
    pub ct: CtNames,
    /// What Open vSwitch's `ct` actions do.
    pub ct_actions: Option<CtLayout>,
}

impl Names {
    /// With what the kernel says at this moment: modules come and go.
    pub fn read(btf: &KernelBtf) -> Self {
        Self {
            symbols: Symbols::default(),
            reasons: Reasons::read(btf),
            ct: CtNames::read(btf),
            ct_actions: ct_layout(btf),
        }
    }

    /// With the names of functions too.
    #[must_use]
    pub fn with(self, symbols: Symbols) -> Self {
        Self { symbols, ..self }
    }
}

/// SYN among the flags of a TCP header.
const SYN: u8 = 2;

/// Turns events into hops.
pub struct Decoder {
    names: Names,
    repeats: Repeats,
    /// `CLOCK_MONOTONIC` of the beginning of the trace, nanoseconds.
    start: u64,
}

impl Decoder {
    /// `start`: `CLOCK_MONOTONIC` of the beginning of the trace, nanoseconds.
    pub fn new(names: Names, start: u64) -> Self {
        Self { names, repeats: Repeats::default(), start }
    }

    /// Names of functions from now on.
    pub fn know(&mut self, symbols: Symbols) {
        self.names.symbols = symbols;
        self.repeats.rename();
    }

    /// Other names from now on: a module was loaded.
    pub fn rename(&mut self, names: Names) {
        self.names = names;
        self.repeats.rename();
    }

    /// The hop that an event tells of; `topology` gives devices their kind and namespaces their
    /// name. Packet and hop numbers are left 0.
    pub fn hop(&mut self, decoded: &Decoded<'_>, topology: &Topology) -> Hop {
        let event = &decoded.event;
        let seen = Seen::read(event);
        let Self { names, repeats, start } = self;
        repeats.follow(topology);
        let end = match decoded.hook {
            Hook::Drop | Hook::Consume => repeats.end(EndNumbers::of(decoded), |n| names.end(n)),
            _ => End::default(),
        };
        let ovs = OvsNumbers::of(decoded);
        let ovs = ovs.map(|ovs| repeats.ovs(ovs, |n| n.record(names.ct_actions.as_ref())));
        let ct = decoded.ct.as_ref();
        let ct = ct.and_then(|ct| repeats.ct(ct, |ct| conntrack::record(ct, &names.ct)));
        let mut hop = Hop {
            ts: event.ts.saturating_sub(*start),
            cpu: event.cpu,
            packet: 0,
            hop: 0,
            hook: hook_name(decoded.hook),
            netns: (event.netns != 0).then(|| repeats.netns(topology, event.netns)),
            dev: repeats.dev(topology, event.netns, event.ifindex, event.dev_name),
            eth: seen.eth,
            vlan: seen.vlans,
            tuple: None,
            ip: None,
            tcp: None,
            icmp: None,
            arp: None,
            tunnel: seen.tunnel.map(Arc::new),
            ovs,
            ct,
            drop: end.drop,
            by: end.by,
            stack: end.stack,
            len: event.len,
            bad_checksum: false,
            pkt_type: pkt_type(event.pkt_type),
            life: event.life,
            parent: (decoded.hook == Hook::Clone).then_some(event.parent),
            skb: Some(Address(event.skb)),
            fingerprint: None,
            via: Some(via(event.flags)),
            truncated: event.flags & FLAG_TRUNCATED != 0,
        };
        if let Some(Layer { network, transport }) = &seen.layer {
            fill_layer(&mut hop, &seen.bytes, network, transport);
            // That of what a tunnel carries is not what `ip_summed` speaks of.
            hop.bad_checksum = event.ip_summed == CHECKSUM_NONE
                && hop.tunnel.is_none()
                && checksum::is_right(seen.bytes.0, network) == Some(false);
        }
        hop
    }
}

impl Names {
    fn end(&self, numbers: &EndNumbers) -> End {
        let callers: Vec<Place> = self.symbols.callers(&numbers.stack).collect();
        let frames = callers.iter().map(|p| format!("{}+{:#x}", p.symbol, p.offset));
        let stack = (!callers.is_empty()).then(|| frames.collect());
        // Where the skb was given up: as the tracepoint says, else the innermost caller.
        let place = match numbers.location {
            0 => callers.into_iter().next(),
            location => self.symbols.place(location),
        };
        match numbers.hook {
            Hook::Drop => {
                let drop = Some(Arc::new(self.drop(numbers.reason, place)));
                End { drop, by: None, stack }
            }
            _ => End { drop: None, by: place.map(Arc::new), stack },
        }
    }

    fn drop(&self, reason: u32, place: Option<Place>) -> Drop {
        let reason = self.reasons.any().then(|| self.reasons.name(reason));
        let (name, subsystem) = reason.map_or((None, None), |r| (Some(r.name), Some(r.subsystem)));
        let (symbol, offset) = place.map_or((None, None), |p| (Some(p.symbol), Some(p.offset)));
        Drop { reason: name, subsystem, symbol, offset, silent: false }
    }
}

/// What the packet's own bytes show.
struct Seen<'a> {
    bytes: Bytes<'a>,
    eth: Option<Eth>,
    vlans: Vec<Vlan>,
    tunnel: Option<Tunnel>,
    /// The innermost flow that could be read.
    layer: Option<Layer>,
}

impl<'a> Seen<'a> {
    fn read(event: &'a Event) -> Self {
        let captured = event.headers.get(..usize::from(event.header_len)).unwrap_or(&[]);
        let bytes = Bytes(captured);
        let mut vlans = Vec::new();
        if event.vlan_proto != 0 {
            vlans.push(vlan(VlanTag { tpid: event.vlan_proto, tci: event.vlan_tci }));
        }
        let (mut ethertype, mut at) = (event.protocol, u32::from(event.l3_offset));
        let mut eth = None;
        if event.flags & FLAG_LINK_HEADER != 0
            && let Some(link) = packet::link(&bytes, 0)
        {
            eth = Some(Eth { src: Mac(link.src), dst: Mac(link.dst) });
            vlans.extend(link.vlans.into_iter().filter(|tag| tag.tpid != 0).map(vlan));
            (ethertype, at) = (link.ethertype, link.network_at);
        }
        let mut seen = Self { bytes, eth, vlans, tunnel: None, layer: None };
        for _ in 0..MAX_LAYERS {
            let Some(layer) = tunnel::layer(&bytes, ethertype, at) else {
                break;
            };
            seen.layer = Some(layer);
            let Some(t) = tunnel::tunnel(&bytes, &layer.network, &layer.transport) else {
                break;
            };
            let Some(next) = tunnel::load(&bytes, &t) else {
                break;
            };
            // What it carries may be none of what is parsed here: then this is no tunnel to us.
            if tunnel::layer(&bytes, next.0, next.1).is_none() {
                break;
            }
            seen.tunnel.get_or_insert_with(|| Tunnel {
                kind: kind_name(t.kind).to_owned(),
                key: t.key,
                src: ip(layer.network.src),
                dst: ip(layer.network.dst),
                dport: (layer.network.proto == proto::UDP).then_some(layer.transport.tuple.dport),
            });
            (ethertype, at) = next;
        }
        seen
    }
}

fn fill_layer(hop: &mut Hop, bytes: &Bytes<'_>, n: &Network, t: &Transport) {
    hop.tuple = Some(tuple(&t.tuple));
    hop.fingerprint = fingerprint(bytes, n, t).map(Fingerprint);
    if n.proto == proto::ARP {
        hop.arp = arp_fields(bytes, n.at).map(|a| Arp {
            op: ArpOp::from_number(a.op),
            sender_mac: Mac(a.sender_mac),
            target_mac: Mac(a.target_mac),
        });
        return;
    }
    let is_fragment = n.frag_offset != 0 || n.more_fragments;
    hop.ip = Some(Ip {
        id: (n.version == 4 || is_fragment).then_some(n.id),
        ttl: n.ttl,
        len: n.total_len,
        df: n.df,
        frag_offset: is_fragment.then_some(u32::from(n.frag_offset)),
        more_fragments: n.more_fragments,
    });
    if n.proto == proto::TCP && t.present {
        hop.tcp = tcp(bytes, n.transport_at).map(|tcp| Tcp {
            flags: TcpFlags::from_wire(tcp.flags),
            seq: tcp.seq,
            ack: tcp.ack,
            window: Some(tcp.window),
            data: n.transport_len().and_then(|len| len.checked_sub(tcp.header_len)),
            scale: (tcp.flags & SYN != 0)
                .then(|| window_scale(bytes, n.transport_at, tcp.header_len))
                .flatten(),
        });
    }
    let about = about(bytes, n, t);
    hop.icmp = icmp(t).map(|i| {
        let echo = i.echo(n.proto);
        Icmp {
            r#type: i.kind,
            code: i.code,
            id: echo.map(|(id, _)| id),
            seq: echo.map(|(_, seq)| seq),
            mtu: i.mtu(n.proto),
            about: about.as_ref().map(|q| Box::new(tuple(&q.transport.tuple))),
            about_id: about
                .as_ref()
                .and_then(|q| icmp(&q.transport)?.echo(q.network.proto))
                .map(|e| e.0),
        }
    });
}

/// What an ICMP error is about: of a packet that a tunnel sent what that carries, where the error quotes
/// as much.
fn about(bytes: &Bytes<'_>, n: &Network, t: &Transport) -> Option<Layer> {
    let (kind, at) = tunnel::quotation(n, t)?;
    let mut about = None;
    tunnel::walk(bytes, kind, at, |layer| about = Some(*layer));
    about
}

fn tuple(t: &flow::Tuple) -> Tuple {
    let ports = t.has_ports != 0;
    Tuple {
        proto: proto(t.proto),
        src: ip(t.src),
        sport: ports.then_some(t.sport),
        dst: ip(t.dst),
        dport: ports.then_some(t.dport),
    }
}

/// The hook as records name it.
pub fn hook_name(hook: Hook) -> HookName {
    match hook {
        Hook::TcIngress => HookName::TcIngress,
        Hook::TcEgress => HookName::TcEgress,
        Hook::Drop => HookName::Drop,
        Hook::Consume => HookName::Consume,
        Hook::Deliver => HookName::Deliver,
        Hook::Clone => HookName::Clone,
        Hook::OvsReceive => HookName::OvsReceive,
        Hook::OvsUpcall => HookName::OvsUpcall,
        Hook::OvsActions => HookName::OvsActions,
        Hook::OvsOutput => HookName::OvsOutput,
        Hook::Ct => HookName::Ct,
        Hook::OvsAnswer => HookName::OvsAnswer,
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Vxlan => "vxlan",
        Kind::Geneve => "geneve",
        Kind::Gre => "gre",
        Kind::IpIp => "ipip",
    }
}

/// How the packet came to match: `filter`, `learned` (a translation of a packet that matched), or
/// `identity` (the skb matched before).
fn via(flags: u8) -> Via {
    if flags & FLAG_BY_FILTER != 0 {
        Via::Filter
    } else if flags & FLAG_BY_LEARNED != 0 {
        Via::Learned
    } else {
        Via::Identity
    }
}

/// `PACKET_*` of `include/uapi/linux/if_packet.h`.
fn pkt_type(number: u8) -> Option<PktType> {
    Some(match number {
        0 => PktType::Host,
        1 => PktType::Broadcast,
        2 => PktType::Multicast,
        3 => PktType::OtherHost,
        4 => PktType::Outgoing,
        5 => PktType::Loopback,
        _ => return None,
    })
}

/// The protocol of a tuple, by its number there.
pub fn proto(number: u16) -> Proto {
    match (number, u8::try_from(number)) {
        (proto::ARP, _) => Proto::Arp,
        (_, Ok(number)) => Proto::from_number(number),
        (_, Err(_)) => Proto::Unknown,
    }
}

fn ip(addr: Addr) -> IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}

fn vlan(tag: VlanTag) -> Vlan {
    Vlan { id: tag.id(), tpid: tag.tpid, pcp: tag.pcp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 header without options (RFC 791, 3.1), its length and checksum left 0.
    fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
        let start = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0];
        [start.as_slice(), &src, &dst].concat()
    }

    #[test]
    fn an_error_about_a_tunnels_packet_is_about_what_it_carries() {
        let (here, there) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let unreachable = [3, 3, 0, 0, 0, 0, 0, 0];
        let gre = [0x20, 0, 0x65, 0x58, 0, 0, 0, 42];
        let ethernet = [2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
        let udp = [0x0f, 0xa0, 0x11, 0x5c, 0, 8, 0, 0];
        let outer = [ipv4(1, there, here), unreachable.to_vec(), ipv4(47, here, there)].concat();
        let inner = [ipv4(17, [10, 77, 1, 1], [10, 77, 1, 2]), udp.to_vec()].concat();
        let whole = [outer, gre.to_vec(), ethernet.to_vec(), inner].concat();
        // One that quotes all of it, and one that quotes no more than it must (RFC 792).
        for (len, src, sport) in [(whole.len(), "10.77.1.1", Some(4000)), (56, "192.0.2.1", None)] {
            let bytes = Bytes(&whole[..len]);
            let error = tunnel::layer(&bytes, packet::ETH_P_IP, 0).unwrap();
            let about = about(&bytes, &error.network, &error.transport).unwrap();
            let tuple = tuple(&about.transport.tuple);
            assert_eq!((tuple.src.to_string().as_str(), tuple.sport), (src, sport));
        }
    }
}
