//! What netfilter is asked, and what was answered: pure, the asking is done elsewhere. What Open
//! vSwitch is asked is in [`owner`](crate::reconstruct::owner).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::reconstruct::flow::Flow;
use crate::reconstruct::sight::Sight;
use crate::reconstruct::tuple::FlowTuple;
use crate::record::{Conntrack, Hop, Netfilter, Outcome, OvsTrace, Routing, Tuple};

/// How many answers are kept.
const MAX_ANSWERS: usize = 512;
/// How many about rules, one a flow: four times as many as flows are held.
const MAX_RULES: usize = 16_384;

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Conntrack.
    Conntrack(Conntrack),
    /// The rules.
    Netfilter(Netfilter),
    /// The routes and addresses.
    Routing(Routing),
    /// Open vSwitch's tables.
    OpenVswitch(Box<OvsTrace>),
}

/// A question to a namespace's conntrack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// inode of the namespace.
    pub netns: u32,
    /// Who holds this tuple; `None`: how full is the table.
    pub tuple: Option<Tuple>,
    /// Its ICMP identifier.
    pub icmp_id: Option<u16>,
    /// In which zone.
    pub zone: Option<u16>,
}

/// Functions that drop what netfilter's hooks refuse.
const NETFILTER: &[&str] = &[
    "nf_hook_slow",
    "nf_hook_slow_list",
    "nft_do_chain",
    "ipt_do_table",
    "ip6t_do_table",
    "nf_conntrack_in",
    "__nf_conntrack_confirm",
    "nf_confirm",
];

/// Functions of Open vSwitch in which a packet ends that conntrack refused (`ovs_ct_execute`, and
/// who calls it).
const DATAPATH: &[&str] =
    &["ovs_ct_execute", "ovs_ct_commit", "__ovs_ct_lookup", "do_execute_actions"];

/// Whether conntrack may have refused it inside of Open vSwitch.
pub fn is_datapath(reason: Option<&str>, symbol: Option<&str>) -> bool {
    reason == Some("OVS_DROP_CONNTRACK") || symbol.is_some_and(|s| DATAPATH.contains(&s))
}

/// Whether netfilter dropped it.
pub fn is_netfilter(reason: Option<&str>, symbol: Option<&str>) -> bool {
    reason == Some("NETFILTER_DROP") || symbol.is_some_and(|s| NETFILTER.contains(&s))
}

/// What a packet lacked that was not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A host that takes it for its own, or forwards it.
    Host,
    /// A route to the other end of the tunnel.
    FarEnd,
}

/// Kinds of devices that wrap packets up and send them to an address.
pub fn is_tunnel(kind: &str) -> bool {
    matches!(
        kind,
        "vxlan"
            | "geneve"
            | "gre"
            | "gretap"
            | "ip6gre"
            | "ip6gretap"
            | "erspan"
            | "ip6erspan"
            | "ipip"
            | "sit"
            | "ip6tnl"
    )
}

/// What a namespace is to be asked about the destination of a packet that died at this hop.
pub fn lacks(hop: &Hop) -> Option<Lack> {
    let (drop, kind) = (hop.drop.as_ref()?, hop.dev.as_ref()?.kind.as_deref());
    match (drop.reason.as_deref(), drop.symbol.as_deref()?) {
        (Some("IP_INADDRERRORS"), "ip_error" | "ip6_forward") | (None, "ip_error") => {
            Some(Lack::Host)
        }
        (Some("IP_OUTNOROUTES"), _) if kind.is_some_and(is_tunnel) && hop.tunnel.is_none() => {
            Some(Lack::FarEnd)
        }
        _ => None,
    }
}

/// The questions that a hop raises.
pub fn raised_by(hop: &Hop) -> Vec<Question> {
    let (Some(drop), Some(netns)) = (&hop.drop, &hop.netns) else {
        return Vec::new();
    };
    let (reason, symbol) = (drop.reason.as_deref(), drop.symbol.as_deref());
    let in_datapath = is_datapath(reason, symbol);
    if !in_datapath && !is_netfilter(reason, symbol) {
        return Vec::new();
    }
    let unconfirmed = hop
        .ct
        .as_ref()
        .filter(|ct| ct.entry.is_some() && !ct.status.iter().any(|status| status == "confirmed"));
    let Some(ct) = unconfirmed else {
        if in_datapath {
            return Vec::new();
        }
        // Without an entry: is there one after all, that should be its own?
        // (Not of what a tunnel carries: there it is the tunnel's own packets that are tracked.)
        let tuple = hop.tuple.filter(|_| hop.ct.is_none() && hop.tunnel.is_none());
        let icmp_id = hop.icmp.as_ref().and_then(|i| i.id);
        return vec![Question { netns: netns.inode, tuple, icmp_id, zone: None }];
    };
    let tuples = [&ct.orig, &ct.reply].into_iter().zip([0, 1]);
    let question = |(tuple, n): (&Option<Tuple>, usize)| Question {
        netns: netns.inode,
        tuple: *tuple,
        icmp_id: ct.icmp_ids.map(|ids| ids[n]),
        zone: ct.zone,
    };
    tuples.map(question).collect()
}

