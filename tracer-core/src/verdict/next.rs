//! The commands worth running next, for each matter.

use std::net::IpAddr;

use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{HookName, Netns, Proto};
use crate::verdict::matter::Matter;
use crate::verdict::words::shell;

/// Where commands are to be run: a namespace, a device, and the flow as it was there.
#[derive(Debug)]
pub struct Spot<'a> {
    netns: Option<&'a Netns>,
    dev: Option<&'a str>,
    tuple: Option<FlowTuple>,
    /// The source and destination by which it is routed there: those around it, where a tunnel has it.
    routed: Option<(IpAddr, IpAddr)>,
    /// Routing looked for a way for what had come in by this device, or for what the host itself
    /// sends.
    way: Option<Way<'a>>,
    /// IPv6's, where no packet is at hand to say so.
    v6: bool,
}

#[derive(Clone, Copy, Debug)]
enum Way<'a> {
    In(&'a str),
    Out,
}

/// Functions that end what has come in and found no route, and what the host itself would send.
const INPUT: &[&str] = &[
    "ip_error",
    "ip_rcv_finish",
    "ip_rcv_finish_core",
    "ip_forward",
    "ip6_forward",
    "ip6_pkt_discard",
    "ip6_pkt_prohibit",
    "ip6_pkt_drop",
    "dst_discard",
];
const OUTPUT: &[&str] = &["ip6_pkt_discard_out", "ip6_pkt_prohibit_out", "dst_discard_out"];

fn way<'a>(at: &'a Sight, before: Option<&'a Sight>) -> Option<Way<'a>> {
    let symbol = at.symbol()?;
    let came = before.filter(|b| b.hook == HookName::TcIngress);
    // A blackhole's two functions are alike: the linker may have made one of them.
    let is_in = INPUT.contains(&symbol) || (symbol == "dst_discard_out" && came.is_some());
    if OUTPUT.contains(&symbol) && !is_in {
        return Some(Way::Out);
    }
    let dev = at.site.dev.as_deref().or_else(|| came?.site.dev.as_deref())?;
    (is_in && dev.kind.as_deref() != Some("loopback")).then_some(Way::In(dev.name.as_str()))
}

impl<'a> Spot<'a> {
    /// At a hop; what it does not say is taken from the hop before.
    pub fn new(at: &'a Sight, before: Option<&'a Sight>) -> Self {
        let either = [Some(at), before];
        let seen = || either.iter().flatten();
        let tuple = seen().find_map(|s| s.tuple);
        let outer = at.tunnel.as_deref().map(|tunnel| (tunnel.src, tunnel.dst));
        Self {
            netns: seen().find_map(|s| s.site.netns.as_deref()),
            dev: seen().find_map(|s| s.site.dev.as_ref().map(|d| d.name.as_str())),
            tuple,
            routed: outer.or_else(|| tuple.map(|t| (t.src, t.dst))),
            way: way(at, before),
            v6: false,
        }
    }

    /// As [`Spot::new`], about another flow than the packet's own.
    pub fn about(at: &'a Sight, tuple: FlowTuple) -> Self {
        let routed = Some((tuple.src, tuple.dst));
        Self { tuple: Some(tuple), routed, ..Self::new(at, None) }
    }

    /// Where no packet is at hand, but the kernel function that dropped it.
    pub fn at(netns: Option<&'a Netns>, dev: Option<&'a str>, symbol: Option<&str>) -> Self {
        // ip6_pkt_discard, udpv6_queue_rcv_one_skb, ndisc_error_report …
        let v6 = symbol.is_some_and(|symbol| symbol.contains('6') || symbol.starts_with("ndisc"));
        Self { netns, dev, tuple: None, routed: None, way: None, v6 }
    }

    /// Any command, to be run in the namespace.
    pub fn run(&self, command: &str) -> String {
        match self.netns {
            None => command.to_owned(),
            Some(netns) if is_own(netns) => command.to_owned(),
            Some(Netns { name: Some(name), .. }) => {
                format!("ip netns exec {} {command}", shell(name))
            }
            Some(netns) => in_unnamed(netns.inode, command),
        }
    }

    /// A command of iproute2 that takes a namespace's name with `-n`.
    pub fn iproute(&self, tool: &str, arguments: &str) -> String {
        match self.netns {
            Some(netns @ Netns { name: Some(name), .. }) if !is_own(netns) => {
                format!("{tool} -n {} {arguments}", shell(name))
            }
            _ => self.run(&format!("{tool} {arguments}")),
        }
    }

