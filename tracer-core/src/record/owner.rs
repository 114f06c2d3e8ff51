//! What Open vSwitch and OVN, asked, say of a packet that died in their hands.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// How the `OpenFlow` tables end a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceKind {
    /// A rule drops it, or does nothing that sends it on.
    Rule,
    /// No rule of the table matches.
    NoMatch,
    /// The rule sends it to a port that the bridge does not have.
    MissingPort,
    /// Something that the rule wants cannot be done; `words` has Open vSwitch's own.
    Refused,
    /// It is a fragment, and the bridge drops those.
    Fragment,
    /// They do not: they send it on.
    Passes,
    /// Its rules send it nowhere, and yet a copy goes out: one that a mirror makes.
    Mirrored,
    /// It could not be found out; `lacks` says why.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What `ofproto/trace` says of a packet that died in Open vSwitch.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsTrace {
    /// Number of the packet.
    pub packet: u64,
    /// How it ends.
    pub kind: TraceKind,
    /// Bridge in which it ends.
    pub bridge: Option<String>,
    /// Table in which it ends.
    pub table: Option<u8>,
    /// Priority of the rule.
    pub priority: Option<u16>,
    /// Match of the rule, as Open vSwitch prints it; empty: it matches everything.
    pub r#match: Option<String>,
    /// Cookie of the rule, `0x…`.
    pub cookie: Option<String>,
    /// What the rule does.
    pub rule_actions: Option<String>,
    /// `missing-port`: the port, by number.
    pub port: Option<String>,
    /// Why, in Open vSwitch's words: of what it refuses, and of what it switches normally.
    pub words: Option<String>,
    /// The VLAN that the frame was in, where that is why no port takes it.
    pub vlan: Option<OvsVlan>,
    /// The connection tracking states that the live packet had after each recirculation, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ct_states: Vec<String>,
    /// A trace that is not told the live states (it assumes `trk|new`) sends the packet on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passes_simulated: bool,
    /// How the trace and what was seen live differ, and why; absent where they agree.
    pub disagrees: Option<String>,
    /// The actions that the trace ends with.
    pub datapath_actions: Option<String>,
    /// The trace that was asked for, as a command.
    pub asked: Option<String>,
    /// A command that shows the rule, or the table.
    pub show: Option<String>,
    /// A command that mends it, where one is at hand.
    pub fix: Option<String>,
    /// What OVN made the rule of.
    pub logical_flow: Option<LogicalFlow>,
    /// The ACL that the logical flow was made of.
    pub acl: Option<Acl>,
    /// What could not be found out, and why.
    pub lacks: Option<String>,
}

/// A VLAN of a bridge in which a frame finds nobody.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsVlan {
    /// Its number; 0 is that of frames without a tag.
    pub id: u16,
    /// The port by which the frame came in.
    pub port: String,
    /// That port's tag.
    pub tag: Option<u16>,
    /// Other ports that are in the VLAN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<String>,
    /// Ports that are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OvsVlanPort>,
}

/// What a port has to do with VLANs.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsVlanPort {
    /// Its name.
    pub port: String,
    /// Its tag.
    pub tag: Option<u16>,
    /// The VLANs that it carries tagged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunks: Vec<u16>,
}

/// A row of OVN's southbound table `Logical_Flow`.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogicalFlow {
    /// Its UUID.
    pub uuid: String,
    /// `ingress` or `egress`.
    pub pipeline: String,
    /// Logical table.
    pub table: u32,
    /// The stage's name (`ls_out_acl`).
    pub stage: Option<String>,
    /// The logical switch or router.
    pub datapath: Option<String>,
    /// Priority.
    pub priority: u32,
    /// Match.
    pub r#match: String,
    /// Actions.
    pub actions: String,
}

/// A row of OVN's northbound table `ACL`.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// Its UUID.
    pub uuid: String,
    /// Name, where it has one.
    pub name: Option<String>,
    /// `from-lport` or `to-lport`.
    pub direction: String,
    /// Priority.
    pub priority: u32,
    /// Match.
    pub r#match: String,
    /// `drop`, `reject`, `allow`, …
    pub action: String,
}
