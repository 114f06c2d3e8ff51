//! All links of all namespaces joined into one picture, and what changed in it.
//!
//! Pure: messages in, events out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::message::RawLink;
use super::{Link, LinkEvent, Netns};

/// A device: inode of its namespace, index.
type Key = (u32, u32);

/// The picture.
#[derive(Default)]
pub(super) struct Inventory {
    netns: BTreeMap<u32, Arc<Netns>>,
    raw: BTreeMap<Key, RawLink>,
    /// What was told.
    links: HashMap<Key, Link>,
    names: BTreeMap<u32, String>,
    host: Option<u32>,
    /// For each namespace, which namespace each of its ids means; `None`: none that is followed.
    nsids: HashMap<u32, HashMap<i32, Option<u32>>>,
    events: Vec<LinkEvent>,
    changed: bool,
}

impl Inventory {
    /// A namespace is followed from now on, or has another name.
    pub fn set_netns(&mut self, netns: Arc<Netns>) {
        if self.netns.insert(netns.inode, netns).is_none() {
            // It may be the one that an id without a meaning is for.
            for ids in self.nsids.values_mut() {
                ids.retain(|_, meaning| meaning.is_some());
            }
        }
        self.changed = true;
    }

    /// A namespace is not followed any more.
    pub fn drop_netns(&mut self, inode: u32) {
        self.netns.remove(&inode);
        self.raw.retain(|key, _| key.0 != inode);
        self.links.retain(|key, _| key.0 != inode);
        self.nsids.remove(&inode);
        for ids in self.nsids.values_mut() {
            ids.retain(|_, meaning| *meaning != Some(inode));
        }
        self.events.push(LinkEvent::NetnsGone { inode });
        self.changed = true;
    }

    /// Which namespace is that of process 1.
    pub fn set_host(&mut self, inode: u32) {
        if self.host.replace(inode) != Some(inode) {
            self.events.push(LinkEvent::Host { inode });
        }
    }

    /// The names of all namespaces, followed or not.
    pub fn set_names(&mut self, names: &BTreeMap<u32, String>) {
        let lost = self.names.keys().filter(|inode| !names.contains_key(inode));
        let lost = lost.map(|inode| LinkEvent::NetnsNamed { inode: *inode, name: None });
        self.events.extend(lost);
        let new = names.iter().filter(|(inode, name)| self.names.get(inode) != Some(name));
        self.events.extend(new.map(|(inode, name)| LinkEvent::NetnsNamed {
            inode: *inode,
            name: Some(name.clone()),
        }));
        self.names.clone_from(names);
    }

    /// A link of a followed namespace looks like this.
    pub fn set_link(&mut self, inode: u32, link: RawLink) {
        let before = self.raw.get(&(inode, link.ifindex));
        if before.and_then(|b| b.link_nsid) != link.link_nsid
            && let (Some(nsid), Some(ids)) = (link.link_nsid, self.nsids.get_mut(&inode))
            && ids.get(&nsid) == Some(&None)
        {
            // Ids are used again: what had no meaning for an earlier link may have one for this.
            ids.remove(&nsid);
        }
        self.changed |= before != Some(&link);
        self.raw.insert((inode, link.ifindex), link);
    }

    /// A link has gone.
    pub fn drop_link(&mut self, inode: u32, ifindex: u32) {
        self.changed |= self.raw.remove(&(inode, ifindex)).is_some();
        if self.links.remove(&(inode, ifindex)).is_some() {
            self.events.push(LinkEvent::Gone { netns: inode, ifindex });
        }
    }

    /// Of this namespace's links, all but these have gone.
    pub fn keep_only(&mut self, inode: u32, ifindexes: &HashSet<u32>) {
        let here = self.raw.range((inode, 0)..=(inode, u32::MAX));
        let gone: Vec<u32> =
            here.map(|(key, _)| key.1).filter(|ifindex| !ifindexes.contains(ifindex)).collect();
        for ifindex in gone {
            self.drop_link(inode, ifindex);
        }
    }

    /// The ids that pairs lead to and whose meaning was not looked up yet, by namespace.
    pub fn unknown_nsids(&self) -> BTreeMap<u32, BTreeSet<i32>> {
        let mut unknown: BTreeMap<u32, BTreeSet<i32>> = BTreeMap::new();
        if !self.changed {
            return unknown;
        }
        for ((inode, _), link) in &self.raw {
            if let Some(nsid) = link.link_nsid.filter(|_| link.is_paired())
                && self.nsids.get(inode).is_none_or(|ids| !ids.contains_key(&nsid))
            {
                unknown.entry(*inode).or_default().insert(nsid);
            }
        }
        unknown
    }

