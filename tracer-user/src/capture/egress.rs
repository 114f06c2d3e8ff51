//! Packets that tc's egress refuses: the tracepoint that sees packets leave is behind it
//! (`__dev_queue_xmit`), so only their end tells that they were there.

use tracer_core::record::{HookName, Hop};

/// The kernel's reason for what a filter or program at a device's egress dropped (`sch_handle_egress`).
const REASON: &str = "TC_EGRESS";

/// The hop at the device's egress that a drop proves: the kernel says that it was there.
pub fn proved_by(hop: &Hop) -> Option<Hop> {
    let drop = hop.drop.as_ref().filter(|_| hop.hook == HookName::Drop)?;
    let is_it = drop.reason.as_deref() == Some(REASON) && drop.subsystem.as_deref() == Some("core");
    (is_it && hop.dev.is_some()).then(|| Hop {
        hook: HookName::TcEgress,
        drop: None,
        stack: None,
        ..hop.clone()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tracer_core::reconstruct::testing::{HopExt as _, hop};
    use tracer_core::record::Drop;

    fn dropped(reason: &str) -> Hop {
        let drop = Drop {
            reason: Some(reason.to_owned()),
            subsystem: Some("core".to_owned()),
            symbol: Some("__dev_queue_xmit".to_owned()),
            offset: Some(8),
            silent: false,
        };
        let hop = hop(HookName::Drop, 3, 7).on("client", "eth0", Some("veth"));
        Hop { drop: Some(Arc::new(drop)), ..hop }
    }

    #[test]
    fn what_egress_refused_was_at_egress() {
        let proved = proved_by(&dropped("TC_EGRESS")).expect("a hop");
        assert_eq!((proved.hook, proved.ts, proved.life), (HookName::TcEgress, 3_000_000, 7));
        assert!(proved.drop.is_none() && proved.dev.is_some());
    }

    #[test]
    fn another_end_proves_nothing() {
        // What a qdisc drops has passed the tracepoint.
        assert!(proved_by(&dropped("QDISC_DROP")).is_none());
        assert!(proved_by(&hop(HookName::Consume, 3, 7)).is_none());
    }
}
