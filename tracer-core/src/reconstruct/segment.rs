//! TCP's numbers: what each side of a connection has sent and acknowledged, to tell why conntrack
//! called a segment invalid (`net/netfilter/nf_conntrack_proto_tcp.c`, `tcp_in_window`).

use crate::reconstruct::flow::Direction;
use crate::reconstruct::sight::Sight;
use crate::record::Tcp;

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
    is_syn: bool,
    is_rst: bool,
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
            is_rst: flags.has("R"),
        })
    }
}

/// The largest shift of a window (RFC 7323, 2.3).
const MAX_SCALE: u8 = 14;

/// What one side of a connection has sent, as far as it was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    /// Behind the last byte sent; `None` before the first segment.
    end: Option<u32>,
    /// The latest acknowledgement.
    acked: Option<u32>,
    /// The largest window offered, bytes; `None` where the SYN was not seen, since nobody knows then
    /// by how much windows are shifted.
    room: Option<u32>,
    /// By how many bits windows are shifted, 0 to 14.
    scale: u8,
    /// The latest segment leaves the other side no window.
    is_shut: bool,
}

/// Whether `a` comes after `b`, in arithmetic modulo 2^32 (RFC 9293, 3.4).
pub(super) fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

fn latest(known: Option<u32>, new: u32) -> u32 {
    known.filter(|known| after(*known, new)).unwrap_or(new)
}

impl Extent {
    /// One more segment of this side.
    fn add(&mut self, segment: &Segment) {
        self.end = Some(latest(self.end, segment.end));
        if let Some(ack) = segment.ack {
            self.acked = Some(latest(self.acked, ack));
        }
        if segment.is_syn {
            self.scale = segment.scale.unwrap_or(0).min(MAX_SCALE);
        }
        // The window of a SYN itself is never scaled (RFC 7323, 2.2).
        let scale = if segment.is_syn { 0 } else { self.scale };
        let offered = u32::from(segment.window) << scale;
        self.is_shut = segment.ack.is_some() && !segment.is_syn && offered == 0;
        if let Some(known) = self.room.or(segment.is_syn.then_some(0)) {
            self.room = Some(known.max(offered));
        }
    }
}

/// The numbers of both sides of a connection, in the order in which its segments were seen first.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    out: Extent,
    back: Extent,
}

impl Numbers {
    /// One more packet, at its first place: how it does not fit those before it. Then it counts for
    /// nothing.
    pub fn see(&mut self, direction: Direction, sight: &Sight) -> Option<Misfit> {
        let Some(segment) = &sight.segment else {
            // Of a segment without its numbers (a fragment, or longer than its header can say) what
            // was sent is not known any more.
            if sight.tcp.is_some() {
                *self = Self::default();
            }
            return None;
        };
        self.add(direction, segment)
    }

    /// Which side's latest segment leaves the other no window; a RST ends that.
    pub fn shut(&self) -> Option<Direction> {
        match (self.out.is_shut, self.back.is_shut) {
            (_, true) => Some(Direction::Reply),
            (true, _) => Some(Direction::Forward),
            _ => None,
        }
    }

    /// What was taken for the first packet's direction is the other.
    pub fn turn(&mut self) {
        std::mem::swap(&mut self.out, &mut self.back);
    }

    fn add(&mut self, direction: Direction, segment: &Segment) -> Option<Misfit> {
        if segment.is_syn {
            let (own, _) = self.sides(direction);
            if own.end.is_some_and(|end| end != segment.end) {
                // The ports are used again.
                *own = Extent::default();
                if segment.ack.is_none() {
                    *self = Self::default();
                }
            }
        }
        let (own, peer) = self.sides(direction);
        let misfit = misfit(segment, own, peer);
        if misfit.is_none() {
            own.add(segment);
            if segment.is_rst {
                (own.is_shut, peer.is_shut) = (false, false);
            }
            if segment.is_syn && segment.ack.is_some() && segment.scale.is_none() {
                // Windows are scaled where both say so.
                peer.scale = 0;
            }
        }
        misfit
    }

