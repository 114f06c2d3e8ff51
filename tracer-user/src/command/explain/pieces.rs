//! The pieces that many lines have in common, read once.
//!
//! More than half of a hop's line says at which device of which namespace it was. To find where an
//! object ends, a JSON parser looks at each of its bytes; a piece that was read before need only be
//! compared. It is cut out, and what is left is a shorter line.

use std::collections::HashMap;

use memchr::memchr2;
use memchr::memmem::Finder;
use serde::de::IgnoredAny;

use tracer_core::record::Hop;

/// How many pieces of one kind are remembered; past that it starts anew.
const MAX_KNOWN: usize = 2048;
/// Longer ones are not, bytes: a hostile recording has no share in the memory.
const MAX_PIECE: usize = 1024;

/// What was read before, of each kind of line by its piece.
pub struct Pieces {
    netns: Finder<'static>,
    tuple: Finder<'static>,
    first: Finder<'static>,
    /// Of hops, what comes before the tuple: the hop that says only that. `None` where it says more than
    /// where the hop was, or is not whole by itself.
    sites: Known<Option<Box<Hop>>>,
    /// Of journeys, from where it began to the end: whether it is whole by itself.
    stops: Known<bool>,
    /// A line without its piece.
    rest: String,
}

type Known<T> = HashMap<Box<str>, T, foldhash::fast::RandomState>;

