//! A packet's conntrack entry, as the reconstruction remembers it.

use crate::reconstruct::tuple::FlowTuple;
use crate::record::Ct;

/// How a packet relates to the connection that conntrack knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the record: see `record::Ct`")]
pub enum State {
    New,
    Established,
    Reply,
    Related,
    Untracked,
    Other,
}

/// The entry that a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// How the packet relates to it.
    pub state: Option<State>,
    /// Zone.
    pub zone: Option<u16>,
    /// How the connection's packets look where it began.
    pub orig: Option<FlowTuple>,
    /// How its replies look on their arrival.
    pub reply: Option<FlowTuple>,
    /// It is in the table.
    pub confirmed: bool,
    /// Kernel address.
    pub entry: Option<u64>,
}

impl Tracked {
    /// From a record.
    pub fn from_record(ct: &Ct) -> Self {
        let state = ct.state.as_deref().map(|state| match state {
            "new" => State::New,
            "established" => State::Established,
            "reply" => State::Reply,
            "related" | "related-reply" => State::Related,
            "untracked" => State::Untracked,
            _ => State::Other,
        });
        Self {
            state,
            zone: ct.zone,
            orig: ct.orig,
            reply: ct.reply,
            confirmed: ct.status.iter().any(|s| s == "confirmed"),
            entry: ct
                .entry
                .as_deref()
                .and_then(|e| u64::from_str_radix(e.strip_prefix("0x")?, 16).ok()),
        }
    }

    /// Whether both are one entry: the address alone may be that of a later one.
    pub fn is_same(&self, other: &Self) -> bool {
        self.entry.is_some() && (self.entry, self.orig) == (other.entry, other.orig)
    }

    /// What it makes of the connection's packets, when it translates: from, to.
    pub fn translation(&self) -> Option<(FlowTuple, FlowTuple)> {
        let (from, to) = (self.orig?, self.reply?.reversed());
        (from != to).then_some((from, to))
    }

    /// How the connection's first packet was sent, where it translates the one with this tuple.
    pub fn origin_of(&self, tuple: FlowTuple) -> Option<FlowTuple> {
        let (from, to) = self.translation()?;
        let is_reply = self.state == Some(State::Reply);
        let known = if is_reply { [from.reversed(), to.reversed()] } else { [from, to] };
        known.contains(&tuple).then_some(from)
    }
}
