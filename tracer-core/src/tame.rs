//! What programs print, taken in piece by piece: no piece is larger than it may be, whatever is
//! printed.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// The longest string in JSON, bytes. The kernel's names and comments have 256 at the most
/// (`NFT_USERDATA_MAXLEN`).
const LONGEST_STRING: usize = 1 << 14;
/// The longest line of text, bytes.
const LONGEST_LINE: usize = 1 << 14;

/// JSON on its way to the parser, which would hold a string of any length. How deep it nests the parser looks after
/// (`serde_json` refuses more than 128).
pub struct Tame<R> {
    inner: R,
    /// Length of the string that is being read.
    string: Option<usize>,
    is_escaped: bool,
}

impl<R> Tame<R> {
    /// Of what `inner` reads.
    pub fn new(inner: R) -> Self {
        Self { inner, string: None, is_escaped: false }
    }
}

impl<R: Read> Read for Tame<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        for byte in buffer.get(..n).unwrap_or_default() {
            self.string = match (self.string, byte) {
                (None, b'"') => Some(0),
                (None, _) => None,
                (Some(_), b'"') if !self.is_escaped => None,
                (Some(LONGEST_STRING..), _) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a string is too long"));
                }
                (Some(len), _) => Some(len + 1),
            };
            self.is_escaped = self.string.is_some() && *byte == b'\\' && !self.is_escaped;
        }
        Ok(n)
    }
}

/// One value of JSON, read as `seed` says.
///
/// # Errors
/// It is none, or not as expected; or those of `reader`.
pub fn json<T>(
    reader: impl BufRead,
    seed: impl for<'de> DeserializeSeed<'de, Value = T>,
) -> io::Result<T> {
    // The parser takes one byte after the other.
    let reader = io::BufReader::with_capacity(1 << 14, Tame::new(reader));
    let mut parser = serde_json::Deserializer::from_reader(reader);
    seed.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value)).map_err(|e| {
        if e.is_io() {
            return e.into();
        }
        let why = format!("its answer was not understood: {e}");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// The items of a list, handed over one by one.
pub struct Each<T, F>(pub F, PhantomData<T>);

impl<T, F: FnMut(T)> Each<T, F> {
    /// To `each`.
    pub fn new(each: F) -> Self {
        Self(each, PhantomData)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

/// Hands over the lines of a text, without what goes beyond the longest; whether it is whole.
///
/// # Errors
/// Those of `reader`, and `each`'s.
pub fn lines(
    mut reader: impl BufRead,
    mut each: impl FnMut(&str, bool) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut is_whole = true;
    loop {
        let read = reader.fill_buf()?;
        if read.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', read);
        let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
        let room = LONGEST_LINE - line.len();
        is_whole &= part.len() <= room;
        line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
        let taken = part.len() + usize::from(end.is_some());
        reader.consume(taken);
        if end.is_some() {
            each(&String::from_utf8_lossy(&line), is_whole)?;
            line.clear();
            is_whole = true;
        }
    }
    if line.is_empty() { Ok(()) } else { each(&String::from_utf8_lossy(&line), is_whole) }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    fn kept(text: &[u8]) -> io::Result<Vec<serde_json::Value>> {
        let mut all = Vec::new();
        json(text, Each::new(|one| all.push(one))).map(|()| all)
    }

    #[test]
    fn a_list_is_handed_over_item_by_item() {
        assert_eq!(kept(br#"[1,"\"a]"] "#).unwrap(), [serde_json::json!(1), "\"a]".into()]);
        for bad in [&b"["[..], b"{}", b"[1] 2", b"", b"\0\0"] {
            let why = kept(bad).unwrap_err().to_string();
            assert!(why.starts_with("its answer was not understood: "), "{why}");
        }
    }

    #[test]
    fn depth_and_strings_have_an_end() {
        let deep = "[".repeat(1_000_000);
        assert!(kept(deep.as_bytes()).unwrap_err().to_string().contains("recursion limit"));
        // What nobody wants to have is passed over without recursion.
        assert!(json(deep.as_bytes(), PhantomData::<IgnoredAny>).is_err());
        let long = format!("[\"{}\"]", "a".repeat(LONGEST_STRING + 1));
        assert!(kept(long.as_bytes()).unwrap_err().to_string().contains("too long"));
        let quotes = format!("[\"{}\"]", "\\\"".repeat(LONGEST_STRING / 2));
        assert_eq!(kept(quotes.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = format!("{}\nshort\n\nlast", "x".repeat(3 * LONGEST_LINE));
        let mut seen = Vec::new();
        let reader = io::BufReader::with_capacity(1000, text.as_bytes());
        lines(reader, |line, is_whole| {
            seen.push((line.len(), is_whole));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(LONGEST_LINE, false), (5, true), (0, true), (4, true)]);
    }
}
