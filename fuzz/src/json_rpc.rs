//! What `ovs-vswitchd` and the database servers of Open vSwitch and OVN answer.

use std::io::Read;

use lasthop::fuzzing::{flow, ports, vlan};
use lasthop::ovs::answer::{Fault, SHORT, read};

/// Panics where the reader of answers breaks a promise. Up to three answers, a byte 0 between them.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let answers = [(); 3].map(|()| parts.next().unwrap_or_default());
    for answer in answers {
        let whole = text(answer);
        assert_eq!(text(Halves(answer)), whole, "it depends on how it comes");
        if let Err(Fault::Garbled(why)) = whole {
            assert!(!why.is_empty());
        }
    }
    if let Some(ports) = ports(answers) {
        assert!(ports.len() >= ports.bridges().len(), "a bridge without a port");
    }
    for tagged in [None, Some(7)] {
        if let Some(vlan) = vlan(answers, tagged) {
            assert!(vlan.inside.iter().all(|port| port == "br0"), "{vlan:?}");
        }
    }
    if let Some((flow, acl)) = flow(answers) {
        assert_eq!(flow.uuid, acl.uuid);
        assert_eq!(flow.uuid.len(), 36);
    }
}

fn text(from: impl Read) -> Result<String, Fault> {
    read(from, SHORT)
}

/// Gives half of what is left at a time.
struct Halves<'a>(&'a [u8]);

impl Read for Halves<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.len().div_ceil(2).min(into.len());
        (&mut self.0).take(n as u64).read(&mut into[..n])
    }
}
