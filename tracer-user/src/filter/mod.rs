//! The filter expression: text in, the [`Filter`] that the kernel evaluates out.
//!
//! Two forms, and nothing that is not understood is ever passed over:
//!
//! ```text
//! terms    tcp and src host 10.0.0.1 and dst port 443     (joined by `and`)
//! arrow    tcp 10.0.0.1:4242 -> 10.96.0.1:443             (any part left out, or `*`)
//! ```

mod arrow;
mod build;
mod error;
mod print;
mod protos;
mod terms;
mod words;

use tracer_common::flow::Filter;

use build::Builder;
pub use error::FilterError;
pub use print::describe;

/// Reads a filter expression. An empty text is the filter that matches everything.
///
/// # Errors
/// The first word that the grammar has no place for, with its column.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let words = words::split(text);
    let mut builder = Builder::default();
    match words.iter().position(|w| w.text == words::ARROW) {
        Some(at) => {
            let (before, rest) = words.split_at(at);
            arrow::read(before, rest, &mut builder)?;
        }
        None => terms::read(&words, &mut builder)?,
    }
    Ok(builder.filter())
}

/// Whether only packets of one direction can match, and their answers cannot: `src` or `dst` was said,
/// and no arrow.
#[must_use]
pub fn is_one_way(text: &str) -> bool {
    let words = words::split(text);
    let has = |wanted: &str| words.iter().any(|word| word.text == wanted);
    (has("src") || has("dst")) && !has(words::ARROW)
}

#[cfg(test)]
mod tests;
