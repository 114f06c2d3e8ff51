//! A filter as text that [`super::parse`] reads back as the same filter.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use tracer_common::flow::{Filter, SIDE_DST, SIDE_SRC, TERM_PORT, Term};

use super::protos;

/// The expression that means `filter`; empty for the one that matches everything. A filter that
/// [`super::parse`] did not make may have no expression, and then gets the nearest one.
pub fn describe(filter: &Filter) -> String {
    let terms = &filter.terms[..filter.terms.len().min(filter.n_terms as usize)];
    let proto = protos::name(filter.proto);
    if filter.replies != 0 {
        let (src, dst) = (endpoint(terms, SIDE_SRC), endpoint(terms, SIDE_DST));
        return format!("{}{src} -> {dst}", proto.map(|p| format!("{p} ")).unwrap_or_default());
    }
    let mut parts: Vec<String> = proto.into_iter().map(str::to_owned).collect();
    parts.extend(terms.iter().map(term));
    parts.join(" and ")
}

fn term(term: &Term) -> String {
    let side = match term.side {
        SIDE_SRC => "src ",
        SIDE_DST => "dst ",
        _ => "",
    };
    if term.kind == TERM_PORT {
        return format!("{side}port {}", term.port);
    }
    let net = network(term);
    if net.prefix_len() == net.max_prefix_len() {
        format!("{side}host {}", net.addr())
    } else {
        format!("{side}net {net}")
    }
}

fn endpoint(terms: &[Term], side: u8) -> String {
    let mut of_side = terms.iter().filter(|t| t.side == side);
    let host = of_side.clone().find(|t| t.kind != TERM_PORT).map(|t| network(t).addr());
    let mut text = match host {
        Some(IpAddr::V6(v6)) => format!("[{v6}]"),
        Some(IpAddr::V4(v4)) => v4.to_string(),
        None => "*".to_owned(),
    };
    if let Some(port) = of_side.find(|t| t.kind == TERM_PORT) {
        // Writing to a String cannot fail.
        let _ = write!(text, ":{}", port.port);
    }
    text
}

fn network(term: &Term) -> IpNet {
    let ones = term.mask.octets().iter().map(|b| b.count_ones()).sum::<u32>();
    let addr = Ipv6Addr::from(term.addr.octets());
    let (addr, len) = match addr.to_ipv4_mapped() {
        Some(v4) => (IpAddr::V4(v4), ones.saturating_sub(96)),
        None => (IpAddr::V6(addr), ones),
    };
    IpNet::new(addr, len as u8).unwrap_or_else(|_| IpNet::from(addr))
}
