use proptest::prelude::*;
use tracer_common::flow::{
    Addr, Filter, SIDE_DST, SIDE_EITHER, SIDE_SRC, TERM_NET, TERM_PORT, Term, Tuple, proto,
};

use super::{describe, parse};

const ALL: Addr = Addr([!0, !0]);

fn v4(octets: [u8; 4]) -> Addr {
    Addr::v4(octets)
}

fn v6(text: &str) -> Addr {
    let octets = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let half = |i: usize| u64::from_ne_bytes(octets[i..i + 8].try_into().unwrap());
    Addr::v6(half(0), half(8))
}

fn host(side: u8, addr: Addr) -> Term {
    Term { addr, mask: ALL, kind: TERM_NET, side, ..Term::default() }
}

fn port(side: u8, port: u16) -> Term {
    Term { port, kind: TERM_PORT, side, ..Term::default() }
}

fn filter(proto: u16, replies: u16, terms: &[Term]) -> Filter {
    let mut filter = Filter { proto, replies, n_terms: terms.len() as u32, ..Filter::default() };
    filter.terms[..terms.len()].copy_from_slice(terms);
    filter
}

#[track_caller]
fn is(text: &str, expected: &Filter) {
    assert_eq!(parse(text).as_ref(), Ok(expected), "{text}");
}

/// The column of the error, which must be one line that contains `said`.
#[track_caller]
fn refused(text: &str, column: usize, said: &str) {
    let error = parse(text).expect_err(text);
    let line = error.to_string();
    assert_eq!(error.column, column, "{text}: {line}");
    assert!(line.starts_with(&format!("column {column}: ")), "{line}");
    assert!(line.contains(said), "{text}: {line}");
    assert!(!line.contains(char::is_control), "{line:?}");
}

#[test]
fn nothing_asked_for_matches_everything() {
    is("", &Filter::default());
    is("  \t ", &Filter::default());
}

#[test]
fn terms() {
    is("tcp", &filter(proto::TCP, 0, &[]));
    is("udp and port 53", &filter(proto::UDP, 0, &[port(SIDE_EITHER, 53)]));
    is(
        "src host 10.0.0.1 and dst port 443 and tcp",
        &filter(proto::TCP, 0, &[host(SIDE_SRC, v4([10, 0, 0, 1])), port(SIDE_DST, 443)]),
    );
    is("icmp6 and host fd00::1", &filter(proto::ICMP6, 0, &[host(SIDE_EITHER, v6("fd00::1"))]));
    is("arp and host 10.0.0.9", &filter(proto::ARP, 0, &[host(SIDE_EITHER, v4([10, 0, 0, 9]))]));
    is("sctp port 36412", &filter(proto::SCTP, 0, &[port(SIDE_EITHER, 36412)]));
    is("tcp dst port 80", &filter(proto::TCP, 0, &[port(SIDE_DST, 80)]));
}

#[test]
fn networks_compare_only_their_prefix_and_their_family() {
    let parsed = parse("dst net 10.96.0.0/12").unwrap();
    let at = |dst: [u8; 4]| Tuple { dst: v4(dst), ..Tuple::default() };
    assert!(parsed.matches(&at([10, 111, 255, 255])));
    assert!(!parsed.matches(&at([10, 112, 0, 0])));
    let any4 = parse("src net 0.0.0.0/0").unwrap();
    assert!(any4.matches(&Tuple { src: v4([1, 2, 3, 4]), ..Tuple::default() }));
    assert!(!any4.matches(&Tuple { src: v6("fd00::1"), ..Tuple::default() }));
    let net6 = parse("src net fd00:1:2::/47").unwrap();
    assert!(net6.matches(&Tuple { src: v6("fd00:1:3:ffff::1"), ..Tuple::default() }));
    assert!(!net6.matches(&Tuple { src: v6("fd00:1:4::1"), ..Tuple::default() }));
    is("net 10.0.0.1/32", &parse("host 10.0.0.1").unwrap());
}

#[test]
fn arrows() {
    let both = [
        host(SIDE_SRC, v4([10, 0, 0, 1])),
        port(SIDE_SRC, 4242),
        host(SIDE_DST, v4([10, 96, 0, 1])),
        port(SIDE_DST, 443),
    ];
    is("tcp 10.0.0.1:4242 -> 10.96.0.1:443", &filter(proto::TCP, 1, &both));
    is("10.0.0.1:4242->10.96.0.1:443", &filter(0, 1, &both));
    is("* 10.0.0.1:4242 -> 10.96.0.1:443", &filter(0, 1, &both));
    is("udp * -> *:53", &filter(proto::UDP, 1, &[port(SIDE_DST, 53)]));
    is("udp -> :53", &filter(proto::UDP, 1, &[port(SIDE_DST, 53)]));
    is("10.0.0.1 ->", &filter(0, 1, &both[..1]));
    is("10.0.0.1:* -> *:*", &filter(0, 1, &both[..1]));
    is("icmp 10.0.0.1 -> *", &filter(proto::ICMP, 1, &both[..1]));
    is("->", &filter(0, 1, &[]));
    is(
        "[fd00::1]:443 -> [fd00::2]",
        &filter(
            0,
            1,
            &[host(SIDE_SRC, v6("fd00::1")), port(SIDE_SRC, 443), host(SIDE_DST, v6("fd00::2"))],
        ),
    );
}

