//! TCP's numbers: what each side of a connection has sent and acknowledged, to tell why conntrack
//! called a segment invalid (`net/netfilter/nf_conntrack_proto_tcp.c`, `tcp_in_window`).

use crate::model::Tcp;

/// The numbers of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Sequence number behind its last; SYN and FIN count for one each.
    pub end: u32,
    /// What it acknowledges; absent without ACK.
    pub ack: Option<u32>,
    /// The window as the header has it.
    window: u16,
    /// A SYN's window scale.
    scale: Option<u8>,
    /// The window of a SYN is never scaled.
    is_syn: bool,
}

impl Segment {
    /// From a record; `None` where it lacks the numbers.
    pub fn from_record(tcp: &Tcp) -> Option<Self> {
        let flags = tcp.flags;
        let counted = u32::from(flags.has("S")) + u32::from(flags.has("F"));
        Some(Self {
            seq: tcp.seq,
            end: tcp.seq.wrapping_add(tcp.data?).wrapping_add(counted),
            ack: flags.has("A").then_some(tcp.ack),
            window: tcp.window?,
            scale: tcp.scale,
            is_syn: flags.has("S"),
        })
    }
}

/// What one side of a connection has sent, as far as it was seen and not lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Behind the last byte sent; `None` before the first segment.
    end: Option<u32>,
    /// The latest acknowledgement.
    acked: Option<u32>,
    /// The largest window offered, unscaled.
    window: u16,
    /// By how many bits windows are shifted.
    scale: u8,
}

/// Whether `a` comes after `b`, in arithmetic modulo 2^32 (RFC 9293, 3.4).
fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

fn latest(known: Option<u32>, new: u32) -> u32 {
    known.filter(|known| after(*known, new)).unwrap_or(new)
}

impl Extent {
    /// One more segment of this side.
    pub fn add(&mut self, segment: &Segment) {
        self.end = Some(latest(self.end, segment.end));
        if let Some(ack) = segment.ack {
            self.acked = Some(latest(self.acked, ack));
        }
        self.window = self.window.max(segment.window);
        if segment.is_syn {
            self.scale = segment.scale.unwrap_or(0);
        }
    }

    fn room(&self) -> u32 {
        u32::from(self.window) << self.scale
    }
}

/// How a segment does not fit its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It begins that many bytes beyond all that the other side has room for.
    Beyond(u32),
    /// It ends that many bytes before all that this side may still repeat.
    Before(u32),
    /// It acknowledges that many bytes which the other side has not sent.
    Unsent(u32),
}

/// Whether `segment` of the side that sent `own` fits what the other side, `peer`, has sent. `None`
/// where it fits, or where too little was seen of the connection.
pub fn misfit(segment: &Segment, own: &Extent, peer: &Extent) -> Option<Misfit> {
    let distance = |far: u32, near: u32| far.wrapping_sub(near);
    if let (Some(ack), Some(sent)) = (segment.ack, peer.end)
        && after(ack, sent)
    {
        return Some(Misfit::Unsent(distance(ack, sent)));
    }
    let edge = peer.acked?.wrapping_add(peer.room());
    if after(segment.seq, edge) {
        return Some(Misfit::Beyond(distance(segment.seq, edge)));
    }
    let oldest = own.end?.wrapping_sub(peer.room()).wrapping_sub(1);
    after(oldest, segment.end).then(|| Misfit::Before(distance(oldest, segment.end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TcpFlags;

    fn segment(flags: &str, seq: u32, ack: u32, data: u32) -> Segment {
        let tcp = Tcp {
            flags: TcpFlags::parse(flags),
            seq,
            ack,
            window: Some(1000),
            data: Some(data),
            scale: flags.contains('S').then_some(2),
        };
        Segment::from_record(&tcp).unwrap()
    }

    /// A client that began at `u32::MAX - 100` and a server that began at 5000, after a handshake and
    /// 300 bytes from the client: its numbers have wrapped around.
    fn connection() -> (Extent, Extent) {
        let (mut client, mut server) = (Extent::default(), Extent::default());
        let isn = u32::MAX - 100;
        client.add(&segment("S", isn, 0, 0));
        server.add(&segment("SA", 5000, isn.wrapping_add(1), 0));
        client.add(&segment("A", isn.wrapping_add(1), 5001, 0));
        client.add(&segment("PA", isn.wrapping_add(1), 5001, 300));
        server.add(&segment("A", 5001, isn.wrapping_add(301), 0));
        (client, server)
    }

    #[test]
    fn what_goes_on_or_is_repeated_fits() {
        let (client, server) = connection();
        for (seq, ack) in [(200, 5001), (u32::MAX - 99, 5001), (200 + 3900, 5001), (200, 4000)] {
            assert_eq!(misfit(&segment("A", seq, ack, 0), &client, &server), None, "{seq} {ack}");
        }
        assert_eq!(misfit(&segment("R", 200, 0, 0), &client, &server), None);
    }

    #[test]
    fn what_does_not_fit_says_by_how_much() {
        let (client, server) = connection();
        // Acknowledged: 200 (wrapped), and room for 1000 << 2 behind it.
        let beyond = segment("A", 200 + 4000 + 7, 5001, 0);
        assert_eq!(misfit(&beyond, &client, &server), Some(Misfit::Beyond(7)));
        let unsent = segment("A", 200, 5001 + 9, 0);
        assert_eq!(misfit(&unsent, &client, &server), Some(Misfit::Unsent(9)));
        let before = segment("R", 200_u32.wrapping_sub(4001 + 5), 0, 0);
        assert_eq!(misfit(&before, &client, &server), Some(Misfit::Before(5)));
    }

    #[test]
    fn nothing_is_said_of_a_connection_that_was_not_seen() {
        let nobody = Extent::default();
        assert_eq!(misfit(&segment("PA", 77, 88, 5), &nobody, &nobody), None);
        let (client, _) = connection();
        assert_eq!(misfit(&segment("PA", 77, 88, 5), &client, &nobody), None);
    }
}
