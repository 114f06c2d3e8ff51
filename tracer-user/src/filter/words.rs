//! Splits a filter expression into words that know their column.

use super::error::FilterError;

/// The one piece of punctuation: it ends a word even without blanks around it.
pub(super) const ARROW: &str = "->";

/// One word of the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// In characters from 1.
    pub column: usize,
    pub text: &'a str,
}

impl Word<'_> {
    /// An error at the beginning of this word.
    pub fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError { column: self.column, message: message.into() }
    }

    /// The word as it may be shown in a one-line message, whatever bytes it is made of.
    pub fn quoted(&self) -> String {
        const SHOWN: usize = 40;
        let mut shown: String =
            self.text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        if self.text.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        format!("`{shown}`")
    }
}

/// The words of `text`, in order.
pub(super) fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut column, mut rest) = (1, text);
    while let Some(first) = rest.chars().next() {
        let len = if first.is_whitespace() {
            first.len_utf8()
        } else {
            let len = word_len(rest);
            words.push(Word { column, text: &rest[..len] });
            len
        };
        column += rest[..len].chars().count();
        rest = &rest[len..];
    }
    words
}

/// Bytes of the word that `text`, which is not empty, begins with.
fn word_len(text: &str) -> usize {
    if text.starts_with(ARROW) {
        return ARROW.len();
    }
    let blank = text.find(char::is_whitespace).unwrap_or(text.len());
    text.find(ARROW).map_or(blank, |arrow| arrow.min(blank))
}
