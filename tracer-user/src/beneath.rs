//! Files that another user can shape, opened so that they lead nowhere else and make nobody wait.
//!
//! A path is resolved beneath a directory that is held open, which absolute links and `..` do not
//! leave (`openat2(2)`, `RESOLVE_IN_ROOT`), and no magic link of `/proc` is followed. A file is looked
//! at before it is opened: opening a FIFO waits for its other end, opening a device may do something.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

/// How often a path is resolved again that somebody renames meanwhile (`EAGAIN` of `openat2(2)`).
const TRIES: u32 = 8;

/// A directory, held open by `O_PATH`: whatever its path means later, it stays this one.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl Dir {
    /// The directory of this path, wherever its links lead: for a path from somebody who may read
    /// everything anyway.
    pub fn at(path: &Path) -> io::Result<Self> {
        Self::resolved(AT_FDCWD, path)
    }

    /// `/proc/PID`. It stays that of the same process: once that has ended nothing is found in it.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        Self::at(Path::new(&format!("/proc/{pid}")))
    }

    /// The root directory of the process whose `/proc/PID` this is.
    pub fn root_of_process(&self) -> io::Result<Self> {
        Self::resolved(self.fd.as_fd(), Path::new("root"))
    }

    fn resolved(at: BorrowedFd<'_>, path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { fd: openat(at, path, flags, Mode::empty())? })
    }

    /// The directory at `path` where this one is the root.
    pub fn enter(&self, path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        Ok(Self { fd: self.open(path, flags, resolve)? })
    }

    /// The directory that this one is in.
    fn parent(&self) -> io::Result<Self> {
        Self::resolved(self.fd.as_fd(), Path::new(".."))
    }

    /// Only root can have put it where it is: whose it is was root's choice.
    pub fn is_roots_to_give(&self) -> bool {
        let above = self.parent().and_then(|above| above.stat());
        above.is_ok_and(|above| above.st_uid == 0 && above.st_mode & 0o022 == 0)
    }

    /// Owner, mode.
    pub fn stat(&self) -> io::Result<FileStat> {
        Ok(fstat(&self.fd)?)
    }

    /// The same of what `path` leads to, links of the kernel's included (`ns/user` of `/proc/PID`).
    pub fn stat_of(&self, path: &str) -> io::Result<FileStat> {
        Ok(fstatat(&self.fd, path, AtFlags::empty())?)
    }

    /// At most `limit` bytes of the regular file of this name.
    ///
    /// # Errors
    /// It is something else, or longer ([`io::ErrorKind::InvalidData`]).
    pub fn read(&self, name: &str, limit: u16) -> io::Result<Vec<u8>> {
        let bytes = self.beginning(name, u32::from(limit) + 1)?;
        if bytes.len() > usize::from(limit) {
            let why = format!("it is longer than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(bytes)
    }

    /// The first bytes of the regular file of this name.
    ///
    /// # Errors
    /// It is something else.
    pub fn beginning(&self, name: &str, limit: u32) -> io::Result<Vec<u8>> {
        let seen = self.look_at(name, SFlag::S_IFREG)?;
        let mut bytes = Vec::new();
        reopen(&seen)?.take(u64::from(limit)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The socket of this name.
    pub fn socket(&self, name: &str) -> io::Result<Socket> {
        Ok(Socket { fd: self.look_at(name, SFlag::S_IFSOCK)? })
    }

    /// Holds what has this name, when it is of that kind.
    fn look_at(&self, name: &str, kind: SFlag) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let fd = self.open(Path::new(name), flags, resolve)?;
        let found = SFlag::from_bits_truncate(fstat(&fd)?.st_mode & SFlag::S_IFMT.bits());
        if found == kind {
            return Ok(fd);
        }
        let why = format!("it is {}, not {}", kind_name(found), kind_name(kind));
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn open(&self, path: &Path, flags: OFlag, resolve: ResolveFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new().flags(flags).resolve(resolve);
        let mut tries = 0;
        loop {
            match openat2(&self.fd, path, how) {
                Err(Errno::EAGAIN) if tries < TRIES => tries += 1,
                opened => return opened.map_err(Into::into),
            }
        }
    }
}

/// Opens for reading what is held by `O_PATH`, and nothing else: not what has its name by now. It does
/// not wait for a lease to be given back either.
fn reopen(seen: &OwnedFd) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path_of(seen))
}

fn path_of(held: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

/// Opens the file of this path, wherever its links lead, when it is on the file system with this
/// device number; a file elsewhere is not opened.
pub fn on_device(path: &Path, device: u64) -> io::Result<Option<File>> {
    let seen = openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let file = File::from(seen);
    if file.metadata()?.dev() != device {
        return Ok(None);
    }
    reopen(&file.into()).map(Some)
}

/// A socket in the file system, held so that nobody can put another in its place.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// A path for `connect(2)` that leads to this socket, as long as it is held.
    pub fn path(&self) -> PathBuf {
        path_of(&self.fd)
    }

    /// Whether both are the same file.
    pub fn is(&self, other: &Self) -> bool {
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        fstat(&self.fd).ok().zip(fstat(&other.fd).ok()).is_some_and(|(a, b)| same(a, b))
    }
}

/// The kind of a file, in words.
fn kind_name(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFREG => "a regular file",
        SFlag::S_IFSOCK => "a socket",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFBLK | SFlag::S_IFCHR => "a device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let made = tempfile::tempdir().unwrap();
        let dir = Dir::at(made.path()).unwrap();
        (made, dir)
    }

    #[test]
    fn only_a_short_regular_file_is_read() {
        let (made, dir) = dir();
        fs::write(made.path().join("pid"), "77\n").unwrap();
        assert_eq!(dir.read("pid", 32).unwrap(), b"77\n");
        assert!(dir.read("pid", 2).unwrap_err().to_string().contains("longer than 2 bytes"));
        nix::unistd::mkfifo(&made.path().join("fifo"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", made.path().join("zero")).unwrap();
        symlink("pid", made.path().join("near")).unwrap();
        fs::create_dir(made.path().join("dir")).unwrap();
        for (name, what) in
            [("fifo", "FIFO"), ("zero", "link"), ("near", "link"), ("dir", "a directory")]
        {
            let why = dir.read(name, 32).unwrap_err().to_string();
            assert!(why.contains(what), "{name}: {why}");
        }
        assert_eq!(dir.beginning("pid", 2).unwrap(), b"77");
        assert!(dir.read("../pid", 32).is_err());
        assert_eq!(dir.read("gone", 32).unwrap_err().kind(), io::ErrorKind::NotFound);
        let dev = Dir::at(Path::new("/dev")).unwrap();
        assert!(dev.read("zero", 32).unwrap_err().to_string().contains("a device"));
    }

    #[test]
    fn links_stay_beneath_the_root() {
        let (made, root) = dir();
        fs::create_dir_all(made.path().join("run/openvswitch")).unwrap();
        fs::create_dir(made.path().join("var")).unwrap();
        symlink("/run", made.path().join("var/run")).unwrap();
        symlink("../../../../../..", made.path().join("up")).unwrap();
        symlink("/proc/self/root", made.path().join("magic")).unwrap();
        let inside = root.enter(Path::new("/var/run/openvswitch")).unwrap();
        let expected = fs::metadata(made.path().join("run/openvswitch")).unwrap().ino();
        assert_eq!(inside.stat().unwrap().st_ino, expected);
        let up = root.enter(Path::new("up")).unwrap();
        assert_eq!(up.stat().unwrap().st_ino, root.stat().unwrap().st_ino);
        assert!(root.enter(Path::new("magic")).is_err(), "there is no /proc in it");
        let real = Dir::at(Path::new("/")).unwrap();
        let by_magic = real.enter(Path::new("/proc/self/root")).unwrap_err();
        assert_eq!(by_magic.raw_os_error(), Some(Errno::ELOOP as i32));
    }

    #[test]
    fn a_socket_stays_the_one_that_was_looked_at() {
        let (made, dir) = dir();
        let first = UnixListener::bind(made.path().join("ctl")).unwrap();
        let held = dir.socket("ctl").unwrap();
        fs::rename(made.path().join("ctl"), made.path().join("old")).unwrap();
        let _second = UnixListener::bind(made.path().join("ctl")).unwrap();
        assert!(!held.is(&dir.socket("ctl").unwrap()) && held.is(&dir.socket("old").unwrap()));
        let _client = std::os::unix::net::UnixStream::connect(held.path()).unwrap();
        first.set_nonblocking(true).unwrap();
        assert!(first.accept().is_ok());
        fs::write(made.path().join("file"), "").unwrap();
        assert!(dir.socket("file").unwrap_err().to_string().contains("a regular file"));
    }

    #[test]
    fn what_is_no_namespace_is_not_opened() {
        let (made, _) = dir();
        let fifo = made.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let nsfs = fs::metadata("/proc/self/ns/net").unwrap().dev();
        assert!(on_device(&fifo, nsfs).unwrap().is_none());
        assert!(on_device(Path::new("/proc/self/ns/net"), nsfs).unwrap().is_some());
    }
}
