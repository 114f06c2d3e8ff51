//! Standard output, which may be full or gone.

use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::{SFlag, fstat};

use super::hurry;

/// What a pipe, a socket or a terminal takes without making the writer wait, once it takes anything, bytes:
/// `PIPE_BUF` of pipe(7).
const AT_ONCE: usize = 4096;
/// How often it is looked whether the command is to end while nobody reads, milliseconds.
const LOOK: u8 = 50;
/// How long before the end of the time that is left a reader is given up.
const RESERVE: Duration = Duration::from_millis(150);

/// Writes on, and tells a failure as that of standard output: a command reads and writes other things
/// too.
pub struct Output<W>(W);

/// Standard output, without a buffer. Where its reader does not read, a signal ends the waiting.
pub struct Stdout {
    /// It is a file, which makes nobody wait.
    is_file: bool,
    /// It was waited for long enough.
    is_given_up: bool,
}

/// Standard output.
pub fn stdout() -> Output<Stdout> {
    let mode =
        fstat(io::stdout()).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    Output::new(Stdout { is_file: mode == Ok(SFlag::S_IFREG), is_given_up: false })
}

impl Stdout {
    /// Waits until it takes something.
    fn wait(&mut self) -> io::Result<()> {
        while !self.is_given_up {
            let out = io::stdout();
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut fds, LOOK) {
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
            self.is_given_up = hurry::leaves_less_than(RESERVE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "its reader does not read"))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_file {
            return Ok(nix::unistd::write(io::stdout(), bytes)?);
        }
        self.wait()?;
        let bytes = bytes.get(..AT_ONCE).unwrap_or(bytes);
        Ok(nix::unistd::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
