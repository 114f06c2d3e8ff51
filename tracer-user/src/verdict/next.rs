//! The commands worth running next, for each matter.

use crate::model::{HookName, Netns, Proto};
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::verdict::matter::Matter;
use crate::verdict::words::shell;

/// Where commands are to be run: a namespace, a device, and the flow as it was there.
#[derive(Debug)]
pub struct Spot<'a> {
    netns: Option<&'a Netns>,
    dev: Option<&'a str>,
    tuple: Option<FlowTuple>,
    /// Routing looked for a way for what had come in by this device, or for what the host itself
    /// sends.
    way: Option<Way<'a>>,
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
    let dev = at.dev.as_deref().or_else(|| came?.dev.as_deref())?;
    (is_in && dev.kind.as_deref() != Some("loopback")).then_some(Way::In(dev.name.as_str()))
}

impl<'a> Spot<'a> {
    /// At a hop; what it does not say is taken from the hop before.
    pub fn new(at: &'a Sight, before: Option<&'a Sight>) -> Self {
        let either = [Some(at), before];
        let seen = || either.iter().flatten();
        Self {
            netns: seen().find_map(|s| s.netns.as_deref()),
            dev: seen().find_map(|s| s.dev.as_ref().map(|d| d.name.as_str())),
            tuple: seen().find_map(|s| s.tuple),
            way: way(at, before),
        }
    }

    /// As [`Spot::new`], about another flow than the packet's own.
    pub fn about(at: &'a Sight, tuple: FlowTuple) -> Self {
        Self { tuple: Some(tuple), ..Self::new(at, None) }
    }

    /// Where no packet is at hand.
    pub fn at(netns: Option<&'a Netns>, dev: Option<&'a str>) -> Self {
        Self { netns, dev, tuple: None, way: None }
    }

    /// Any command, to be run in the namespace.
    pub fn run(&self, command: &str) -> String {
        match self.netns {
            None => command.to_owned(),
            Some(netns) => match netns.name.as_deref() {
                Some("host") => command.to_owned(),
                Some(name) => format!("ip netns exec {} {command}", shell(name)),
                None => in_unnamed(netns.inode, command),
            },
        }
    }

    /// A command of iproute2 that takes a namespace's name with `-n`.
    pub fn iproute(&self, tool: &str, arguments: &str) -> String {
        match self.netns.and_then(|n| n.name.as_deref()) {
            Some(name) if name != "host" => format!("{tool} -n {} {arguments}", shell(name)),
            _ => self.run(&format!("{tool} {arguments}")),
        }
    }

    /// The flow is one of IPv6.
    pub fn is_v6(&self) -> bool {
        self.tuple.is_some_and(|t| t.dst.is_ipv6())
    }

    fn dev(&self) -> String {
        self.dev.map_or_else(|| "DEV".to_owned(), shell)
    }

