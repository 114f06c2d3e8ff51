//! Classifiers on a clsact qdisc, for kernels without tcx (before 6.6). Unlike links they outlive
//! the process that attached them, so what a killed lasthop left behind is found by its name.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, Nla as _,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
    TcOption,
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

/// A classifier of lasthop's on a device, or on a block that devices share, of the namespace it was
/// found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// Its name.
    pub name: String,
    header: TcHeader,
}

/// The qdisc that a device has in front of its ingress: `clsact`, or `ingress`, which has no egress.
///
/// Several devices may share one block of filters (`tc-qdisc(8)`, `ingress_block`), as Open vSwitch
/// lets the members of a Linux bond do. Filters of a shared block go by its index alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qdisc {
    /// Filters can be put on what leaves by the device.
    pub has_egress: bool,
    /// The block that it shares with others for what arrives.
    pub ingress_block: Option<u32>,
    /// The same for what leaves.
    pub egress_block: Option<u32>,
}

/// `TCA_INGRESS_BLOCK` and `TCA_EGRESS_BLOCK` of `linux/rtnetlink.h`.
const INGRESS_BLOCK: u16 = 13;
const EGRESS_BLOCK: u16 = 14;
/// Frames of every protocol (`linux/if_ether.h`).
const ETH_P_ALL: u16 = 3;
/// In place of a device's index: the message is about a block (`TCM_IFINDEX_MAGIC_BLOCK`).
const OF_BLOCK: i32 = -1;

/// The classifiers named like ours on a device of the calling thread's namespace.
///
/// # Errors
/// Netlink refuses.
pub fn leftovers_here(ifindex: u32) -> io::Result<Vec<Classifier>> {
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
                // Of an `ingress` qdisc, and of a shared block, both questions tell the same.
                let classifier = Classifier { name, header: filter.header };
                if !found.contains(&classifier) {
                    found.push(classifier);
                }
            }
        }
    }
    Ok(found)
}

/// Removes one, in the namespace it was found in.
///
/// # Errors
/// Netlink refuses.
pub fn remove_here(classifier: &Classifier) -> io::Result<()> {
    let mut message = TcMessage::default();
    message.header = classifier.header.clone();
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

/// The qdisc in front of the ingress of a device of the calling thread's namespace.
///
/// # Errors
/// Netlink refuses, or there is none.
pub fn qdisc_here(ifindex: u32) -> io::Result<Qdisc> {
    let mut message = TcMessage::with_index(index(ifindex));
    message.header.parent = TcHandle::CLSACT;
    let asked = RouteNetlinkMessage::GetQueueDiscipline(message);
    let answers = ask(asked, NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO)?;
    let qdisc = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
        _ => None,
    });
    let qdisc = qdisc.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let is_clsact = |a: &TcAttribute| matches!(a, TcAttribute::Kind(kind) if kind == "clsact");
    Ok(Qdisc {
        has_egress: qdisc.attributes.iter().any(is_clsact),
        ingress_block: block(&qdisc, INGRESS_BLOCK),
        egress_block: block(&qdisc, EGRESS_BLOCK),
    })
}

/// The index of a block; 0 is none.
fn block(qdisc: &TcMessage, attribute: u16) -> Option<u32> {
    let found = qdisc.attributes.iter().find_map(|a| match a {
        TcAttribute::Other(other) if other.kind() == attribute => {
            let mut bytes = [0; 4];
            (other.value_len() == bytes.len()).then(|| {
                other.emit_value(&mut bytes);
                u32::from_ne_bytes(bytes)
            })
        }
        _ => None,
    });
    found.filter(|index| *index != 0)
}

/// Puts a program on a block that devices of the calling thread's namespace share, in front of what
/// is there.
///
/// # Errors
/// Netlink refuses.
pub fn attach_to_block_here(
    block: u32,
    program: BorrowedFd<'_>,
    name: &str,
) -> io::Result<Classifier> {
    let mut message = TcMessage::with_index(OF_BLOCK);
    message.header.parent = TcHandle::from(block);
    // No priority: the kernel takes one before all others. Every protocol.
    message.header.info = u32::from(ETH_P_ALL.to_be());
    let fd = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
    let options = [
        TcFilterBpfOption::ProgFd(fd),
        TcFilterBpfOption::ProgName(name.to_owned()),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    message.attributes.push(TcAttribute::Options(options.map(TcOption::Bpf).into()));
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO | NLM_F_CREATE | NLM_F_EXCL;
    let answers = ask(RouteNetlinkMessage::NewTrafficFilter(message), flags)?;
    let made = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter.header),
        _ => None,
    });
    let header = made.ok_or_else(|| io::Error::other("the kernel does not say what it made"))?;
    Ok(Classifier { name: name.to_owned(), header })
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