#[test]
fn an_arrow_follows_the_replies() {
    let arrow = parse("tcp 10.0.0.1:4242 -> *:443").unwrap();
    let there = Tuple {
        src: v4([10, 0, 0, 1]),
        dst: v4([9, 9, 9, 9]),
        sport: 4242,
        dport: 443,
        proto: proto::TCP,
        has_ports: 1,
    };
    assert!(arrow.matches(&there) && arrow.matches(&there.reversed()));
    assert!(!arrow.matches(&Tuple { sport: 443, dport: 4242, ..there }));
}

#[test]
fn what_the_grammar_has_not_is_refused_where_it_stands() {
    refused("tpc", 1, "`tpc` cannot stand here");
    refused("tcp and prot 53", 9, "[src|dst] port N");
    refused("tcp or udp", 5, "no such word");
    refused("not tcp", 1, "no such word");
    refused("ip and host 10.0.0.1", 1, "no such word");
    refused("tcp and (port 1)", 9, "no such sign");
    refused("portrange 1-5", 1, "no such word");
    refused("tcp && port 53", 5, "write `and`");
    refused("TCP", 1, "lower case");
    refused("tcp AND port 1", 5, "lower case");
    refused("10.0.0.1", 1, "needs `host`");
    refused("src 10.0.0.1", 5, "host, net or port after `src`");
    refused("tcp 10.0.0.1:1", 5, "no `->`");
    refused("tcp 10.0.0.1:1 -", 5, "quote the filter");
    refused("tcp -", 5, "in quotes");
    refused("tcp 1", 5, "expected `and` or the end");
    refused("port 53 udp", 9, "expected `and` or the end");
    refused("ünd and port 53", 1, "cannot stand");
    refused("tcp ünd port 53", 5, "cannot stand");
    refused("udp and  host  ä.b", 16, "no IP address");
    refused("a\u{1b}[2J\nb", 1, "cannot stand");
}

#[test]
fn what_is_cut_short_is_refused_at_its_last_word() {
    refused("tcp and", 5, "needs one more");
    refused("and", 1, "cannot stand here");
    refused("host", 1, "needs an address");
    refused("tcp and src", 9, "needs host, net or port");
    refused("src net", 5, "needs a network");
    refused("udp and port", 9, "needs a port number");
}

#[test]
fn bad_values_are_refused() {
    refused("port 0", 6, "from 1 to 65535");
    refused("port 65536", 6, "from 1 to 65535");
    refused("port 99999999999999999999", 6, "from 1 to 65535");
    refused("port +53", 6, "from 1 to 65535");
    refused("port domain", 6, "from 1 to 65535");
    refused("host 300.1.1.1", 6, "no IP address");
    refused("host 10.0.0.1/8", 6, "net A/L");
    refused("host example.org", 6, "not looked up");
    refused("host [fd00::1]", 6, "brackets are for arrows");
    refused("net 10.0.0.0", 5, "no prefix length");
    refused("net 10.0.0.0/33", 5, "0 to 32");
    refused("net 10.0.0.0/", 5, "0 to 32");
    refused("net fd00::/129", 5, "0 to 128");
    refused("net 10.0.0.1/8", 5, "the network is 10.0.0.0/8");
    refused("net fd00::1/64", 5, "the network is fd00::/64");
    refused("net ::/0", 5, "IPv4");
    refused("host ::ffff:10.0.0.1", 6, "plainly");
}

#[test]
fn contradictions_are_refused_at_the_word_that_makes_them() {
    refused("tcp and udp", 9, "one protocol");
    refused("icmp and port 1", 15, "no ports");
    refused("port 1 and arp", 12, "no ports");
    refused("icmp and host fd00::1", 15, "IPv4");
    refused("host 10.0.0.1 and icmp6", 19, "IPv6");
    refused("arp and net fd00::/64", 13, "IPv4");
    refused("src host 10.0.0.1 and dst host fd00::1", 32, "no packet has");
    refused("src host 10.0.0.1 and src host 10.0.0.2", 32, "source");
    refused("src net 10.0.0.0/8 and src net 11.0.0.0/8", 32, "source");
    refused("dst port 1 and dst port 2", 25, "destination ports");
    assert!(parse("src net 10.0.0.0/8 and src host 10.0.0.1").is_ok());
    assert!(parse("port 1 and port 2").is_ok(), "one at each end");
    let nine = ["port 1"; 9].join(" and ");
    refused(&nine, 6 + 8 * 11, "at most 8");
}

