//! The conntrack entry of a packet: what follows an event as [`PART_CT`](crate::abi::PART_CT), and
//! where the kernel keeps it.

use crate::codec::Error;
use crate::flow::{Addr, Tuple};

/// Low bits of `skb->_nfct` that are `enum ip_conntrack_info`; the rest is the address of the
/// `nf_conn` (`include/linux/netfilter/nf_conntrack_common.h`, `NFCT_INFOMASK`).
pub const INFO_MASK: u64 = 7;

/// The entry that an skb carries, as it was at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Ct {
    /// Address of the `nf_conn`: tells one entry from another of the same tuples. 0: none, and
    /// then only `info` means something.
    pub entry: u64,
    /// How the connection's packets look where it began.
    pub orig: Tuple,
    /// How its replies look on their arrival, that is, before they are translated back.
    pub reply: Tuple,
    /// `nf_conn_labels`; 0 where the entry has none.
    pub labels: [u64; 2],
    /// `IPS_*` bits.
    pub status: u32,
    /// Connection mark; 0 where the kernel has none.
    pub mark: u32,
    /// Zone.
    pub zone: u16,
    /// ICMP identifier of `orig`, host byte order; 0 for other protocols.
    pub orig_id: u16,
    /// ICMP identifier of `reply`.
    pub reply_id: u16,
    /// `enum ip_conntrack_info`, or [`NO_INFO`].
    pub info: u8,
    /// `CT_*`.
    pub flags: u8,
}

/// `Ct::info`: the skb carries nothing of conntrack's.
pub const NO_INFO: u8 = u8::MAX;

/// `Ct::flags`: the entry has labels.
pub const CT_LABELS: u8 = 1;
/// `Ct::flags`: the entry could be read.
pub const CT_READ: u8 = 2;
/// `Ct::flags`: the kernel has zones.
pub const CT_ZONE: u8 = 4;
/// `Ct::flags`: the kernel has connection marks.
pub const CT_MARK: u8 = 8;

const _: () = assert!(size_of::<Ct>() == 8 + 80 + 16 + 16);

/// Byte offsets from the running kernel's BTF, of `nf_conn` and what it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CtLayout {
    /// 1: the kernel has conntrack and the rest is known; 0: no packet carries an entry.
    pub known: u32,
    /// `sk_buff._nfct`.
    pub skb_nfct: u32,
    /// `nf_conn.tuplehash[0].tuple`.
    pub orig: u32,
    /// `nf_conn.tuplehash[1].tuple`.
    pub reply: u32,
    /// `nf_conntrack_tuple.src.u3`, as the following.
    pub src_addr: u32,
    /// `src.u`: port or ICMP identifier.
    pub src_port: u32,
    /// `src.l3num`: address family.
    pub family: u32,
    /// `dst.u3`.
    pub dst_addr: u32,
    /// `dst.u`.
    pub dst_port: u32,
    /// `dst.protonum`.
    pub proto: u32,
    /// `nf_conn.status`.
    pub status: u32,
    /// 1: `nf_conn.mark` exists.
    pub has_mark: u32,
    /// `nf_conn.mark`.
    pub mark: u32,
    /// 1: `nf_conn.zone` exists.
    pub has_zone: u32,
    /// `nf_conn.zone.id`.
    pub zone: u32,
    /// 1: the label extension exists.
    pub has_labels: u32,
    /// `nf_conn.ext`.
    pub ext: u32,
    /// `nf_ct_ext.offset[NF_CT_EXT_LABELS]`.
    pub ext_labels: u32,
    /// Bytes of that offset: 1 or 2.
    pub ext_width: u32,
}

impl CtLayout {
    /// Before the running kernel was asked, or when it has no conntrack.
    pub const UNKNOWN: Self = Self {
        known: 0,
        skb_nfct: 0,
        orig: 0,
        reply: 0,
        src_addr: 0,
        src_port: 0,
        family: 0,
        dst_addr: 0,
        dst_port: 0,
        proto: 0,
        status: 0,
        has_mark: 0,
        mark: 0,
        has_zone: 0,
        zone: 0,
        has_labels: 0,
        ext: 0,
        ext_labels: 0,
        ext_width: 0,
    };
}

impl Ct {
    /// The parts of an entry that are not read, to begin with.
    pub const NONE: Self = Self {
        entry: 0,
        orig: NO_TUPLE,
        reply: NO_TUPLE,
        labels: [0; 2],
        status: 0,
        mark: 0,
        zone: 0,
        orig_id: 0,
        reply_id: 0,
        info: NO_INFO,
        flags: 0,
    };