    /// The flow is one of IPv6.
    pub fn is_v6(&self) -> bool {
        self.routed.map_or(self.v6, |(_, dst)| dst.is_ipv6())
    }

    fn dev(&self) -> String {
        self.dev.map_or_else(|| "DEV".to_owned(), shell)
    }

    fn family(&self) -> &'static str {
        if self.is_v6() { "ipv6" } else { "ipv4" }
    }

    fn route_to(&self, addr: Option<IpAddr>) -> String {
        match addr {
            Some(addr) => self.iproute("ip", &format!("route get {addr}")),
            None if self.is_v6() => self.iproute("ip", "-6 route"),
            None => self.iproute("ip", "route"),
        }
    }

    /// The route as the packet met it: rules may go by its source, and by where it came from.
    pub fn way_on(&self) -> String {
        let is_host = |src: IpAddr| !src.is_unspecified() && !src.is_multicast();
        let Some((src, dst)) = self.routed.filter(|(src, _)| is_host(*src)) else {
            return self.route_to(self.routed.map(|(_, dst)| dst));
        };
        let from = format!("route get {dst} from {src}");
        match self.way {
            Some(Way::In(dev)) => self.iproute("ip", &format!("{from} iif {}", shell(dev))),
            Some(Way::Out) => self.iproute("ip", &from),
            None => self.route_to(Some(dst)),
        }
    }

    /// Every route that holds for the destination, and every rule: `route get` does not name the
    /// one that refuses it.
    fn routes(&self) -> Vec<String> {
        let family = if self.is_v6() { "-6 " } else { "" };
        let all = self.routed.map(|(_, dst)| format!("{family}route show table all match {dst}"));
        let all = all.map(|all| self.iproute("ip", &all));
        let rules = self.iproute("ip", &format!("{family}rule"));
        std::iter::once(self.way_on()).chain(all).chain([rules]).collect()
    }

    /// The switch that lets what comes in here be forwarded.
    pub fn forwarding(&self) -> String {
        if self.is_v6() {
            return "net.ipv6.conf.all.forwarding".to_owned();
        }
        // sysctl reads a dot as a slash: a VLAN's name has its dots swapped.
        format!("net.ipv4.conf.{}.forwarding", self.dev().replace('.', "/"))
    }

    fn sockets(&self, options: &str) -> String {
        let (letter, port) = match self.tuple {
            Some(FlowTuple { proto: Proto::Tcp, dport, .. }) => ("t", dport),
            Some(FlowTuple { proto: Proto::Udp, dport, .. }) => ("u", dport),
            Some(FlowTuple { proto: Proto::Sctp, dport, .. }) => ("S", dport),
            Some(_) => ("w", None),
            None => ("tu", None),
        };
        let port = port.map(|p| format!(" 'sport = :{p}'")).unwrap_or_default();
        self.run(&format!("ss -{options}{letter}np{port}"))
    }
}

/// `nsenter` wants a process that lives in the namespace.
/// The namespace of process 1, in which commands are run as they are.
fn is_own(netns: &Netns) -> bool {
    netns.name.as_deref() == Some("host") && netns.path.is_none()
}

fn in_unnamed(inode: u32, command: &str) -> String {
    format!(
        "nsenter -n -t \"$(lsns -t net -nro NS,PID | awk '$1 == {inode} {{ print $2; exit }}')\" {command}"
    )
}