#[test]
fn bad_arrows_are_refused() {
    refused("10.0.0.1 -> 10.0.0.2 -> 10.0.0.3", 22, "nothing after");
    refused("-> ->", 4, "expected A");
    refused("tcp 10.0.0.1 -> 10.0.0.2 and port 1", 26, "nothing after");
    refused("fd00::1 -> *", 1, "[fd00::1]");
    refused("[fd00::1 -> *", 1, "cannot stand");
    refused("[10.0.0.1] -> *", 1, "no IPv6 address");
    refused("[fd00::1]443 -> *", 1, "cannot stand");
    refused("10.0.0.1:0 -> *", 10, "from 1 to 65535");
    refused("10.0.0.1: -> *", 9, "lacks a port");
    refused("-> :", 4, "lacks a port");
    refused("10.0.0.0/8 -> *", 1, "use src net");
    refused("foo 10.0.0.1 -> *", 1, "a protocol");
    refused("tcp udp 10.0.0.1 -> *", 5, "cannot stand");
    refused("tcp 10.0.0.1 10.0.0.2 -> *", 14, "`->`");
    refused("icmp 10.0.0.1 -> 10.0.0.2:5", 27, "no ports");
    refused("10.0.0.1 -> [fd00::1]", 13, "no packet has");
    refused("* -> tcp", 6, "cannot stand");
}

/// Expressions of terms that can hold together.
fn any_terms() -> impl Strategy<Value = String> {
    let side = || prop::sample::select(vec!["", "src ", "dst "]);
    let addr4 = (side(), any::<u32>(), 0..=32u8).prop_map(|(s, a, len)| {
        let net = ipnet::Ipv4Net::new(a.into(), len).unwrap().trunc();
        format!("{s}net {net}")
    });
    let addr6 = (side(), any::<u128>(), 17..=128u8).prop_map(|(s, a, len)| {
        let addr = std::net::Ipv6Addr::from_bits(a | 1 << 127);
        format!("{s}net {}", ipnet::Ipv6Net::new(addr, len).unwrap().trunc())
    });
    let port = (side(), 1..=u16::MAX).prop_map(|(s, p)| format!("{s}port {p}"));
    let proto = prop::sample::select(vec!["tcp", "udp", "sctp", "icmp", "icmp6", "arp"]);
    let term = prop_oneof![
        addr4.prop_map_into(),
        addr6.prop_map_into(),
        port.prop_map_into(),
        proto.prop_map(str::to_owned)
    ];
    prop::collection::vec(term, 0..=4).prop_map(|t| t.join(" and "))
}

fn any_arrow() -> impl Strategy<Value = String> {
    let end = || {
        let host = prop_oneof![
            Just("*".to_owned()),
            any::<std::net::Ipv4Addr>().prop_map(|a| a.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|a| format!("[{a}]")),
        ];
        let port = prop_oneof![Just(String::new()), any::<u16>().prop_map(|p| format!(":{p}"))];
        (host, port).prop_map(|(h, p)| h + &p)
    };
    let proto = prop::sample::select(vec!["", "tcp ", "udp ", "icmp ", "icmp6 ", "* "]);
    (proto, end(), end()).prop_map(|(p, a, b)| format!("{p}{a} -> {b}"))
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same_filter(
        text in prop_oneof![any_terms(), any_arrow()],
    ) {
        // Some of these contradict themselves; those have no filter to print.
        if let Ok(filter) = parse(&text) {
            prop_assert_eq!(parse(&describe(&filter)), Ok(filter), "{} as {}", text, describe(&filter));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_jumble_of_words_panics_and_every_column_is_in_the_text(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "tcp", "arp", "icmp6", "src", "dst", "host", "net", "port", "and", "->", "*", "[",
                "]", ":", "::", "[fd00::1]:1", "10.0.0.1", "10.0.0.0/8", "0", "é", "/", "-", "1:2:",
            ]),
            0..12,
        ),
        glue in prop::sample::select(vec![" ", ""]),
    ) {
        let text = words.join(glue);
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count()).contains(&error.column), "{text}: {error}");
        }
    }

    #[test]
    fn no_filter_panics_the_printer(
        terms in prop::collection::vec((any::<[u64; 4]>(), any::<u16>(), any::<u8>(), any::<u8>()), 8),
        n_terms in any::<u32>(), number in any::<u16>(), replies in 0..2u16,
    ) {
        let mut filter = Filter { n_terms, proto: number, replies, ..Filter::default() };
        for (slot, (w, port, kind, side)) in filter.terms.iter_mut().zip(terms) {
            *slot = Term { addr: Addr([w[0], w[1]]), mask: Addr([w[2], w[3]]), port, kind, side, pad: 0 };
        }
        let _ = describe(&filter);
    }
}