    /// Whether the entry translates: its replies are not the plain reverse of its packets.
    #[inline(always)]
    pub fn translates(&self) -> bool {
        self.orig != self.reply.reversed()
    }

    /// Reads one from the ring buffer's bytes.
    ///
    /// # Errors
    /// [`Error::Size`] when they are too few.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut at = Reader { bytes, at: 0 };
        Ok(Self {
            entry: u64::from_ne_bytes(at.take()?),
            orig: at.tuple()?,
            reply: at.tuple()?,
            labels: [u64::from_ne_bytes(at.take()?), u64::from_ne_bytes(at.take()?)],
            status: u32::from_ne_bytes(at.take()?),
            mark: u32::from_ne_bytes(at.take()?),
            zone: u16::from_ne_bytes(at.take()?),
            orig_id: u16::from_ne_bytes(at.take()?),
            reply_id: u16::from_ne_bytes(at.take()?),
            info: u8::from_ne_bytes(at.take()?),
            flags: u8::from_ne_bytes(at.take()?),
        })
    }
}

const NO_TUPLE: Tuple =
    Tuple { src: Addr([0; 2]), dst: Addr([0; 2]), sport: 0, dport: 0, proto: 0, has_ports: 0 };

/// Takes integers off the front of bytes; the fields stand in the order of their declaration,
/// without gaps, as the sizes asserted above say.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let end = self.at.saturating_add(N);
        let taken = self.bytes.get(self.at..end).and_then(|b| b.try_into().ok());
        self.at = end;
        taken.ok_or(Error::Size(self.bytes.len()))
    }

    fn addr(&mut self) -> Result<Addr, Error> {
        Ok(Addr([u64::from_ne_bytes(self.take()?), u64::from_ne_bytes(self.take()?)]))
    }

    fn tuple(&mut self) -> Result<Tuple, Error> {
        Ok(Tuple {
            src: self.addr()?,
            dst: self.addr()?,
            sport: u16::from_ne_bytes(self.take()?),
            dport: u16::from_ne_bytes(self.take()?),
            proto: u16::from_ne_bytes(self.take()?),
            has_ports: u16::from_ne_bytes(self.take()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::proto;

    fn tuple(n: u8) -> Tuple {
        Tuple {
            src: Addr::v4([10, 0, 0, n]),
            dst: Addr::v6(u64::from(n), 7),
            sport: 1,
            dport: 2,
            proto: proto::TCP,
            has_ports: 1,
        }
    }

    #[test]
    fn bytes_are_read_in_the_order_of_the_fields() {
        let ct = Ct {
            entry: 0xffff_8880_0000_0040,
            orig: tuple(1),
            reply: tuple(2),
            labels: [3, 4],
            status: 5,
            mark: 6,
            zone: 7,
            orig_id: 8,
            reply_id: 9,
            info: 2,
            flags: CT_READ,
        };
        let mut bytes = Vec::new();
        bytes.extend(ct.entry.to_ne_bytes());
        for t in [ct.orig, ct.reply] {
            bytes.extend(t.src.octets());
            bytes.extend(t.dst.octets());
            for half in [t.sport, t.dport, t.proto, t.has_ports] {
                bytes.extend(half.to_ne_bytes());
            }
        }
        bytes.extend(ct.labels.iter().flat_map(|w| w.to_ne_bytes()));
        bytes.extend(ct.status.to_ne_bytes());
        bytes.extend(ct.mark.to_ne_bytes());
        for half in [ct.zone, ct.orig_id, ct.reply_id] {
            bytes.extend(half.to_ne_bytes());
        }
        bytes.extend([ct.info, ct.flags]);
        assert_eq!(bytes.len(), size_of::<Ct>());
        assert_eq!(Ct::decode(&bytes), Ok(ct));
        assert_eq!(Ct::decode(&bytes[1..]), Err(Error::Size(bytes.len() - 1)));
    }

    #[test]
    fn an_entry_translates_when_its_replies_are_not_the_reverse() {
        let plain = Ct { orig: tuple(1), reply: tuple(1).reversed(), ..Ct::NONE };
        assert!(!plain.translates());
        assert!(Ct { reply: tuple(2), ..plain }.translates());
    }
}