impl Default for Pieces {
    fn default() -> Self {
        Self {
            netns: Finder::new(r#""netns":"#),
            tuple: Finder::new(r#","tuple":"#),
            first: Finder::new(r#""first":"#),
            sites: Known::default(),
            stops: Known::default(),
            rest: String::new(),
        }
    }
}

impl Pieces {
    /// The hop that a line of ours tells of; `None` where only the whole line can say.
    pub fn hop(&mut self, line: &str) -> Option<Hop> {
        let begin = member(line, &self.netns)?;
        let end = begin + self.tuple.find(&line.as_bytes()[begin..])?;
        let site = look_up(&mut self.sites, &line[begin..end], site)?.as_ref()?;
        // The comma behind the piece goes with it.
        self.rest.clear();
        self.rest.extend([&line[..begin], &line[end + 1..]]);
        let mut hop: Hop = serde_json::from_str(&self.rest).ok()?;
        if !says_not_where(&hop) {
            return None;
        }
        (hop.netns, hop.dev) = (site.netns.clone(), site.dev.clone());
        (hop.eth, hop.vlan) = (site.eth, site.vlan.clone());
        Some(hop)
    }

    /// Whether the line of a journey is known to be whole; only the whole line can say that it is not.
    pub fn is_journey(&mut self, line: &str) -> bool {
        let Some(begin) = member(line, &self.first) else { return false };
        let is_whole = |piece: &str| is_json(&format!("{{{piece}"));
        if look_up(&mut self.stops, &line[begin..], is_whole) != Some(&true) {
            return false;
        }
        self.rest.clear();
        self.rest.extend([&line[..begin], r#""first":0}"#]);
        is_json(&self.rest)
    }
}

/// The piece as a hop of its own, where it says nothing but where that was.
fn site(piece: &str) -> Option<Box<Hop>> {
    let read = |piece: &str| {
        let line = format!(r#"{{"ts":0,"cpu":0,"hook":"drop","len":0{piece}}}"#);
        serde_json::from_str::<Hop>(&line).ok()
    };
    let (blank, site) = (read("")?, read(&format!(",{piece}"))?);
    let elsewhere = Hop { netns: None, dev: None, eth: None, vlan: Vec::new(), ..site.clone() };
    (elsewhere == blank).then(|| Box::new(site))
}

fn says_not_where(hop: &Hop) -> bool {
    hop.netns.is_none() && hop.dev.is_none() && hop.eth.is_none() && hop.vlan.is_empty()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Where a member of the line's own object begins that is not the first one. `key`: with its quotes and
/// its colon. Such a text stands nowhere but at a member: within a string its quotes have backslashes.
fn member(line: &str, key: &Finder<'_>) -> Option<usize> {
    let begin = key.find(line.as_bytes())?;
    let before = line.as_bytes().get(1..begin)?;
    // Nothing was opened before it but the line.
    (before.ends_with(b",") && memchr2(b'{', b'[', before).is_none()).then_some(begin)
}

/// What a piece says, as it was read before or as `read` reads it.
fn look_up<'a, T>(
    known: &'a mut Known<T>,
    piece: &str,
    read: impl FnOnce(&str) -> T,
) -> Option<&'a T> {
    if piece.len() > MAX_PIECE {
        return None;
    }
    if !known.contains_key(piece) {
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(piece.into(), read(piece));
    }
    known.get(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::reconstruct::testing::{HopExt, hop, tuple};
    use tracer_core::record::{HookName, Record, Vlan};

    /// A hop as lasthop writes it.
    fn line(hop: &Hop) -> String {
        serde_json::to_string(&Record::Hop(hop)).unwrap()
    }

    fn at(dev: &str) -> Hop {
        let udp = tuple("udp", "10.0.0.1", 1, "10.0.0.2", 2);
        let mut hop = hop(HookName::TcEgress, 1, 1).on("router", dev, Some("veth")).tuple(udp);
        hop = hop.paired().to_mac("02:00:00:00:00:01");
        hop.vlan = vec![Vlan { id: 7, tpid: 0x8100, pcp: 0 }];
        hop
    }

    #[test]
    fn a_hop_is_what_its_whole_line_says() {
        let mut pieces = Pieces::default();
        for dev in ["eth0", "eth1", r#"a","tuple":"b"#, "a\\", "eth0"] {
            for hop in [at(dev), Hop { eth: None, vlan: Vec::new(), ..at(dev) }] {
                assert_eq!(pieces.hop(&line(&hop)), Some(hop));
            }
        }
        assert_eq!(pieces.sites.len(), 8);
    }

    #[test]
    fn where_the_piece_is_not_all_that_says_where_the_whole_line_is_read() {
        let mut pieces = Pieces::default();
        let whole = line(&at("eth0"));
        assert!(pieces.hop(&whole).is_some());
        let changed = |from: &str, to: &str| {
            let changed = whole.replacen(from, to, 1);
            assert_ne!(changed, whole);
            changed
        };
        for other in [
            // Another member is among them.
            changed(r#""netns":"#, r#""netns":{"inode":1},"len":9,"x":"#),
            changed(r#","tuple":"#, r#","via":"learned","tuple":"#),
            // It is said twice, which is refused.
            changed(r#","life":"#, r#","dev":{"ifindex":1,"name":"a"},"life":"#),
            // The first such name is that of an inner object's member.
            changed(r#""cpu":0,"#, r#""cpu":0,"dev":{"ifindex":2,"netns":7},"#),
            // No tuple, or none in our order.
            changed(r#","tuple":"#, r#","x":"#),
            changed(r#""netns":"#, r#""x":"#),
            // Cut off, and garbled.
            whole[..whole.len() - 1].to_owned(),
            changed(r#""len":"#, r#""len":-"#),
        ] {
            assert_eq!(pieces.hop(&other), None, "{other}");
        }
    }

    #[test]
    fn a_journey_is_whole_by_its_piece_and_its_rest() {
        let mut pieces = Pieces::default();
        let whole = r#"{"type":"journey","packet":1,"first":{"hook":"drop"},"last":{"dev":"a"}}"#;
        assert!(pieces.is_journey(whole) && pieces.is_journey(&whole.replace(":1", ":2")));
        for lost in ["{", ",", "}", "]", "\"first", "hook\""] {
            let garbled = whole.replacen(lost, "[", 1);
            assert_eq!(pieces.is_journey(&garbled), garbled == whole, "{garbled}");
        }
        assert!(!pieces.is_journey(&whole[..whole.len() - 1]));
        assert!(!pieces.is_journey(&whole.replace(":1,", ":,")));
    }

    #[test]
    fn memory_is_bounded() {
        let mut pieces = Pieces::default();
        for ifindex in 0..2 * MAX_KNOWN {
            assert!(pieces.hop(&line(&at(&format!("eth{ifindex}")))).is_some());
        }
        assert!(pieces.sites.len() <= MAX_KNOWN);
        assert_eq!(pieces.hop(&line(&at(&"x".repeat(MAX_PIECE)))), None);
    }
}