/// The commands worth running about a drop.
pub fn commands(matter: Matter, spot: &Spot<'_>) -> Vec<String> {
    let (dst, src) = (spot.routed.map(|(_, dst)| dst), spot.routed.map(|(src, _)| src));
    let (dev, family) = (spot.dev(), spot.family());
    let link = || spot.iproute("ip", &format!("-s -d link show dev {dev}"));
    match matter {
        // UDP's sockets are no listeners once they are connected.
        Matter::NoSocket => {
            let is_udp = spot.tuple.is_some_and(|t| t.proto == Proto::Udp);
            vec![spot.sockets(if is_udp { "a" } else { "l" })]
        }
        Matter::Netfilter => vec![spot.run("nft list ruleset"), spot.run("iptables-save -c")],
        Matter::RpFilter => vec![
            spot.run(&format!(
                "sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.{}.rp_filter",
                // sysctl reads a dot as a slash: a VLAN's name has its dots swapped.
                dev.replace('.', "/")
            )),
            spot.route_to(src),
        ],
        Matter::Route => spot.routes(),
        Matter::Forwarding => {
            vec![spot.run(&format!("sysctl {}", spot.forwarding())), spot.iproute("ip", "addr")]
        }
        Matter::Multicast => vec![spot.iproute("ip", &format!("maddr show dev {dev}"))],
        Matter::Ttl => vec![spot.route_to(dst)],
        Matter::Mtu => vec![spot.route_to(dst), spot.iproute("ip", "link")],
        Matter::Neighbour => vec![spot.route_to(dst), spot.iproute("ip", "neigh")],
        Matter::Address | Matter::Ndisc => vec![link(), spot.iproute("ip", "addr")],
        Matter::ReceiveBuffer => {
            vec![spot.sockets("am"), spot.run("nstat -az '*RcvbufErrors' '*TCPBacklogDrop'")]
        }
        Matter::Backlog => vec![
            spot.sockets("l"),
            spot.run("nstat -az TcpExtListenOverflows TcpExtListenDrops"),
            spot.run("sysctl net.core.somaxconn net.ipv4.tcp_max_syn_backlog"),
        ],
        Matter::VlanFilter => vec![spot.iproute("bridge", "vlan show")],
        Matter::Bridge => {
            vec![
                spot.iproute("bridge", "-d link show"),
                spot.iproute("bridge", "fdb show"),
                spot.iproute("ip", "link show type bridge"),
            ]
        }
        Matter::Xdp => vec![link(), "bpftool prog show".to_owned()],
        Matter::Tc => vec![
            spot.iproute("tc", &format!("-s filter show dev {dev} ingress")),
            spot.iproute("tc", &format!("-s filter show dev {dev} egress")),
            spot.run("bpftool net show"),
        ],
        Matter::Qdisc => vec![spot.iproute("tc", &format!("-s qdisc show dev {dev}")), link()],
        Matter::Ring | Matter::Tap => vec![link(), readers_of(&dev)],
        Matter::Device => vec![link()],
        Matter::Tunnel => {
            // Tunnels are devices of their own: all of them, with their keys.
            let tunnels = spot.iproute("ip", "-d link show");
            vec![tunnels, spot.iproute("bridge", &format!("fdb show dev {dev}"))]
        }
        Matter::Ipsec => {
            vec![
                spot.iproute("ip", "-s xfrm policy"),
                spot.run("cat /proc/net/xfrm_stat"),
                spot.iproute("ip", "-s xfrm state"),
            ]
        }
        Matter::Ipv6 => vec![spot.run("sysctl -ar 'net.ipv6.conf.*.disable_ipv6'")],
        Matter::CpuBacklog => {
            vec![
                "cat /proc/net/softnet_stat".to_owned(),
                "sysctl net.core.netdev_max_backlog".into(),
            ]
        }
        Matter::Fragment => vec![
            spot.run(&format!("sysctl -ar 'net.{family}.*frag'")),
            spot.run("nstat -az '*Reasm*' '*Frag*'"),
        ],
        Matter::Tcp | Matter::TcpAuth | Matter::Socket => {
            vec![spot.sockets("aie"), spot.run("nstat -az 'TcpExt*'")]
        }
        Matter::Bpf => vec!["bpftool cgroup tree".to_owned()],
        Matter::Security => vec!["journalctl -k -g 'avc|apparmor'".to_owned()],
        Matter::Checksum => {
            vec![spot.run(&format!("ethtool -k {dev}")), spot.run("nstat -az '*Csum*' '*InErrors'")]
        }
        Matter::Ovs => vec!["ovs-appctl dpctl/dump-flows -m".into(), "ovs-vsctl show".into()],
        Matter::Memory => vec!["cat /proc/pressure/memory /proc/net/sockstat".into()],
        Matter::Header | Matter::Unknown => {
            let mut commands = vec![spot.run("nstat -az")];
            commands.extend(spot.dev.map(|_| link()));
            commands
        }
    }
}

/// Shows what tunnels Open vSwitch has.
pub const TUNNELS: &str = "ovs-vsctl --columns=name,type,options list interface";

/// The processes that hold a tap open (`fdinfo` of `/dev/net/tun` names it).
pub fn readers_of(dev: &str) -> String {
    format!("grep -sl \"iff:.*\"{dev} /proc/[0-9]*/fdinfo/*")
}

#[cfg(test)]
mod tests;
