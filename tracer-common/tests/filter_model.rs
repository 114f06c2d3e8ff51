//! The filter held against its meaning, written down once more and as plainly as can be.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use tracer_common::flow::{
    Addr, Filter, MAX_TERMS, SIDE_DST, SIDE_EITHER, SIDE_SRC, TERM_NET, TERM_PORT, Term, Tuple,
    proto,
};

/// One end of a packet; without a port where the packet has none.
type End = (IpAddr, Option<u16>);

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Net(IpAddr, u8),
    Port(u16),
}

#[derive(Clone, Debug)]
struct Model {
    terms: Vec<(u8, Wanted)>,
    proto: Option<u16>,
    replies: bool,
}

fn in_net(addr: IpAddr, net: IpAddr, len: u8) -> bool {
    let bits = |a: IpAddr| -> String {
        match a {
            IpAddr::V4(a) => format!("{:032b}", a.to_bits()),
            IpAddr::V6(a) => format!("{:0128b}", a.to_bits()),
        }
    };
    addr.is_ipv4() == net.is_ipv4()
        && bits(addr)[..usize::from(len)] == bits(net)[..usize::from(len)]
}

impl Wanted {
    fn at(self, end: End) -> bool {
        match self {
            Wanted::Net(net, len) => in_net(end.0, net, len),
            Wanted::Port(port) => end.1 == Some(port),
        }
    }
}

impl Model {
    fn one_way(&self, src: End, dst: End) -> bool {
        self.terms.iter().all(|(side, wanted)| match *side {
            SIDE_SRC => wanted.at(src),
            SIDE_DST => wanted.at(dst),
            _ => wanted.at(src) || wanted.at(dst),
        })
    }

    fn matches(&self, proto: u16, src: End, dst: End) -> bool {
        self.proto.is_none_or(|wanted| wanted == proto)
            && (self.one_way(src, dst) || self.replies && self.one_way(dst, src))
    }

    fn filter(&self) -> Filter {
        // What stands behind the last term is not looked at: here, terms that nothing satisfies.
        let never =
            Term { addr: Addr([1; 2]), mask: Addr([!0; 2]), kind: TERM_NET, ..Term::default() };
        let mut filter = Filter {
            terms: [never; MAX_TERMS],
            n_terms: self.terms.len() as u32,
            proto: self.proto.unwrap_or(0),
            replies: u16::from(self.replies),
        };
        for (slot, (side, wanted)) in filter.terms.iter_mut().zip(&self.terms) {
            *slot = match *wanted {
                Wanted::Port(port) => {
                    Term { port, kind: TERM_PORT, side: *side, ..Term::default() }
                }
                Wanted::Net(net, len) => {
                    let ones = |len: u8| u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                    let mask = ones(if net.is_ipv4() { 96 + len } else { len });
                    Term {
                        addr: addr_of_bits(bits(net) & mask),
                        mask: addr_of_bits(mask),
                        kind: TERM_NET,
                        side: *side,
                        ..Term::default()
                    }
                }
            };
        }
        filter
    }
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => a.to_ipv6_mapped().to_bits(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn addr_of_bits(bits: u128) -> Addr {
    let b = bits.to_be_bytes();
    let (high, low) = b.split_at(8);
    Addr::v6(
        u64::from_ne_bytes(high.try_into().unwrap()),
        u64::from_ne_bytes(low.try_into().unwrap()),
    )
}

/// Few values, so that conditions often hold, near to the edges of nets.
fn addr() -> impl Strategy<Value = IpAddr> {
    let last = prop_oneof![Just(0_u8), Just(1), Just(127), Just(128), Just(255)];
    (any::<bool>(), 0_u8..2, last).prop_map(|(v4, third, last)| {
        if v4 {
            IpAddr::V4(Ipv4Addr::new(10, 0, third, last))
        } else {
            IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, u16::from(third), 0, 0, 0, u16::from(last)))
        }
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0_u16), Just(80), Just(443), Just(0x5000), Just(u16::MAX)]
}

fn protocol() -> impl Strategy<Value = u16> {
    prop_oneof![Just(proto::TCP), Just(proto::UDP), Just(proto::ICMP), Just(proto::ARP)]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let net = (addr(), 0_u8..=128).prop_map(|(net, len)| match net {
        IpAddr::V4(_) => Wanted::Net(net, len.min(32)),
        // Nets so wide that IPv4's place in IPv6 is in them cannot be written (the grammar
        // refuses them).
        IpAddr::V6(_) => Wanted::Net(net, len.max(1)),
    });
    prop_oneof![net, port().prop_map(Wanted::Port)]
}

fn model() -> impl Strategy<Value = Model> {
    let side = prop_oneof![Just(SIDE_EITHER), Just(SIDE_SRC), Just(SIDE_DST)];
    let most = prop_oneof![4 => vec((side.clone(), wanted()), 0..=2),
                           1 => vec((side, wanted()), 0..=MAX_TERMS)];
    (most, proptest::option::weighted(0.3, protocol()), any::<bool>())
        .prop_map(|(terms, proto, replies)| Model { terms, proto, replies })
}

/// Both ends have ports or neither has.
fn ends() -> impl Strategy<Value = (End, End)> {
    (addr(), addr(), proptest::option::of((port(), port())))
        .prop_map(|(src, dst, ports)| ((src, ports.map(|p| p.0)), (dst, ports.map(|p| p.1))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn a_filter_means_what_it_says(
        model in model(), proto in protocol(), (src, dst) in ends(),
    ) {
        let tuple = Tuple {
            src: addr_of_bits(bits(src.0)),
            dst: addr_of_bits(bits(dst.0)),
            sport: src.1.unwrap_or(0),
            dport: dst.1.unwrap_or(0),
            proto,
            has_ports: u16::from(src.1.is_some()),
        };
        let filter = model.filter();
        prop_assert_eq!(filter.matches(&tuple), model.matches(proto, src, dst));
        if model.replies {
            prop_assert_eq!(filter.matches(&tuple), filter.matches(&tuple.reversed()));
        }
    }
}

#[test]
fn both_forms_of_an_ipv4_address_are_one() {
    for a in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 9, 8, 7), Ipv4Addr::BROADCAST] {
        assert_eq!(Addr::v4(a.octets()), addr_of_bits(bits(a.into())));
        assert_eq!(Addr::v4(a.octets()).octets(), a.to_ipv6_mapped().octets());
    }
}
