//! Answers in JSON-RPC as they come off a socket, read once and within bounds: in bytes, in depth, in
//! the length of a text, in rows. Only what was asked for is kept. Pure: the socket is any reader.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::columns::Complaint;

/// How deep an answer may be nested. A set of UUIDs in a row is 7 deep.
const MAX_DEPTH: u32 = 64;

/// How long an answer may be, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All that comes, other calls included.
    pub bytes: u64,
    /// One text.
    pub text: u32,
}

/// What a command printed, or one row.
pub const SHORT: Bounds = Bounds { bytes: 4 << 20, text: 1 << 20 };
/// A table: some 100,000 ports, or a million UUIDs. Nothing but the columns asked for is kept of it.
pub const TABLE: Bounds = Bounds { bytes: 64 << 20, text: 1 << 16 };

/// Why an answer was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The reader gave up in time.
    Slow,
    /// There was an answer, and it was no.
    Refused(String),
    /// It is not what was asked for.
    Garbled(String),
}

/// Reads on until the answer has come: before it may come calls of the other side's own (`echo`).
///
/// # Errors
/// See [`Fault`].
pub fn read<T: DeserializeOwned>(from: impl Read, bounds: Bounds) -> Result<T, Fault> {
    let guard = Guard { from, bounds, read: 0, depth: 0, text: None, escaped: false, broken: None };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(guard));
    loop {
        let message = Message::<T>::deserialize(&mut json).map_err(|e| Fault::of(&e))?;
        if message.method.is_some() {
            continue;
        }
        if let Some(Complaint(words)) = message.error {
            return Err(Fault::Refused(words));
        }
        return message.result.ok_or_else(|| Fault::Garbled("it has no result".to_owned()));
    }
}

impl Fault {
    fn of(error: &serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(io::ErrorKind::TimedOut) => Self::Slow,
            _ if error.is_eof() => Self::Garbled("it ends before it is whole".to_owned()),
            _ => Self::Garbled(error.to_string()),
        }
    }
}

/// A message of either side (RFC 7047, 4.1).
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned", expecting = "an answer of JSON-RPC")]
struct Message<T> {
    #[serde(default)]
    method: Option<IgnoredAny>,
    #[serde(default)]
    error: Option<Complaint>,
    #[serde(default = "none")]
    result: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

/// Lets bytes through as long as they are within bounds. Those before the first that is not come through first,
/// so that what is made of an answer does not depend on the pieces that it comes in.
struct Guard<R> {
    from: R,
    bounds: Bounds,
    read: u64,
    depth: u32,
    /// How long the text is that is being read.
    text: Option<u32>,
    escaped: bool,
    /// Which bound the next byte breaks.
    broken: Option<String>,
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut passed = 0;
        if self.broken.is_none() {
            let n = self.from.read(into)?;
            passed = into.iter().take(n).take_while(|byte| self.pass(**byte)).count();
        }
        match &self.broken {
            Some(why) if passed == 0 => {
                Err(io::Error::new(io::ErrorKind::InvalidData, why.clone()))
            }
            _ => Ok(passed),
        }
    }
}

impl<R> Guard<R> {
    /// Takes note of a byte; whether it is within bounds.
    fn pass(&mut self, byte: u8) -> bool {
        self.broken = self.note(byte).err();
        self.broken.is_none()
    }

    fn note(&mut self, byte: u8) -> Result<(), String> {
        self.read += 1;
        if self.read > self.bounds.bytes {
            return Err(format!("it is longer than {} MiB", self.bounds.bytes >> 20));
        }
        match (self.text, byte) {
            (Some(_), b'"') if !self.escaped => self.text = None,
            (Some(len), _) if len >= self.bounds.text => {
                let limit = self.bounds.text >> 10;
                return Err(format!("a text in it is longer than {limit} KiB"));
            }
            (Some(len), _) => {
                self.escaped = byte == b'\\' && !self.escaped;
                self.text = Some(len + 1);
            }
            (None, b'"') => self.text = Some(0),
            (None, b'[' | b'{') if self.depth >= MAX_DEPTH => {
                return Err(format!("it is nested more than {MAX_DEPTH} deep"));
            }
            (None, b'[' | b'{') => self.depth += 1,
            (None, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            (None, _) => {}
        }
        Ok(())
    }
}

/// A row of which a table may have many.
pub trait Row: DeserializeOwned {
    /// How many are kept.
    const MAX: usize;
}

/// The result of one `select` (RFC 7047, 5.2.2).
#[derive(Debug)]
pub struct Rows<R>(pub Result<Vec<R>, Complaint>);

impl<'de, R: Row> Deserialize<'de> for Rows<R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Operations<R>(PhantomData<R>);
        impl<'de, R: Row> Visitor<'de> for Operations<R> {
            type Value = Rows<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the rows of one table")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Rows<R>, S::Error> {
                let missing = || S::Error::custom("it has no rows");
                let done: Operation<R> = list.next_element()?.ok_or_else(missing)?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                match (done.error, done.rows) {
                    (Some(Complaint(error)), _) => {
                        let details = done.details.map(|Complaint(details)| details);
                        let words: Vec<_> = [error].into_iter().chain(details).collect();
                        Ok(Rows(Err(Complaint(words.join(": ")))))
                    }
                    (None, Some(Several(rows))) => Ok(Rows(Ok(rows))),
                    (None, None) => Err(missing()),
                }
            }
        }
        from.deserialize_seq(Operations(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(bound = "R: Row", expecting = "the result of an operation")]
struct Operation<R> {
    #[serde(default)]
    error: Option<Complaint>,
    #[serde(default)]
    details: Option<Complaint>,
    #[serde(default = "none")]
    rows: Option<Several<R>>,
}

struct Several<R>(Vec<R>);

impl<'de, R: Row> Deserialize<'de> for Several<R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All<R>(PhantomData<R>);
        impl<'de, R: Row> Visitor<'de> for All<R> {
            type Value = Vec<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rows")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vec<R>, S::Error> {
                let mut rows = Vec::new();
                while let Some(row) = list.next_element()? {
                    if rows.len() == R::MAX {
                        return Err(S::Error::custom(format!("there are over {} rows", R::MAX)));
                    }
                    rows.push(row);
                }
                Ok(rows)
            }
        }
        from.deserialize_seq(All(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests;
