//! The form of an arrow: `[proto] [endpoint] -> [endpoint]`, where any part may be `*`.

use std::net::IpAddr;

use ipnet::IpNet;
use tracer_common::flow::{SIDE_DST, SIDE_SRC};

use super::build::Builder;
use super::terms::{address, port, unexpected};
use super::words::{ARROW, Word};
use super::{error::FilterError, protos};

const ENDPOINT: &str = "A, A:N, *:N, [V6]:N or *";

/// Reads the words `before` the arrow and the `rest`, which begins with it.
pub(super) fn read(
    before: &[Word],
    rest: &[Word],
    builder: &mut Builder,
) -> Result<(), FilterError> {
    builder.follow_replies();
    let mut source = before;
    if let [first, after @ ..] = before {
        if let Some(number) = protos::number(first) {
            builder.proto(number, first)?;
            source = after;
        } else if !after.is_empty() {
            if first.text != "*" {
                return Err(first.error(unexpected(first, "a protocol, or a source and the arrow")));
            }
            source = after;
        }
    }
    if let [word, after @ ..] = source {
        endpoint(SIDE_SRC, word, builder)?;
        if let Some(word) = after.first() {
            return Err(word.error(unexpected(word, "`->` after the source")));
        }
    }
    if let Some(word) = rest.get(1) {
        endpoint(SIDE_DST, word, builder)?;
    }
    match rest.get(2) {
        Some(word) => Err(word.error(unexpected(word, "nothing after the arrow's destination"))),
        None => Ok(()),
    }
}

/// `A`, `A:N`, `[V6]`, `[V6]:N`, `:N`, where `A` and `N` may be `*`.
fn endpoint(side: u8, word: &Word, builder: &mut Builder) -> Result<(), FilterError> {
    if word.text == ARROW || protos::number(word).is_some() {
        return Err(word.error(unexpected(word, ENDPOINT)));
    }
    let (host, colon_port) = match word.text.find(']') {
        Some(end) if word.text.starts_with('[') => word.text.split_at(end + 1),
        _ => word.text.split_at(word.text.find(':').unwrap_or(word.text.len())),
    };
    if word.text.parse::<IpAddr>().is_ok_and(|a| a.is_ipv6()) {
        let said = word.text;
        return Err(word.error(format!("an IPv6 address in an arrow is written [{said}]")));
    }
    if host.contains('/') || colon_port.contains('/') {
        let said = word.quoted();
        return Err(word.error(format!("{said}: an arrow has no networks; use src net, dst net")));
    }
    if !host.is_empty() && host != "*" {
        builder.net(side, IpNet::from(endpoint_address(host, word)?), word)?;
    }
    match colon_port.strip_prefix(':') {
        Some("*") => Ok(()),
        Some("") => {
            let colon = Word { column: word.column + host.chars().count(), text: colon_port };
            Err(colon.error(format!("{} lacks a port behind its colon", word.quoted())))
        }
        Some(number) => {
            let column = word.column + word.text.chars().count() - number.chars().count();
            let number = Word { column, text: number };
            builder.port(side, port(&number)?, &number)
        }
        None if colon_port.is_empty() => Ok(()),
        None => Err(word.error(unexpected(word, ENDPOINT))),
    }
}

fn endpoint_address(host: &str, word: &Word) -> Result<IpAddr, FilterError> {
    let Some(inside) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) else {
        let v4 = address(&Word { text: host, ..*word });
        return v4.map_err(|_| word.error(unexpected(word, ENDPOINT)));
    };
    match inside.parse() {
        Ok(IpAddr::V6(v6)) => Ok(IpAddr::V6(v6)),
        _ => Err(word.error(format!("{} has no IPv6 address in its brackets", word.quoted()))),
    }
}
