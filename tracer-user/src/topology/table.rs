//! The look-up table: which device is that?

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Link, LinkEvent, Netns, enter, neighbours};
use tracer_core::record;

/// How long what has gone is still known: packets are reported later than netlink tells of it.
const REMEMBERED: Duration = Duration::from_secs(30);
/// And how many devices and names at most.
const REMEMBERED_ITEMS: usize = 4096;

/// The links and names that events told of.
#[derive(Debug, Default)]
pub struct Topology {
    links: HashMap<Key, Link>,
    /// Of a followed namespace without a name: `None`.
    names: HashMap<u32, Option<String>>,
    /// That of process 1.
    host: Option<u32>,
    past_links: HashMap<Key, VecDeque<Link>>,
    past_names: HashMap<u32, VecDeque<String>>,
    /// What has gone, oldest first: each stands for the front of one of the queues above.
    departed: VecDeque<(Instant, Departed)>,
    version: u64,
}

/// inode of the namespace, index of the device.
type Key = (u32, u32);

#[derive(Debug)]
enum Departed {
    Link(Key),
    Name(u32),
}

impl Topology {
    /// Takes in an event that is read at time `now`.
    pub fn apply(&mut self, event: LinkEvent, now: Instant) {
        self.version += 1;
        match event {
            LinkEvent::Appeared(link) | LinkEvent::Changed(link) => {
                self.names.insert(link.netns.inode, link.netns.name.clone());
                self.links.insert((link.netns.inode, link.ifindex), link);
            }
            LinkEvent::Gone { netns, ifindex } => self.depart((netns, ifindex), now),
            LinkEvent::NetnsGone { inode } => {
                let keys: Vec<_> =
                    self.links.keys().filter(|key| key.0 == inode).copied().collect();
                for key in keys {
                    self.depart(key, now);
                }
                if self.names.get(&inode) == Some(&None) {
                    self.names.remove(&inode);
                }
            }
            LinkEvent::Host { inode } => self.host = Some(inode),
            LinkEvent::NetnsNamed { inode, name } => {
                let named = name.is_some();
                let before =
                    if named { self.names.insert(inode, name) } else { self.names.remove(&inode) };
                if let Some(Some(before)) = before.filter(|_| !named) {
                    self.past_names.entry(inode).or_default().push_back(before);
                    self.departed.push_back((now, Departed::Name(inode)));
                }
            }
        }
        self.forget(now);
    }