    /// The followed namespaces that no id of namespace `inode` means yet, itself excepted.
    pub fn without_nsid(&self, inode: u32) -> Vec<Arc<Netns>> {
        let known: HashSet<u32> = self
            .nsids
            .get(&inode)
            .into_iter()
            .flat_map(HashMap::values)
            .flatten()
            .copied()
            .collect();
        let others = self.netns.values().filter(|n| n.inode != inode && !known.contains(&n.inode));
        others.cloned().collect()
    }

    /// In namespace `inode`, `nsid` means that other one, or none that is followed.
    pub fn set_nsid(&mut self, inode: u32, nsid: i32, meaning: Option<u32>) {
        self.nsids.entry(inode).or_default().insert(nsid, meaning);
        self.changed = true;
    }

    /// What has changed since the last call: first what has gone.
    pub fn take_events(&mut self) -> Vec<LinkEvent> {
        if std::mem::take(&mut self.changed) {
            let peers = self.peers();
            for (key, raw) in &self.raw {
                let Some(netns) = self.netns.get(&key.0) else {
                    continue;
                };
                let link = visible(netns, raw, peers.get(key).copied());
                match self.links.get(key) {
                    Some(before) if *before == link => continue,
                    Some(_) => self.events.push(LinkEvent::Changed(link.clone())),
                    None => self.events.push(LinkEvent::Appeared(link.clone())),
                }
                self.links.insert(*key, link);
            }
        }
        std::mem::take(&mut self.events)
    }

    /// The other end of each link that is one of a pair.
    ///
    /// Either end may say so first: the end that is made first tells of itself before it has a
    /// peer, and the end that stays is not told of again when the other one moves. So what a link
    /// says of its peer stands while that peer exists, and else what a peer says of it.
    fn peers(&self) -> HashMap<Key, Key> {
        let own = |(key, raw): (&Key, &RawLink)| Some((*key, self.named_peer(*key, raw)?));
        let named: HashMap<Key, Key> = self.raw.iter().filter_map(own).collect();
        let mut peers = named.clone();
        for (key, peer) in &named {
            let stands = named.get(peer).is_some_and(|back| self.raw.contains_key(back));
            if !stands && self.raw.get(peer).is_some_and(RawLink::is_paired) {
                peers.insert(*peer, *key);
            }
        }
        peers
    }

    fn named_peer(&self, key: Key, raw: &RawLink) -> Option<Key> {
        let ifindex = raw.link.filter(|_| raw.is_paired())?;
        let inode = match raw.link_nsid {
            None => key.0,
            Some(nsid) => (*self.nsids.get(&key.0)?.get(&nsid)?)?,
        };
        Some((inode, ifindex))
    }
}

