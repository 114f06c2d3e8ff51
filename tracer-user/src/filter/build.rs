//! Collects the conditions of an expression and refuses those that cannot hold together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tracer_common::flow::{
    Addr, Filter, MAX_TERMS, SIDE_DST, SIDE_EITHER, SIDE_SRC, TERM_NET, TERM_PORT, Term, proto,
};

use super::words::Word;
use super::{error::FilterError, protos};

/// The filter so far, and what its words have committed it to.
#[derive(Default)]
pub(super) struct Builder {
    filter: Filter,
    /// The first address: all others must be of its family.
    family: Option<IpAddr>,
    has_port: bool,
    nets: Vec<(u8, IpNet)>,
}

impl Builder {
    pub fn filter(self) -> Filter {
        self.filter
    }

    /// An arrow was read: the replies belong to the flow too.
    pub fn follow_replies(&mut self) {
        self.filter.replies = 1;
    }

    /// Requires protocol `number`; `word` named it.
    pub fn proto(&mut self, number: u16, word: &Word) -> Result<(), FilterError> {
        let before = self.filter.proto;
        if before != 0 && before != number {
            let name = protos::name(before).unwrap_or("another");
            let said = word.quoted();
            return Err(word.error(format!("no packet is {name} and {said}; name one protocol")));
        }
        self.filter.proto = number;
        self.check_family(word)?;
        self.check_ports(word)
    }

    /// Requires the end `side` to be in `net`.
    pub fn net(&mut self, side: u8, net: IpNet, word: &Word) -> Result<(), FilterError> {
        let family = *self.family.get_or_insert(net.addr());
        if family.is_ipv4() != net.addr().is_ipv4() {
            return Err(word.error(format!("no packet has {family} and {} in it", net.addr())));
        }
        self.check_family(word)?;
        if side != SIDE_EITHER
            && let Some((_, other)) =
                self.nets.iter().find(|(s, o)| *s == side && disjoint(o, &net))
        {
            let end = side_name(side);
            let said = word.quoted();
            return Err(word.error(format!("no packet has a {end} in {other} and in {said}")));
        }
        self.nets.push((side, net));
        let (addr, mask) = words_of(&net, word)?;
        self.push(Term { addr, mask, kind: TERM_NET, side, ..Term::default() }, word)
    }

    /// Requires the end `side` to have `port`.
    pub fn port(&mut self, side: u8, port: u16, word: &Word) -> Result<(), FilterError> {
        self.has_port = true;
        self.check_ports(word)?;
        let known = &self.filter.terms[..self.filter.n_terms as usize];
        let clash = |t: &&Term| t.kind == TERM_PORT && t.side == side && t.port != port;
        if side != SIDE_EITHER
            && let Some(other) = known.iter().find(clash)
        {
            let (end, other) = (side_name(side), other.port);
            return Err(word.error(format!("no packet has the {end} ports {other} and {port}")));
        }
        self.push(Term { port, kind: TERM_PORT, side, ..Term::default() }, word)
    }

    fn push(&mut self, term: Term, word: &Word) -> Result<(), FilterError> {
        let n = self.filter.n_terms as usize;
        let Some(slot) = self.filter.terms.get_mut(n) else {
            return Err(word.error(format!("a filter holds at most {MAX_TERMS} conditions")));
        };
        *slot = term;
        self.filter.n_terms += 1;
        Ok(())
    }

    fn check_family(&self, word: &Word) -> Result<(), FilterError> {
        let Some(family) = self.family else {
            return Ok(());
        };
        let wanted = match self.filter.proto {
            proto::ICMP | proto::ARP if family.is_ipv6() => "IPv4",
            proto::ICMP6 if family.is_ipv4() => "IPv6",
            _ => return Ok(()),
        };
        let name = protos::name(self.filter.proto).unwrap_or("this protocol");
        Err(word.error(format!("{name} has {wanted} addresses only, and {family} is none")))
    }

    fn check_ports(&self, word: &Word) -> Result<(), FilterError> {
        match self.filter.proto {
            0 | proto::TCP | proto::UDP | proto::SCTP => Ok(()),
            _ if !self.has_port => Ok(()),
            number => {
                let name = protos::name(number).unwrap_or("this protocol");
                Err(word.error(format!("{name} has no ports; tcp, udp and sctp have")))
            }
        }
    }
}

fn side_name(side: u8) -> &'static str {
    match side {
        SIDE_SRC => "source",
        SIDE_DST => "destination",
        _ => "either",
    }
}

fn disjoint(a: &IpNet, b: &IpNet) -> bool {
    !a.contains(b) && !b.contains(a)
}

/// Address and mask as the kernel side compares them: IPv4 in its mapped form, with the 96 bits
/// above it always compared, so that an IPv4 net never matches IPv6.
fn words_of(net: &IpNet, word: &Word) -> Result<(Addr, Addr), FilterError> {
    let v6 = match net {
        IpNet::V4(v4) => {
            let [a, b, c, d] = v4.netmask().octets();
            let low = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, a, b, c, d]);
            return Ok((Addr::v4(v4.network().octets()), Addr::v6(!0, low)));
        }
        IpNet::V6(v6) => v6,
    };
    // The mapped form of RFC 4291, 2.5.5.2 is how IPv4 is told apart.
    if v6.network().to_ipv4_mapped().is_some() {
        return Err(word.error(format!("write the IPv4 address in {} plainly", word.quoted())));
    }
    if v6.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()) {
        let said = word.quoted();
        let message = format!("{said} takes in ::ffff:0:0/96, which is IPv4; name a narrower net");
        return Err(word.error(message));
    }
    Ok((in_network_order(v6.network()), in_network_order(v6.netmask())))
}

fn in_network_order(addr: Ipv6Addr) -> Addr {
    let bits = addr.to_bits();
    Addr::v6(((bits >> 64) as u64).to_be(), (bits as u64).to_be())
}
