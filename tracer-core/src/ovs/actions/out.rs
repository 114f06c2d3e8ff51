//! The text as it grows: bounded in length and depth, whatever the bytes say.

use std::fmt::Write as _;

/// How long a text gets, bytes. The kernel's lists go up to 32 KiB (`MAX_ACTIONS_BUFSIZE`), of
/// which nobody reads more than the beginning.
const MAX_TEXT: usize = 8192;
/// How deep lists may nest. The kernel refuses more than 16 (`OVS_COPY_ACTIONS_MAX_DEPTH`).
const MAX_DEPTH: u8 = 16;
/// How many bytes of something unknown are shown.
const MAX_HEX: usize = 64;
/// Ends a text that is not whole.
const CUT: &str = "…";

/// The text as it grows.
#[derive(Debug, Default)]
pub struct Out {
    text: String,
    depth: u8,
    full: bool,
}

impl Out {
    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    /// Adds words, up to the limit.
    pub fn put(&mut self, words: &str) {
        if self.full {
            return;
        }
        if self.text.len() + words.len() > MAX_TEXT {
            self.full = true;
            self.text.push_str(CUT);
            return;
        }
        self.text.push_str(words);
    }

    /// Says that something is missing here.
    pub fn cut(&mut self) {
        if !self.text.ends_with(CUT) {
            self.put(CUT);
        }
    }

    /// A comma, unless something has just been opened.
    pub fn comma(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('(') {
            self.put(",");
        }
    }

    /// What `inside` puts, one level deeper; too deep it is cut.
    pub fn nest(&mut self, inside: impl FnOnce(&mut Self)) {
        if self.depth >= MAX_DEPTH || self.full {
            self.cut();
            return;
        }
        self.depth += 1;
        inside(self);
        self.depth -= 1;
    }

    /// Bytes of something that is not known further: `0x0102`, as OVS writes them.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.put("0x");
        self.hex(bytes);
    }

    /// Bytes in pairs of digits, as far as anybody reads.
    pub fn hex(&mut self, bytes: &[u8]) {
        let mut hex = String::with_capacity(2 * MAX_HEX);
        for byte in bytes.iter().take(MAX_HEX) {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        self.put(&hex);
        if bytes.len() > MAX_HEX {
            self.cut();
        }
    }
}

/// Adds formatted text to an [`Out`].
macro_rules! put {
    ($out:expr, $($format:tt)*) => { $out.put(&format!($($format)*)) };
}
pub(super) use put;

/// A number as C's `%#x` prints it: `0` without a prefix.
pub fn hash_hex(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:#x}") }
}

/// A number of many bytes, highest first, without leading zeros: OVS's `ds_put_hex`.
pub fn long_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 + 2 * bytes.len());
    for byte in bytes {
        if !hex.is_empty() {
            let _ = write!(hex, "{byte:02x}");
        } else if *byte != 0 {
            let _ = write!(hex, "0x{byte:x}");
        }
    }
    if hex.is_empty() { "0x0".to_owned() } else { hex }
}

/// The names of the bits that are set, from the lowest, joined; bits without a name as one number.
/// `0` when there are none. OVS's `format_flags`.
pub fn flags(bits: u32, names: &[(u32, &str)], between: &str) -> String {
    if bits == 0 {
        return "0".to_owned();
    }
    let (mut words, mut rest) = (Vec::new(), bits);
    for (bit, name) in names.iter().filter(|(bit, _)| bits & bit != 0) {
        words.push((*name).to_owned());
        rest &= !bit;
    }
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    words.join(between)
}