fn visible(netns: &Arc<Netns>, raw: &RawLink, peer: Option<Key>) -> Link {
    Link {
        netns: Arc::clone(netns),
        ifindex: raw.ifindex,
        name: raw.name.clone(),
        kind: raw.kind.clone(),
        mac: raw.mac,
        mtu: raw.mtu,
        carrier: raw.carrier,
        master: raw.master,
        peer,
        up: raw.up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veth(ifindex: u32, link: Option<u32>, link_nsid: Option<i32>) -> RawLink {
        let kind = Some("veth".to_owned());
        RawLink {
            ifindex,
            name: format!("v{ifindex}"),
            kind,
            link,
            link_nsid,
            ..RawLink::default()
        }
    }

    fn two_namespaces() -> Inventory {
        let mut inventory = Inventory::default();
        inventory.set_netns(Netns::for_test(100, Some("a")));
        inventory.set_netns(Netns::for_test(200, Some("b")));
        inventory
    }

    /// Event, index, peer.
    fn told(inventory: &mut Inventory) -> Vec<(&'static str, u32, Option<Key>)> {
        let brief = |event| match event {
            LinkEvent::Appeared(link) => ("appeared", link.ifindex, link.peer),
            LinkEvent::Changed(link) => ("changed", link.ifindex, link.peer),
            LinkEvent::Gone { ifindex, .. } => ("gone", ifindex, None),
            LinkEvent::NetnsGone { inode } => ("netns gone", inode, None),
            LinkEvent::Host { inode } => ("host", inode, None),
            LinkEvent::NetnsNamed { inode, .. } => ("named", inode, None),
        };
        inventory.take_events().into_iter().map(brief).collect()
    }

    #[test]
    fn the_same_news_twice_is_none() {
        let mut inventory = two_namespaces();
        inventory.set_link(100, veth(1, None, None));
        assert_eq!(told(&mut inventory), [("appeared", 1, None)]);
        inventory.set_link(100, veth(1, None, None));
        assert_eq!(told(&mut inventory), []);
        inventory.set_link(100, RawLink { up: true, ..veth(1, None, None) });
        assert_eq!(told(&mut inventory), [("changed", 1, None)]);
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_not_told() {
        let mut inventory = two_namespaces();
        inventory.set_link(100, veth(1, None, None));
        inventory.drop_link(100, 1);
        assert_eq!(told(&mut inventory), []);
    }

    #[test]
    fn a_peer_is_known_from_either_end() {
        let mut inventory = two_namespaces();
        inventory.set_link(100, veth(1, None, None));
        inventory.set_link(100, veth(2, Some(1), None));
        let pair = [("appeared", 1, Some((100, 2))), ("appeared", 2, Some((100, 1)))];
        assert_eq!(told(&mut inventory), pair);
    }

    #[test]
    fn a_peer_that_moved_is_found_where_it_is_now() {
        let mut inventory = two_namespaces();
        inventory.set_link(100, veth(1, Some(2), None));
        inventory.set_link(100, veth(2, Some(1), None));
        inventory.take_events();
        inventory.drop_link(100, 2);
        inventory.set_nsid(200, 0, Some(100));
        inventory.set_link(200, veth(2, Some(1), Some(0)));
        let moved =
            [("gone", 2, None), ("changed", 1, Some((200, 2))), ("appeared", 2, Some((100, 1)))];
        assert_eq!(told(&mut inventory), moved);
    }

    #[test]
    fn an_id_is_looked_up_once_and_again_when_a_namespace_comes() {
        let mut inventory = two_namespaces();
        inventory.set_link(100, veth(1, Some(7), Some(4)));
        assert_eq!(inventory.unknown_nsids(), BTreeMap::from([(100, BTreeSet::from([4]))]));
        inventory.set_nsid(100, 4, None);
        assert!(inventory.unknown_nsids().is_empty());
        assert_eq!(told(&mut inventory), [("appeared", 1, None)]);
        inventory.set_netns(Netns::for_test(300, None));
        assert_eq!(inventory.unknown_nsids(), BTreeMap::from([(100, BTreeSet::from([4]))]));
        inventory.set_nsid(100, 4, Some(300));
        assert_eq!(told(&mut inventory), [("changed", 1, Some((300, 7)))]);
        let others: Vec<u32> = inventory.without_nsid(100).iter().map(|n| n.inode).collect();
        assert_eq!(others, [200]);
        inventory.drop_netns(300);
        assert_eq!(told(&mut inventory), [("netns gone", 300, None), ("changed", 1, None)]);
    }

    #[test]
    fn a_device_beneath_is_no_peer() {
        let mut inventory = two_namespaces();
        inventory
            .set_link(100, RawLink { kind: Some("vlan".to_owned()), ..veth(2, Some(1), None) });
        inventory.set_link(100, veth(1, None, None));
        assert_eq!(told(&mut inventory), [("appeared", 1, None), ("appeared", 2, None)]);
    }

    #[test]
    fn after_a_loss_what_is_not_listed_has_gone() {
        let mut inventory = two_namespaces();
        for (inode, ifindex) in [(100, 1), (100, 2), (200, 1)] {
            inventory.set_link(inode, veth(ifindex, None, None));
        }
        inventory.take_events();
        inventory.keep_only(100, &HashSet::from([2]));
        assert_eq!(told(&mut inventory), [("gone", 1, None)]);
    }

    #[test]
    fn names_are_told_when_they_change() {
        let mut inventory = Inventory::default();
        let names = |name: &str| BTreeMap::from([(5, name.to_owned())]);
        inventory.set_names(&names("x"));
        inventory.take_events();
        inventory.set_names(&names("x"));
        assert_eq!(inventory.take_events(), []);
        inventory.set_names(&BTreeMap::new());
        assert_eq!(inventory.take_events(), [LinkEvent::NetnsNamed { inode: 5, name: None }]);
    }
}
