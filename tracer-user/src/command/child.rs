//! CMD: the command that is run once all probes are attached.

use std::ffi::OsString;
use std::process::Stdio;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

/// CMD while it runs.
pub struct Child(tokio::process::Child);

/// Starts CMD, if there is one. `json`: its standard output goes to stderr, since stdout is the
/// recording's.
///
/// # Errors
/// It cannot be run.
pub fn spawn(command: &[OsString], json: bool) -> anyhow::Result<Option<Child>> {
    let Some((program, rest)) = command.split_first() else {
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.args(rest).kill_on_drop(true);
    if json {
        command.stdout(Stdio::from(
            std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned()?,
        ));
    }
    let child = command.spawn().with_context(|| {
        format!("cannot run the command `{}`", program.to_string_lossy().escape_debug())
    })?;
    Ok(Some(Child(child)))
}

impl Child {
    /// Waits until it has exited, and says so where it failed.
    pub async fn exited(&mut self) {
        match self.0.wait().await {
            Ok(status) if status.success() => {}
            Ok(status) => log::warn!("the command ended with {status}"),
            Err(e) => log::warn!("the command cannot be waited for: {e}"),
        }
    }

    /// Asks it to end. That it has exited meanwhile is as well.
    pub fn terminate(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    /// Kills it. That it has exited meanwhile is as well.
    pub fn kill(&mut self) {
        let _ = self.0.start_kill();
    }

    /// Waits until it is gone, whatever it says.
    pub async fn reap(&mut self) {
        let _ = self.0.wait().await;
    }
}