    fn sides(&mut self, direction: Direction) -> (&mut Extent, &mut Extent) {
        match direction {
            Direction::Forward => (&mut self.out, &mut self.back),
            Direction::Reply => (&mut self.back, &mut self.out),
        }
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
    /// A RST that begins that many bytes before what the other side has acknowledged: conntrack
    /// believes none (`nf_conntrack_tcp_packet`, "invalid rst").
    Acknowledged(u32),
}

/// Whether `segment` of the side that sent `own` fits what the other side, `peer`, has sent. `None`
/// where it fits, or where too little was seen of the connection.
fn misfit(segment: &Segment, own: &Extent, peer: &Extent) -> Option<Misfit> {
    // Of a connection whose beginning was not seen, what was sent before is not known either.
    let room = peer.room?;
    let distance = |far: u32, near: u32| far.wrapping_sub(near);
    if let (Some(ack), Some(sent)) = (segment.ack, peer.end)
        && after(ack, sent)
    {
        return Some(Misfit::Unsent(distance(ack, sent)));
    }
    let acked = peer.acked?;
    let edge = acked.wrapping_add(room);
    if after(segment.seq, edge) {
        return Some(Misfit::Beyond(distance(segment.seq, edge)));
    }
    if segment.is_rst && after(acked, segment.seq) {
        return Some(Misfit::Acknowledged(distance(acked, segment.seq)));
    }
    let oldest = own.end?.wrapping_sub(room).wrapping_sub(1);
    after(oldest, segment.end).then(|| Misfit::Before(distance(oldest, segment.end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TcpFlags;

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

    use Direction::{Forward, Reply};

    /// A client that began at `u32::MAX - 100` and a server that began at 5000, after a handshake and
    /// 300 bytes from the client: its numbers have wrapped around.
    fn connection() -> Numbers {
        let mut numbers = Numbers::default();
        let isn = u32::MAX - 100;
        for (direction, segment) in [
            (Forward, segment("S", isn, 0, 0)),
            (Reply, segment("SA", 5000, isn.wrapping_add(1), 0)),
            (Forward, segment("A", isn.wrapping_add(1), 5001, 0)),
            (Forward, segment("PA", isn.wrapping_add(1), 5001, 300)),
            (Reply, segment("A", 5001, isn.wrapping_add(301), 0)),
        ] {
            assert_eq!(numbers.add(direction, &segment), None, "{segment:?}");
        }
        numbers
    }

    #[test]
    fn what_goes_on_or_is_repeated_fits() {
        for (seq, ack) in [(200, 5001), (u32::MAX - 99, 5001), (200 + 3900, 5001), (200, 4000)] {
            let next = segment("A", seq, ack, 0);
            assert_eq!(connection().add(Forward, &next), None, "{seq} {ack}");
        }
        assert_eq!(connection().add(Forward, &segment("R", 200, 0, 0)), None);
        assert_eq!(connection().add(Forward, &segment("R", 200 + 4000, 0, 0)), None);
    }

    #[test]
    fn what_does_not_fit_says_by_how_much() {
        // Acknowledged: 200 (wrapped), and room for 1000 << 2 behind it.
        let beyond = segment("A", 200 + 4000 + 7, 5001, 0);
        assert_eq!(connection().add(Forward, &beyond), Some(Misfit::Beyond(7)));
        let unsent = segment("A", 200, 5001 + 9, 0);
        assert_eq!(connection().add(Forward, &unsent), Some(Misfit::Unsent(9)));
        let before = segment("A", 200_u32.wrapping_sub(4001 + 5), 5001, 0);
        assert_eq!(connection().add(Forward, &before), Some(Misfit::Before(5)));
        let acknowledged = segment("R", 200 - 3, 0, 0);
        assert_eq!(connection().add(Forward, &acknowledged), Some(Misfit::Acknowledged(3)));
    }

    #[test]
    fn the_window_of_a_syn_is_not_scaled() {
        let mut numbers = Numbers::default();
        for (direction, segment) in
            [(Forward, segment("S", 99, 0, 0)), (Reply, segment("SA", 5000, 100, 0))]
        {
            assert_eq!(numbers.add(direction, &segment), None, "{segment:?}");
        }
        assert_eq!(numbers.clone().add(Forward, &segment("A", 100 + 1000, 5001, 0)), None);
        let beyond = segment("A", 100 + 1000 + 1, 5001, 0);
        assert_eq!(numbers.add(Forward, &beyond), Some(Misfit::Beyond(1)));
    }

    #[test]
    fn windows_are_scaled_where_both_sides_say_so() {
        let mut numbers = Numbers::default();
        let unscaled = Segment { scale: None, ..segment("SA", 5000, 100, 0) };
        for (direction, segment) in [
            (Forward, segment("S", 99, 0, 0)),
            (Reply, unscaled),
            (Forward, segment("A", 100, 5001, 0)),
        ] {
            assert_eq!(numbers.add(direction, &segment), None, "{segment:?}");
        }
        let beyond = segment("A", 5001 + 1000 + 1, 100, 0);
        assert_eq!(numbers.add(Reply, &beyond), Some(Misfit::Beyond(1)));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut numbers = connection();
        let forged = segment("RA", 2_000_000_000, 5001, 0);
        assert!(numbers.add(Forward, &forged).is_some());
        assert_eq!(numbers.add(Forward, &segment("PA", 200, 5001, 100)), None);
        assert_eq!(numbers.add(Reply, &segment("A", 5001, 300, 0)), None);
    }

    #[test]
    fn a_connection_that_begins_anew_has_numbers_of_its_own() {
        let mut numbers = connection();
        for (direction, segment) in [
            (Forward, segment("S", 3_000_000_000, 0, 0)),
            (Reply, segment("SA", 17, 3_000_000_001, 0)),
            (Forward, segment("PA", 3_000_000_001, 18, 100)),
            // A SYN-ACK that is repeated, and a SYN.
            (Reply, segment("SA", 17, 3_000_000_001, 0)),
            (Reply, segment("A", 18, 3_000_000_101, 0)),
        ] {
            assert_eq!(numbers.add(direction, &segment), None, "{segment:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_was_not_seen() {
        assert_eq!(Numbers::default().add(Forward, &segment("PA", 77, 88, 5)), None);
        // Without the SYNs nobody knows by how much windows are shifted, nor what was sent before.
        let mut numbers = Numbers::default();
        for (direction, segment) in [
            (Forward, segment("A", 1000, 5000, 0)),
            (Reply, segment("A", 5000, 1000, 0)),
            (Forward, segment("PA", 60_000, 5000, 1400)),
            (Forward, segment("PA", 1000, 5000, 1400)),
            (Forward, segment("A", 1000, 5001, 0)),
        ] {
            assert_eq!(numbers.add(direction, &segment), None, "{segment:?}");
        }
    }
}
