//! From an entry's bytes to what a record says of it.

use tracer_common::conntrack::{CT_LABELS, CT_MARK, CT_READ, CT_ZONE, Ct};
use tracer_common::flow::proto;

use super::tuple;
use crate::kernel::conntrack::CtNames;
use tracer_core::record::Ct as Record;

/// What a record says of an entry; `None` where there is nothing to say (a template, which has
/// not become an entry).
pub fn record(ct: &Ct, names: &CtNames) -> Option<Record> {
    let state = names.state(ct.info).map(str::to_owned);
    if ct.flags & CT_READ == 0 {
        return state
            .filter(|_| ct.entry == 0)
            .map(|state| Record { state: Some(state), ..Record::default() });
    }
    if ct.orig.proto == 0 {
        return None;
    }
    let has = |flag| ct.flags & flag != 0;
    let status = names.status(ct.status);
    let is = |name: &str| status.iter().any(|s| s == name);
    let nat = [("src-nat", "src"), ("dst-nat", "dst")];
    let nat = nat.into_iter().filter(|(bit, _)| is(bit)).map(|(_, end)| end.to_owned());
    let labels = u128::from(ct.labels[1]) << 64 | u128::from(ct.labels[0]);
    Some(Record {
        state,
        zone: has(CT_ZONE).then_some(ct.zone),
        mark: has(CT_MARK).then_some(ct.mark),
        orig: Some(tuple(&ct.orig)),
        reply: Some(tuple(&ct.reply)),
        icmp_ids: matches!(ct.orig.proto, proto::ICMP | proto::ICMP6)
            .then_some([ct.orig_id, ct.reply_id]),
        nat: nat.collect(),
        status,
        labels: (has(CT_LABELS) && labels != 0).then(|| format!("{labels:#x}")),
        entry: Some(format!("{:#x}", ct.entry)),
    })
}
