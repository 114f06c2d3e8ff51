//! Numbers in hex. Every hop has two of them, so they are read and written without detours.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_with::DeserializeFromStr;

use super::{NotA, ascii};

pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";

/// The digits of a number in hex, all 16 of them.
fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|i| HEX[(number >> (60 - 4 * i)) as usize & 0xf])
}

/// What a hex digit is worth, by its byte; [`NO_DIGIT`] for what is none.
static DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = HEX[value];
        digits[digit as usize] = value as u8;
        digits[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    digits
};
const NO_DIGIT: u8 = 16;

/// A number of hex digits, and nothing else: no sign. (`u64::from_str_radix` takes several times as
/// long: it looks for a sign, and at each digit for its kind.)
fn parse_hex(digits: &str) -> Option<u64> {
    // Each digit is four bits.
    if digits.is_empty() || digits.trim_start_matches('0').len() > 16 {
        return None;
    }
    digits.bytes().try_fold(0, |number, digit| match DIGITS[usize::from(digit)] {
        NO_DIGIT => None,
        value => Some(number << 4 | u64::from(value)),
    })
}

/// An address in the kernel's memory, as text `0x…`: it does not fit 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeserializeFromStr)]
pub struct Address(pub u64);

impl FromStr for Address {
    type Err = NotA;

    fn from_str(text: &str) -> Result<Self, NotA> {
        text.strip_prefix("0x").and_then(parse_hex).map(Self).ok_or(NotA("address 0x…"))
    }
}

impl Address {
    /// Hands its text over; it needs no memory of its own.
    fn with_text<R>(self, take: impl FnOnce(&str) -> R) -> R {
        let digits = hex(self.0);
        let zeros = (self.0.leading_zeros() as usize / 4).min(digits.len() - 1);
        let mut text = *b"0x________________";
        let len = 2 + digits.len() - zeros;
        text[2..len].copy_from_slice(&digits[zeros..]);
        take(ascii(&text[..len]))
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

/// At once: by way of [`Display`] it takes several times as long.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| to.serialize_str(text))
    }
}

/// What copies of a packet have in common, as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeserializeFromStr)]
pub struct Fingerprint(pub u64);

impl FromStr for Fingerprint {
    type Err = NotA;

    fn from_str(text: &str) -> Result<Self, NotA> {
        parse_hex(text).map(Self).ok_or(NotA("fingerprint of hex digits"))
    }
}

impl Display for Fingerprint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(&hex(self.0)))
    }
}

/// At once, as an [`Address`].
impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(ascii(&hex(self.0)))
    }
}
