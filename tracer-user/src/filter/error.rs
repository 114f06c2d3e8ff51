//! Why a text is no filter.

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct FilterError {
    /// Where the first bad word begins, in characters from 1.
    pub column: usize,
    /// What is wrong there and what may stand there instead; one line.
    pub message: String,
}