    /// Another number after each event: what was looked up before may have changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn depart(&mut self, key: Key, now: Instant) {
        if let Some(link) = self.links.remove(&key) {
            self.past_links.entry(key).or_default().push_back(link);
            self.departed.push_back((now, Departed::Link(key)));
        }
    }

    fn forget(&mut self, now: Instant) {
        let too_old = |since| now.saturating_duration_since(since) > REMEMBERED;
        while let Some((since, oldest)) = self.departed.front()
            && (self.departed.len() > REMEMBERED_ITEMS || too_old(*since))
        {
            match oldest {
                Departed::Link(key) => pop_front(&mut self.past_links, key),
                Departed::Name(inode) => pop_front(&mut self.past_names, inode),
            }
            self.departed.pop_front();
        }
    }

    /// How many devices are known.
    pub fn devices(&self) -> usize {
        self.links.len()
    }

    /// Whether the namespace with that inode is, or was a moment ago, among those that are followed.
    pub fn follows(&self, inode: u32) -> bool {
        self.links.keys().chain(self.past_links.keys()).any(|(netns, _)| *netns == inode)
    }

    /// The name of the namespace with that inode.
    pub fn netns_name(&self, inode: u32) -> Option<&str> {
        match self.names.get(&inode) {
            // A namespace that is followed and has no name has none, whatever the last one of that
            // inode was called.
            Some(name) => name.as_deref(),
            None => self.past_names.get(&inode)?.back().map(String::as_str),
        }
    }

    /// The device of that index, or the last one that was.
    pub fn link(&self, netns: u32, ifindex: u32) -> Option<&Link> {
        let key = (netns, ifindex);
        self.links.get(&key).or_else(|| self.past_links.get(&key)?.back())
    }

    /// The record of the device that a packet's event is about: index and name (empty: unknown) as
    /// the event has them. `None` when there is neither.
    pub fn model_dev(&self, netns: u32, ifindex: u32, name_seen: &str) -> Option<record::Dev> {
        if ifindex == 0 {
            return None;
        }
        let key = (netns, ifindex);
        let past = self.past_links.get(&key).into_iter().flat_map(|past| past.iter().rev());
        // Another name: the device was renamed, or it has gone and its numbers are in use again.
        let of_that_name =
            self.links.get(&key).into_iter().chain(past).find(|l| l.name == name_seen);
        let link = of_that_name.or_else(|| self.link(netns, ifindex));
        let name = match link {
            _ if !name_seen.is_empty() => name_seen.to_owned(),
            Some(link) => link.name.clone(),
            None => return None,
        };
        let mut dev = record::Dev {
            ifindex,
            name,
            kind: None,
            mac: None,
            peer: None,
            master: None,
            mtu: None,
            carrier: None,
            bridge: None,
            ofport: None,
            bond: None,
        };
        if let Some(link) = link {
            dev.kind.clone_from(&link.kind);
            dev.mac = link.mac.map(record::Mac);
            dev.mtu = link.mtu;
            dev.carrier = link.carrier.filter(|carrier| !carrier);
            dev.master =
                link.master.and_then(|m| self.link(netns, m)).map(|master| master.name.clone());
            dev.peer = link.peer.map(|(netns, ifindex)| record::Peer {
                netns,
                ifindex,
                name: self.link(netns, ifindex).map(|peer| peer.name.clone()),
            });
        }
        Some(dev)
    }

    /// The namespace with that inode, to be entered; `None` when none of its devices is known.
    pub fn netns(&self, inode: u32) -> Option<Arc<Netns>> {
        let link = self.links.values().find(|link| link.netns.inode == inode)?;
        Some(link.netns.clone())
    }

    /// Whether some namespace looks for a neighbour, for which packets may be waiting. One that cannot
    /// be asked does not.
    pub fn looks_for_neighbours(&self) -> bool {
        let namespaces: HashMap<u32, &Netns> =
            self.links.values().map(|link| (link.netns.inode, &*link.netns)).collect();
        namespaces.values().any(|netns| match enter(netns, neighbours::are_looked_for) {
            Ok(Ok(are)) => are,
            Ok(Err(e)) | Err(e) => {
                log::debug!("the neighbours of {}: {e}", netns.label());
                false
            }
        })
    }

    /// The record of the namespace with that inode.
    pub fn model_netns(&self, inode: u32) -> record::Netns {
        let name = self.netns_name(inode).map(str::to_owned);
        let is_namesake = name.as_deref() == Some("host") && self.host.is_some_and(|h| h != inode);
        record::Netns { inode, name, path: is_namesake.then(|| "/run/netns/host".to_owned()) }
    }
}

