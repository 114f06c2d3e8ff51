//! What the kernel programs say of their own work (`-vv`), handed to the log.

use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::load::Loaded;

/// The programs' own log; `None` inside where nobody asked for it.
pub struct KernelLog(Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>);

impl KernelLog {
    /// Takes the log out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> anyhow::Result<Self> {
        if !log::log_enabled!(log::Level::Debug) {
            return Ok(Self(None));
        }
        let logger = EbpfLogger::init(&mut loaded.ebpf)?;
        // SAFETY: the logger owns its descriptor, keeps it open until it is dropped with the
        // `AsyncFd` around it, and never hands out another.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(std::io::Error::from)?;
        Ok(Self(Some(logger)))
    }

    /// Hands on what was said, as it comes; never returns but by an error.
    pub async fn follow(&mut self) -> anyhow::Error {
        let Some(logger) = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            match logger.readable_mut().await {
                Ok(mut guard) => {
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
                Err(e) => return e.into(),
            }
        }
    }

    /// Hands on what was said and not yet read.
    pub fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.get_mut().flush();
        }
    }
}
