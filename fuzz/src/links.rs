//! What rtnetlink tells of links.

use lasthop::fuzzing::links;

/// `struct nlmsghdr` and `struct ifinfomsg`, bytes.
const SMALLEST: usize = 16 + 16;

/// Panics where the reader of datagrams breaks a promise.
pub fn check(data: &[u8]) {
    let links = links(data);
    assert!(links.len() <= data.len() / SMALLEST, "more links than messages");
}