/// Drops the oldest item under `key`.
fn pop_front<K: Eq + Hash, V>(queues: &mut HashMap<K, VecDeque<V>>, key: &K) {
    if let Some(queue) = queues.get_mut(key) {
        queue.pop_front();
        if queue.is_empty() {
            queues.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Netns;
    use super::*;

    fn link(netns: u32, ifindex: u32, name: &str) -> Link {
        Link {
            netns: Netns::for_test(netns, Some("router")),
            ifindex,
            name: name.to_owned(),
            kind: Some("veth".to_owned()),
            mac: Some([2, 0, 0, 0, 0xab, 1]),
            mtu: Some(1500),
            carrier: Some(true),
            master: None,
            peer: None,
            up: true,
        }
    }

    fn with(links: Vec<Link>) -> (Topology, Instant) {
        let (mut topology, now) = (Topology::default(), Instant::now());
        for link in links {
            topology.apply(LinkEvent::Appeared(link), now);
        }
        (topology, now)
    }

    #[test]
    fn a_device_is_described_with_its_relations() {
        let bridge = Link { kind: Some("bridge".to_owned()), ..link(7, 9, "br0") };
        let (topology, _) = with(vec![
            Link { master: Some(9), peer: Some((8, 3)), ..link(7, 2, "veth-r") },
            bridge,
            link(8, 3, "eth0"),
        ]);
        let dev = topology.model_dev(7, 2, "veth-r").unwrap();
        assert_eq!(dev.mac, "02:00:00:00:ab:01".parse().ok());
        assert_eq!(dev.master.as_deref(), Some("br0"));
        let peer = record::Peer { netns: 8, ifindex: 3, name: Some("eth0".to_owned()) };
        assert_eq!(dev.peer, Some(peer));
        assert_eq!(topology.model_netns(7).name.as_deref(), Some("router"));
    }

    #[test]
    fn a_namespace_named_host_is_told_from_that_of_process_1() {
        let (mut topology, now) = with(Vec::new());
        let named = |inode| LinkEvent::NetnsNamed { inode, name: Some("host".to_owned()) };
        topology.apply(LinkEvent::Host { inode: 1 }, now);
        topology.apply(named(1), now);
        topology.apply(named(7), now);
        assert_eq!(topology.model_netns(7).path.as_deref(), Some("/run/netns/host"));
        assert_eq!(topology.model_netns(1).path, None);
    }

    #[test]
    fn of_an_unknown_device_the_event_itself_is_told() {
        let topology = Topology::default();
        let dev = topology.model_dev(7, 2, "veth-r").unwrap();
        assert_eq!((dev.ifindex, dev.name.as_str(), dev.kind), (2, "veth-r", None));
        assert_eq!(topology.model_dev(7, 2, ""), None);
        assert_eq!(topology.model_dev(7, 0, "x"), None);
        assert_eq!(topology.model_netns(7), record::Netns { inode: 7, name: None, path: None });
    }

    #[test]
    fn what_has_gone_is_known_for_a_while() {
        let (mut topology, now) = with(vec![link(7, 2, "veth-r"), link(7, 3, "veth-s")]);
        topology.apply(LinkEvent::Gone { netns: 7, ifindex: 2 }, now);
        topology.apply(LinkEvent::NetnsGone { inode: 7 }, now);
        topology.apply(LinkEvent::NetnsNamed { inode: 7, name: None }, now);
        assert_eq!(topology.link(7, 2).unwrap().name, "veth-r");
        assert!(topology.model_dev(7, 3, "veth-s").unwrap().kind.is_some());
        assert_eq!(topology.netns_name(7), Some("router"));
        topology
            .apply(LinkEvent::NetnsGone { inode: 1 }, now + REMEMBERED + Duration::from_secs(1));
        assert_eq!(topology.link(7, 2), None);
        assert_eq!(topology.netns_name(7), None);
    }

    #[test]
    fn numbers_in_use_again_do_not_hide_what_had_them() {
        let (mut topology, now) = with(vec![link(7, 2, "old")]);
        topology.apply(LinkEvent::NetnsGone { inode: 7 }, now);
        topology.apply(LinkEvent::NetnsNamed { inode: 7, name: None }, now);
        let tun = Link {
            kind: Some("tun".to_owned()),
            netns: Netns::for_test(7, None),
            ..link(7, 2, "new")
        };
        topology.apply(LinkEvent::Appeared(tun), now);
        assert_eq!(topology.model_dev(7, 2, "old").unwrap().kind.as_deref(), Some("veth"));
        assert_eq!(topology.model_dev(7, 2, "new").unwrap().kind.as_deref(), Some("tun"));
        assert_eq!(topology.netns_name(7), None, "it is another namespace now");
    }

    #[test]
    fn the_name_is_that_of_the_moment() {
        let (mut topology, now) = with(vec![link(7, 2, "before")]);
        topology.apply(LinkEvent::Changed(link(7, 2, "after")), now);
        let dev = topology.model_dev(7, 2, "before").unwrap();
        assert_eq!((dev.name.as_str(), dev.kind.as_deref()), ("before", Some("veth")));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut topology, now) = with(vec![]);
        for ifindex in 1..=2 * REMEMBERED_ITEMS as u32 {
            topology.apply(LinkEvent::Appeared(link(7, ifindex, "x")), now);
            topology.apply(LinkEvent::Gone { netns: 7, ifindex }, now);
        }
        assert_eq!(topology.departed.len(), REMEMBERED_ITEMS);
        assert_eq!(topology.past_links.len(), REMEMBERED_ITEMS);
    }
}