    fn family(&self) -> &'static str {
        if self.tuple.is_some_and(|t| t.dst.is_ipv6()) { "ipv6" } else { "ipv4" }
    }

    fn route_to(&self, addr: Option<std::net::IpAddr>) -> String {
        match addr {
            Some(addr) => self.iproute("ip", &format!("route get {addr}")),
            None => self.iproute("ip", "route"),
        }
    }

    /// The route as the packet met it: rules may go by its source, and by where it came from.
    pub fn way_on(&self) -> String {
        let Some(tuple) = self.tuple.filter(|t| !t.src.is_unspecified() && !t.src.is_multicast())
        else {
            return self.route_to(self.tuple.map(|t| t.dst));
        };
        let from = format!("route get {} from {}", tuple.dst, tuple.src);
        match self.way {
            Some(Way::In(dev)) => self.iproute("ip", &format!("{from} iif {}", shell(dev))),
            Some(Way::Out) => self.iproute("ip", &from),
            None => self.route_to(Some(tuple.dst)),
        }
    }

    /// Every route that holds for the destination, and every rule: `route get` does not name the
    /// one that refuses it.
    fn routes(&self) -> Vec<String> {
        let family = if self.is_v6() { "-6 " } else { "" };
        let all = self.tuple.map(|t| format!("{family}route show table all match {}", t.dst));
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
fn in_unnamed(inode: u32, command: &str) -> String {
    format!(
        "nsenter -n -t \"$(lsns -t net -nro NS,PID | awk '$1 == {inode} {{ print $2; exit }}')\" {command}"
    )
}

/// The commands worth running about a drop.
pub fn commands(matter: Matter, spot: &Spot<'_>) -> Vec<String> {
    let (dst, src) = (spot.tuple.map(|t| t.dst), spot.tuple.map(|t| t.src));
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

/// The processes that hold a tap open (`fdinfo` of `/dev/net/tun` names it).
pub fn readers_of(dev: &str) -> String {
    format!("grep -sl \"iff:.*\"{dev} /proc/[0-9]*/fdinfo/*")
}

#[cfg(test)]
mod tests {
    use crate::model::HookName::{Drop, TcIngress};
    use crate::model::{Hop, Tuple};
    use crate::reconstruct::Story;
    use crate::reconstruct::testing::{HopExt, hop, tuple};

    /// Text and commands of the verdict about a packet that came in by `r`'s `c0` and died there.
    fn told(reason: &str, symbol: &str, flow: Tuple) -> (String, Vec<String>) {
        let at = |hop: Hop| hop.on("r", "c0", Some("veth")).paired().tuple(flow);
        let mut story = Story::new();
        story.observe(&mut at(hop(TcIngress, 1, 1)));
        story.observe(&mut at(hop(Drop, 2, 1)).because(Some(reason), symbol));
        let verdict = story.finish(20_000_000_000).1.remove(0);
        (verdict.text, verdict.next)
    }

    #[test]
    fn each_death_has_words_and_commands_of_its_own() {
        let v4 = tuple("udp", "10.0.0.1", 1, "10.0.0.2", 2);
        let v6 = tuple("udp", "fd05:1::2", 1, "fd05:2::2", 2);
        let group = tuple("udp", "10.0.0.1", 1, "239.1.1.1", 2);
        let (way4, way6) = (
            "ip -n r route get 10.0.0.2 from 10.0.0.1 iif c0",
            "ip -n r route get fd05:2::2 from fd05:1::2 iif c0",
        );
        let link = "ip -n r -s -d link show dev c0";
        let cases: [(&str, &str, Tuple, &str, &[&str]); 14] = [
            (
                "NOT_SPECIFIED",
                "__dev_forward_skb2",
                v4,
                "its MTU is smaller",
                &["ip -n r -s -d link show dev c0"],
            ),
            (
                "NOT_SPECIFIED",
                "br_nf_dev_queue_xmit",
                v4,
                "bigger than the MTU of the bridge's port",
                &["ip -n r -s -d link show dev c0"],
            ),
            (
                "IP_INNOROUTES",
                "ip_error",
                v4,
                "no route to the destination",
                &[way4, "ip -n r route show table all match 10.0.0.2", "ip -n r rule"],
            ),
            ("NOT_SPECIFIED", "ip_error", v4, "blackhole, unreachable or prohibit", &[way4]),
            (
                "IP_INNOROUTES",
                "ip6_pkt_prohibit",
                v6,
                "says prohibit",
                &[way6, "ip -n r -6 route show table all match fd05:2::2", "ip -n r -6 rule"],
            ),
            ("IP_INNOROUTES", "ip6_pkt_discard", v6, "says unreachable", &[way6]),
            (
                "IP_OUTNOROUTES",
                "ip6_pkt_discard_out",
                v6,
                "on output",
                &["ip -n r route get fd05:2::2 from fd05:1::2"],
            ),
            (
                "NOT_SPECIFIED",
                "ip_rcv_finish_core",
                group,
                "nobody on this host has joined",
                &["ip -n r maddr show dev c0"],
            ),
            (
                "IP_RPFILTER",
                "ip_rcv_finish_core",
                group,
                "reverse-path",
                &["ip netns exec r sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.c0.rp_filter"],
            ),
            (
                "NOT_SPECIFIED",
                "br_handle_frame_finish",
                v4,
                "isolated",
                &["bridge -n r -d link show"],
            ),
            (
                "NOT_SPECIFIED",
                "ip_defrag",
                v4,
                "ipfrag_high_thresh",
                &["ip netns exec r sysctl -ar 'net.ipv4.*frag'"],
            ),
            (
                "XFRM_POLICY",
                "ip_forward",
                v4,
                "IPsec",
                &[
                    "ip -n r -s xfrm policy",
                    "ip netns exec r cat /proc/net/xfrm_stat",
                    "ip -n r -s xfrm state",
                ],
            ),
            ("NOT_SPECIFIED", "dst_discard_out", v6, "a blackhole", &[way6]),
            ("IP_LOCAL_SOURCE", "ip_rcv_finish_core", v4, "a martian", &[link, "ip -n r addr"]),
        ];
        for (reason, symbol, flow, words, commands) in cases {
            let (text, next) = told(reason, symbol, flow);
            assert!(text.contains(words), "{reason} {symbol}: {text}");
            assert_eq!(next[..commands.len()], *commands, "{reason} {symbol}");
        }
    }
}
