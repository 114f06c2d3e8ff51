//! CMD: the command that is run once all probes are attached.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream as Stream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::supervisor::{self, NEWS, News, Order};

/// Longer than the process that CMD belongs to takes to end it with all that it started.
const PATIENCE: Duration = Duration::from_millis(950);

/// CMD before it runs.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    talk: Stream,
}

/// CMD while it runs.
#[derive(Debug)]
pub struct Child {
    talk: UnixStream,
    /// What has come of the next word.
    word: Vec<u8>,
    /// It has exited, or was ended.
    is_over: bool,
}

/// Makes the process that is to run CMD, if there is one. To be called before there is another thread, and
/// with all the privileges that CMD is to have.
///
/// # Errors
/// The kernel's.
pub fn prepare(command: &[OsString]) -> anyhow::Result<Option<Prepared>> {
    let Some(program) = command.first() else {
        return Ok(None);
    };
    let name = program.to_string_lossy().escape_debug().to_string();
    let talk =
        supervisor::start(command).context("cannot make the process that runs the command")?;
    Ok(Some(Prepared { name, talk }))
}

impl Prepared {
    /// Runs CMD. `json`: its standard output goes to stderr, since stdout is the recording's.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn start(self, json: bool) -> anyhow::Result<Child> {
        let Self { name, talk } = self;
        let failed = || format!("cannot run the command `{name}`");
        talk.set_nonblocking(true).with_context(failed)?;
        let talk = UnixStream::from_std(talk).with_context(failed)?;
        let mut child = Child { talk, word: Vec::with_capacity(NEWS), is_over: false };
        child.order(if json { Order::RunAside } else { Order::Run }).await.with_context(failed)?;
        match child.news().await {
            Some(News::Started) => Ok(child),
            Some(News::Refused(errno)) => {
                Err(io::Error::from_raw_os_error(errno)).with_context(failed)
            }
            _ => Err(anyhow::anyhow!("its process has ended")).with_context(failed),
        }
    }
}

impl Child {
    async fn order(&mut self, order: Order) -> io::Result<()> {
        self.talk.write_all(&[order.byte()]).await
    }

    /// The next word; `None` once there will be none. May be dropped and called again.
    async fn news(&mut self) -> Option<News> {
        while self.word.len() < NEWS {
            let missing = u64::try_from(NEWS - self.word.len()).unwrap_or(0);
            let came = (&mut self.talk).take(missing).read_buf(&mut self.word).await;
            came.ok().filter(|bytes| *bytes > 0)?;
        }
        let word = std::mem::take(&mut self.word);
        News::from_bytes(word.try_into().ok()?)
    }

    /// Waits until it has exited, and says so where it failed. May be dropped and called again.
    pub async fn exited(&mut self) {
        match self.news().await {
            Some(News::Exited(status)) => match ExitStatus::from_raw(status) {
                status if status.success() => {}
                status => log::warn!("the command ended with {status}"),
            },
            _ => log::warn!("how the command ended is not known"),
        }
        self.is_over = true;
    }

    /// Ends it with all that it started: asks them first, as they may have something to clean up.
    pub async fn end(mut self) {
        self.is_over = true;
        if self.order(Order::End).await.is_err() {
            return;
        }
        let left = async {
            loop {
                match self.news().await {
                    Some(News::Left(count)) => return count,
                    // It may have exited meanwhile.
                    Some(_) => {}
                    None => return 0,
                }
            }
        };
        match timeout(PATIENCE, left).await {
            Ok(0) => {}
            Ok(count) => log::warn!("{count} of the command's processes did not end"),
            Err(_) => log::warn!("the command did not end"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.talk.try_write(&[Order::End.byte()]);
        }
    }
}
