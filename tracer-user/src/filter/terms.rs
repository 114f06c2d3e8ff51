//! The form of terms joined by `and`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use tracer_common::flow::{SIDE_DST, SIDE_EITHER, SIDE_SRC};

use super::build::Builder;
use super::words::Word;
use super::{error::FilterError, protos};

/// What may begin a term, for messages.
const TERM: &str = "tcp, udp, icmp, icmp6, sctp, arp, [src|dst] host A, [src|dst] net A/L, \
                    [src|dst] port N, or an arrow A:N -> B:M";

/// Reads all of `words`.
pub(super) fn read(words: &[Word], builder: &mut Builder) -> Result<(), FilterError> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if let Some(number) = protos::number(word) {
            builder.proto(number, word)?;
            // As in tcpdump, `tcp port 80` is short for `tcp and port 80`.
            if rest.as_slice().first().is_some_and(begins_condition) {
                continue;
            }
        } else {
            condition(word, &mut rest, builder)?;
        }
        let Some(joint) = rest.next() else { break };
        if joint.text != "and" {
            return Err(stray(joint, "`and` or the end"));
        }
        if rest.as_slice().is_empty() {
            return Err(joint.error(format!("`and` needs one more of {TERM} after it")));
        }
    }
    Ok(())
}

fn begins_condition(word: &Word) -> bool {
    matches!(word.text, "src" | "dst" | "host" | "net" | "port")
}

/// `[src|dst] host A`, `[src|dst] net A/L` or `[src|dst] port N`, of which `first` is the first word.
fn condition(
    first: &Word,
    rest: &mut std::slice::Iter<Word>,
    builder: &mut Builder,
) -> Result<(), FilterError> {
    let side = match first.text {
        "src" => SIDE_SRC,
        "dst" => SIDE_DST,
        _ => SIDE_EITHER,
    };
    let kind = if side == SIDE_EITHER { first } else { after(first, rest, "host, net or port")? };
    match kind.text {
        "host" => {
            let word = after(kind, rest, "an address")?;
            builder.net(side, IpNet::from(address(word)?), word)
        }
        "net" => {
            let word = after(kind, rest, "a network A/L")?;
            builder.net(side, network(word)?, word)
        }
        "port" => {
            let word = after(kind, rest, "a port number")?;
            builder.port(side, port(word)?, word)
        }
        _ if side != SIDE_EITHER => {
            Err(kind.error(unexpected(kind, &format!("host, net or port after `{}`", first.text))))
        }
        _ => Err(stray(first, TERM)),
    }
}

/// Refuses `word` where a term or what joins two may stand.
fn stray(word: &Word, allowed: &str) -> FilterError {
    let said = word.text;
    if said.parse::<SocketAddr>().is_ok() {
        return word.error(format!(
            "`{said}` is an end of an arrow, and there is no `->` (quote the filter: the shell takes \
             `>` for itself)"
        ));
    }
    if said.parse::<IpAddr>().is_ok() {
        return word.error(format!(
            "`{said}` needs `host` before it, or an arrow `->` beside it (quote the filter: the shell \
             takes `>` for itself)"
        ));
    }
    word.error(unexpected(word, allowed))
}

/// The word after `word`, which must have one: `wanted`.
fn after<'s, 't>(
    word: &Word,
    rest: &mut std::slice::Iter<'s, Word<'t>>,
    wanted: &str,
) -> Result<&'s Word<'t>, FilterError> {
    rest.next().ok_or_else(|| word.error(format!("`{}` needs {wanted} after it", word.text)))
}

/// An address without a prefix length.
pub(super) fn address(word: &Word) -> Result<IpAddr, FilterError> {
    word.text.parse().map_err(|_| {
        let hint = match word.text {
            t if t.contains('/') => "; a network is written net A/L",
            t if t.starts_with('[') => "; brackets are for arrows only",
            t if t.chars().any(char::is_alphabetic) && !t.contains(':') => {
                "; names are not looked up"
            }
            _ => "",
        };
        word.error(format!("{} is no IP address{hint}", word.quoted()))
    })
}

fn network(word: &Word) -> Result<IpNet, FilterError> {
    let said = word.quoted();
    let Some((addr, len)) = word.text.split_once('/') else {
        return Err(word.error(format!("{said} has no prefix length; a network is written A/L")));
    };
    let Ok(addr) = addr.parse::<IpAddr>() else {
        return Err(word.error(format!("{said} does not begin with an IP address")));
    };
    let net = digits(len)
        .and_then(|len| u8::try_from(len).ok())
        .and_then(|len| IpNet::new(addr, len).ok());
    let Some(net) = net else {
        let most = if addr.is_ipv4() { 32 } else { 128 };
        return Err(word.error(format!("{said}: a prefix length here is 0 to {most}")));
    };
    if net.trunc() != net {
        let net = net.trunc();
        return Err(word.error(format!("{said} has host bits set; the network is {net}")));
    }
    Ok(net)
}

/// A port number.
pub(super) fn port(word: &Word) -> Result<u16, FilterError> {
    match digits(word.text).and_then(|n| u16::try_from(n).ok()) {
        Some(n) if n != 0 => Ok(n),
        _ => Err(word.error(format!("{} is no port number from 1 to 65535", word.quoted()))),
    }
}

/// A decimal number written with digits only: Rust's own parser would also take a sign.
fn digits(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Says that `word` cannot stand where `allowed` may, and what to write for it where that is known.
pub(super) fn unexpected(word: &Word, allowed: &str) -> String {
    format!("{} cannot stand here{}; expected {allowed}", word.quoted(), hint(word))
}

/// What someone who wrote `word` probably has to know.
fn hint(word: &Word) -> &'static str {
    /// Words and signs of tcpdump's filters that this grammar leaves out.
    const TCPDUMP_ONLY: [&str; 22] = [
        "or",
        "||",
        "not",
        "ip",
        "ip6",
        "portrange",
        "proto",
        "ether",
        "vlan",
        "mpls",
        "gateway",
        "less",
        "greater",
        "broadcast",
        "multicast",
        "inbound",
        "outbound",
        "igmp",
        "len",
        "rarp",
        "ah",
        "esp",
    ];
    let lower = word.text.to_lowercase();
    if lower != word.text && is_keyword(&lower) {
        return " (words are in lower case)";
    }
    match word.text {
        "&&" => " (write `and`)",
        "-" => " (the shell took the `>` of an arrow: put the whole filter in quotes)",
        t if TCPDUMP_ONLY.contains(&t) => " (this filter has no such word, unlike tcpdump's)",
        t if t.starts_with(['(', ')', '!']) => " (this filter has no such sign, unlike tcpdump's)",
        _ => "",
    }
}

fn is_keyword(text: &str) -> bool {
    let word = Word { column: 0, text };
    text == "and" || begins_condition(&word) || protos::number(&word).is_some()
}
