//! The root of the cgroup2 hierarchy: a program there sees what every socket of the node takes in.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The inode of the root of a kernfs hierarchy (`kernfs_create_root`, fs/kernfs/dir.c: ids are given from 1 on).
const ROOT_INODE: u64 = 1;

/// Opens it: where it is mounted, or by a mount of its own that is part of no namespace and gone with the
/// descriptor. (`ip netns exec` lays a new `/sys` over the old one, without cgroups; in a hybrid set-up it is
/// not on `/sys/fs/cgroup` itself.)
///
/// # Errors
/// There is none, it may not be mounted, or what is to be had is the root of a cgroup namespace only, where
/// the deliveries of all others would be missed.
pub fn open() -> anyhow::Result<File> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let mut mounted = mounted(&mounts).filter_map(|path| File::open(path).ok());
    if let Some(root) = mounted.find(is_root) {
        return Ok(root);
    }
    let own = mount().context("no cgroup2 hierarchy is mounted, and none can be")?;
    ensure!(is_root(&own), "a cgroup namespace hides the root of the cgroup2 hierarchy");
    Ok(own)
}

fn is_root(directory: &File) -> bool {
    directory.metadata().is_ok_and(|about| about.ino() == ROOT_INODE)
}

/// Where the lines of `/proc/self/mounts` have a cgroup2 hierarchy.
fn mounted(mounts: &str) -> impl Iterator<Item = &Path> {
    mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| Path::new(at))
    })
}

/// A mount of the hierarchy that is attached nowhere (since 5.2; needs `CAP_SYS_ADMIN`).
fn mount() -> io::Result<File> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    Ok(File::from(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_beside_the_first_version() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ngarbled\n";
        assert_eq!(mounted(mounts).collect::<Vec<_>>(), [Path::new("/sys/fs/cgroup/unified")]);
    }
}
