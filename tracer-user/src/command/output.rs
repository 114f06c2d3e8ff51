//! Standard output, which may be full or gone.

use std::io::{self, StdoutLock, Write};

/// Writes on, and tells a failure as that of standard output: a command reads and writes other things
/// too.
pub struct Output<W>(W);

/// Standard output, for as long as the command runs.
pub fn stdout() -> Output<StdoutLock<'static>> {
    Output::new(io::stdout().lock())
}

impl<W> Output<W> {
    /// Of what writes to standard output.
    pub fn new(to: W) -> Self {
        Self(to)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct Unwritable(#[source] io::Error);

/// Whether it was standard output that failed.
pub fn is_at_fault(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(is_told)
}

fn is_told(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Unwritable>)
}

/// The same failure, of the same kind: a reader that has gone is no failure of the command's.
fn told(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unwritable(error))
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_failed_is_told_and_how() {
        let error = Output::new(Full).write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let error = anyhow::Error::from(error).context("behind it");
        assert!(is_at_fault(&error));
        assert_eq!(
            format!("{error:#}"),
            "behind it: cannot write to standard output: no storage space"
        );
        assert!(!is_at_fault(&Full.write_all(b"x").unwrap_err().into()));
    }
}
