//! Classifiers on a clsact qdisc, for kernels without tcx (before 6.6). Unlike links they outlive
//! the process that attached them, so what a killed lasthop left behind is found by its name.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::fcntl::{Flock, FlockArg};

/// Every classifier of lasthop's is named so.
const PREFIX: &str = "lasthop_";
/// Held, shared, by every lasthop that has classifiers attached.
pub const LOCK: &str = "/run/lasthop.lock";

/// The lock that tells other lasthops that this one's classifiers are in use.
pub struct InUse {
    _lock: Flock<File>,
}

/// Whether no lasthop is running whose classifiers these could be.
pub fn is_unused() -> bool {
    open_lock().is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok())
}

/// Marks classifiers named like ours as in use, until it is dropped or the process ends.
///
/// # Errors
/// The lock file cannot be made.
pub fn mark_in_use() -> io::Result<InUse> {
    Flock::lock(open_lock()?, FlockArg::LockShared)
        .map(|lock| InUse { _lock: lock })
        .map_err(|(_, e)| e.into())
}

fn open_lock() -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(LOCK)
}

/// A classifier of lasthop's on a device of the namespace it was found in.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    header: TcHeader,
}

/// The classifiers named like ours on a device of the calling thread's namespace.
///
/// # Errors
/// Netlink refuses.
pub fn leftovers_here(ifindex: u32) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for minor in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
        let mut message = TcMessage::with_index(index(ifindex));
        message.header.parent = TcHandle { major: u16::MAX, minor };
        let asked = RouteNetlinkMessage::GetTrafficFilter(message);
        for answer in ask(asked, NLM_F_REQUEST | NLM_F_DUMP)? {
            if let RouteNetlinkMessage::NewTrafficFilter(filter) = answer
                && let Some(name) = bpf_name(&filter)
                && name.starts_with(PREFIX)
            {
                found.push(Leftover { name, header: filter.header });
            }
        }
    }
    Ok(found)
}

/// Removes one, in the namespace it was found in.
///
/// # Errors
/// Netlink refuses.
pub fn remove_here(leftover: &Leftover) -> io::Result<()> {
    let mut message = TcMessage::default();
    message.header = leftover.header.clone();
    ask(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_REQUEST | NLM_F_ACK).map(drop)
}

/// Removes the clsact qdisc of a device of the calling thread's namespace, unless somebody's
/// filters are on it.
///
/// # Errors
/// Netlink refuses.
pub fn remove_empty_qdisc_here(ifindex: u32) -> io::Result<()> {
    for minor in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
        let mut message = TcMessage::with_index(index(ifindex));
        message.header.parent = TcHandle { major: u16::MAX, minor };
        let asked = RouteNetlinkMessage::GetTrafficFilter(message);
        if !ask(asked, NLM_F_REQUEST | NLM_F_DUMP)?.is_empty() {
            return Ok(());
        }
    }
    let mut message = TcMessage::with_index(index(ifindex));
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    ask(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_REQUEST | NLM_F_ACK).map(drop)
}

fn index(ifindex: u32) -> i32 {
    i32::try_from(ifindex).unwrap_or(i32::MAX)
}

fn bpf_name(filter: &TcMessage) -> Option<String> {
    filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
            _ => None,
        }),
        _ => None,
    })
}

/// One request and all that is answered to it.
fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(io::Error::other)?;
            let length = (answer.header.length as usize).next_multiple_of(4);
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(e) if e.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(e) => return Err(e.to_io()),
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or(&[]);
        }
    }
}
