//! A person's terminal, for a command in the machine.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// In the run's folder: the socket that QEMU connects to, and what guest.sh must know.
pub(super) const SOCKET: &str = "terminal.socket";
const SIZE: &str = "terminal";

/// Set back as it was when this is dropped.
pub(super) struct Terminal {
    before: Arc<Mutex<Option<String>>>,
}

impl Terminal {
    /// Waits in the background for the machine's console, and then connects it with this process's
    /// terminal, each key at once.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let size = stty(&["size"]).unwrap_or_else(|_| "24 80".to_owned());
        fs::write(folder.join(SIZE), size)?;
        let listener = UnixListener::bind(folder.join(SOCKET))?;
        let before = Arc::new(Mutex::new(None));
        let saved = Arc::clone(&before);
        // Never joined: it may wait for a key, or for a machine that does not come up.
        thread::spawn(move || {
            let Ok((console, _)) = listener.accept() else { return };
            // Without a terminal there is nothing to set: a script may be at the keys.
            if let Ok(old) = stty(&["-g"]) {
                *saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(old);
                let _ = stty(&["raw", "-echo"]);
            }
            connect(console);
        });
        Ok(Self { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(old) = self.before.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stty(&[&old]);
        }
    }
}

/// Copies both ways until the machine ends.
fn connect(console: UnixStream) {
    let Ok(keys) = console.try_clone() else { return };
    thread::spawn(move || copy(io::stdin(), keys));
    copy(console, io::stdout());
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// What stty(1) says, of the terminal at standard input.
fn stty(args: &[&str]) -> Result<String> {
    let done = Command::new("stty").args(args).stdin(Stdio::inherit()).output()?;
    let said = done.status.success().then_some(done.stdout).context("no terminal")?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}