/// The questions that a flow leaves open at the end: whether the entry that should have translated
/// its replies is still there.
pub fn left_by(flow: &Flow) -> Vec<Question> {
    let lost = flow.losses.iter().filter(|l| l.outcome == Outcome::ReplyNotTranslated);
    let steps = lost.filter_map(|l| flow.nat.undone_for(l.first.tuple, l.at.tuple?));
    // Where the translation is not known to be made, there is no one to ask.
    let steps = steps.filter(|step| step.is_placed());
    let questions = steps.filter_map(|step| {
        Some(Question {
            netns: step.at.site.netns.as_ref()?.inode,
            tuple: Some(step.from),
            icmp_id: step.at.icmp.as_ref().and_then(|i| i.id),
            zone: Some(step.entry.and_then(|e| e.zone).unwrap_or(0)),
        })
    });
    let mut questions: Vec<_> = questions.collect();
    questions.dedup();
    questions
}

/// Netfilter's answers.
#[derive(Debug, Default)]
pub struct Answers {
    conntrack: VecDeque<Arc<Conntrack>>,
    netfilter: ByPlace,
    routing: VecDeque<Arc<Routing>>,
}

fn keep<T>(all: &mut VecDeque<Arc<T>>, one: T) {
    if all.len() >= MAX_ANSWERS {
        all.pop_front();
    }
    all.push_back(Arc::new(one));
}

/// Answers about rules, by what they are about.
#[derive(Debug, Default)]
struct ByPlace {
    answers: HashMap<Place, Vec<Arc<Netfilter>>>,
    /// In the order in which they came.
    order: VecDeque<Place>,
}

/// A namespace, and a tuple in it.
type Place = (u32, Tuple);

impl ByPlace {
    fn add(&mut self, answer: Netfilter) {
        if self.order.len() >= MAX_RULES
            && let Some(oldest) = self.order.pop_front()
            && let Some(all) = self.answers.get_mut(&oldest)
        {
            all.remove(0);
            if all.is_empty() {
                self.answers.remove(&oldest);
            }
        }
        let place = (answer.netns.inode, answer.tuple);
        self.order.push_back(place);
        self.answers.entry(place).or_default().push(Arc::new(answer));
    }
}

impl Answers {
    /// One more.
    pub fn add(&mut self, answer: Answer) {
        match answer {
            Answer::Conntrack(answer) => keep(&mut self.conntrack, answer),
            Answer::Netfilter(answer) => self.netfilter.add(answer),
            Answer::Routing(answer) => keep(&mut self.routing, answer),
            Answer::OpenVswitch(_) => {}
        }
    }

    /// What is known of the rules that dropped packets of a flow, or ICMP errors about it.
    pub fn rules_about(&self, flow: &Flow) -> Vec<Arc<Netfilter>> {
        let places = flow.losses.iter().map(|l| &l.at).chain(flow.related.iter().map(|r| &r.at));
        let places: HashSet<Place> =
            places.filter_map(|s| Some((s.site.netns.as_ref()?.inode, s.tuple?))).collect();
        let own = places.iter().filter_map(|place| self.netfilter.answers.get(place));
        own.flatten().cloned().collect()
    }

    /// What the namespaces in which a flow's packets were not sent on said of their destinations.
    pub fn routing_about(&self, flow: &Flow) -> Vec<Arc<Routing>> {
        let lost = |answer: &&Arc<Routing>| {
            let own = |at: &Sight| {
                let netns = at.site.netns.as_ref().map(|n| n.inode);
                netns == Some(answer.netns.inode) && at.tuple.is_some_and(|t| t.dst == answer.dst)
            };
            flow.losses.iter().any(|loss| own(&loss.at))
        };
        self.routing.iter().filter(lost).cloned().collect()
    }

    /// Those that concern a flow: from where it came to harm or was translated, about one of its
    /// tuples or about none.
    pub fn about(&self, flow: &Flow) -> Vec<Arc<Conntrack>> {
        let places = flow.losses.iter().map(|l| &l.at).chain(flow.nat.steps.iter().map(|s| &s.at));
        let netns: Vec<u32> =
            places.filter_map(|s| s.site.netns.as_ref().map(|n| n.inode)).collect();
        let own = |t: FlowTuple| {
            let ways = flow.losses.iter().filter_map(|l| l.at.ct.as_ref());
            let ways = ways.flat_map(|ct| [ct.orig, ct.reply]).flatten();
            let ways = ways.chain(flow.losses.iter().filter_map(|l| l.at.tuple));
            let steps = flow.nat.steps.iter().flat_map(|s| [s.from, s.to]);
            [flow.forward, flow.translated]
                .into_iter()
                .flatten()
                .chain(ways)
                .chain(steps)
                .any(|own| own == t || own.reversed() == t)
        };
        let concerns = |answer: &&Arc<Conntrack>| {
            netns.contains(&answer.netns.inode)
                && match &answer.tuple {
                    None => true,
                    Some(tuple) => own(*tuple),
                }
        };
        self.conntrack.iter().filter(concerns).cloned().collect()
    }
}
