//! Whose turn it is to read rules: of all lasthops of the node, two at once.
//!
//! A place is a lock on a file (`flock(2)`), which the kernel lets go of however its holder ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::program::Limits;

const DIRECTORY: &str = "/run/lasthop";
const PLACES: [&str; 2] = ["rules-0.lock", "rules-1.lock"];
/// How often it is looked whether a place is free.
const LOOK: Duration = Duration::from_millis(20);

/// A place; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _place: Option<File>,
}

/// Waits for a place. Where there is no directory for locks that is the caller's own (it is not root's, or
/// `/run` cannot be written) there are the limits of this process alone.
///
/// # Errors
/// None is free in time.
pub(super) fn take(limits: &Limits) -> io::Result<Turn> {
    take_in(Path::new(DIRECTORY), limits)
}

fn take_in(directory: &Path, limits: &Limits) -> io::Result<Turn> {
    let places: Vec<_> = match own(directory) {
        Ok(()) => PLACES.iter().filter_map(|name| open(&directory.join(name)).ok()).collect(),
        Err(_) => Vec::new(),
    };
    if places.is_empty() {
        return Ok(Turn { _place: None });
    }
    loop {
        // Again in the same order: a place is free or it is not.
        for place in &places {
            if place.try_lock().is_ok() {
                return Ok(Turn { _place: Some(place.try_clone()?) });
            }
        }
        if limits.halt.is_set() || Instant::now() >= limits.until {
            let why = "others read rules on this node all the time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        std::thread::sleep(LOOK);
    }
}

/// The directory is there, and nobody else can write to it.
fn own(directory: &Path) -> io::Result<()> {
    let made = DirBuilder::new().mode(0o755).create(directory);
    made.or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) })?;
    let found = fs::symlink_metadata(directory)?;
    let own = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
    if own && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfilter::program::Halt;

    #[test]
    fn there_are_two_places_and_they_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let limits = |ms| Limits {
            until: Instant::now() + Duration::from_millis(ms),
            bytes: 0,
            halt: Halt::default(),
        };
        let held = [(); 2].map(|()| take_in(directory.path(), &limits(1000)).unwrap());
        assert!(take_in(directory.path(), &limits(30)).is_err());
        drop(held);
        assert!(take_in(directory.path(), &limits(1000)).is_ok());
        // What others can write to is nobody's place.
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        let free = [(); 3].map(|()| take_in(directory.path(), &limits(30)));
        assert!(free.iter().all(Result::is_ok));
    }
}
