//! A value of `nft -j` (libnftables-json(5)) in little memory: alive while one rule is read.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How many values one rule may have, those of its anonymous sets included.
const MAX_VALUES: u32 = 300_000;

/// A value. `{"elem":{"val":X,…}}` is X.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lean {
    Number(u64),
    Text(Box<str>),
    List(Box<[Self]>),
    /// In the order in which they stand.
    Map(Box<[(Box<str>, Self)]>),
    Net(IpNet),
    /// `null`, and what is never looked at.
    Other,
    Negative(i64),
}

impl Lean {
    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(all) = self else { return None };
        all.iter().find(|(name, _)| **name == *key).map(|(_, value)| value)
    }

    /// The only one under its key, or the first.
    pub fn first(&self) -> Option<(&str, &Self)> {
        let Self::Map(all) = self else { return None };
        all.first().map(|(name, value)| (&**name, value))
    }

    /// The text under a key; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Self::as_text).unwrap_or_default()
    }

    /// A text.
    pub fn as_text(&self) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        Some(text)
    }

    /// A list.
    pub fn as_list(&self) -> Option<&[Self]> {
        let Self::List(list) = self else { return None };
        Some(list)
    }

    /// A number, in figures or as text.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number(text),
            _ => None,
        }
    }

    /// A number with a sign.
    pub fn signed(&self) -> Option<i64> {
        match self {
            Self::Number(number) => i64::try_from(*number).ok(),
            Self::Negative(number) => Some(*number),
            _ => None,
        }
    }
}

/// Decimal, or hexadecimal after `0x`.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Reads one; how many values there may still be is counted.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a>(&'a Cell<u32>);

/// Hands a seed for one value to `work`.
pub(super) fn seed<R>(work: impl FnOnce(Seed<'_>) -> R) -> R {
    work(Seed(&Cell::new(MAX_VALUES)))
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Lean;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Lean, D::Error> {
        let left =
            self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        self.0.set(left);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Lean;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Lean, E> {
        Ok(Lean::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Lean, E> {
        Ok(Lean::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Lean, E> {
        Ok(Lean::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Lean, E> {
        Ok(Lean::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Lean, E> {
        Ok(Lean::Negative(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Lean, E> {
        Ok(Lean::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Lean, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(self)? {
            all.push(one);
        }
        Ok(Lean::List(all.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lean, A::Error> {
        let mut all: Vec<(Box<str>, Lean)> = Vec::new();
        while let Some(key) = map.next_key::<Box<str>>()? {
            let value = map.next_value_seed(self)?;
            match value {
                Lean::Map(inner) if all.is_empty() && *key == *"elem" => {
                    let value = inner.into_iter().find(|(name, _)| **name == *"val");
                    all.push((key, value.map_or(Lean::Other, |(_, value)| value)));
                }
                value => all.push((key, value)),
            }
        }
        if let [(key, value)] = all.as_slice() {
            match (&**key, net(value)) {
                ("prefix", Some(net)) => return Ok(Lean::Net(net)),
                ("elem", _) => return Ok(all.pop().map_or(Lean::Other, |(_, value)| value)),
                _ => {}
            }
        }
        Ok(Lean::Map(all.into()))
    }
}

/// `{"addr":"10.0.0.0","len":8}`.
fn net(prefix: &Lean) -> Option<IpNet> {
    let addr: IpAddr = prefix.text("addr").parse().ok()?;
    IpNet::new(addr, u8::try_from(prefix.get("len")?.number()?).ok()?).ok()
}
