//! A receiver that lets nothing more come: no packet comes to harm, and the connection stands still.

use crate::reconstruct::flow::{Direction, Flow};
use crate::reconstruct::sight::Sight;
use crate::verdict::{next, words};

/// Where the segments arrive at the side whose window is shut.
fn shut(flow: &Flow) -> Option<&Sight> {
    // The segment that opened it again may be among the events that were lost.
    let side = flow.numbers.shut().filter(|_| !flow.incomplete)?;
    let to = match side {
        Direction::Forward => &flow.back,
        Direction::Reply => &flow.out,
    };
    to.arrived.as_deref()
}

/// A sentence about it, where there is one.
pub fn told(flow: &Flow) -> String {
    let receiver = shut(flow).and_then(|at| at.tuple).map(|t| words::end(t.dst, t.dport));
    receiver.map_or_else(String::new, |receiver| {
        format!(
            " {receiver} lets nothing more come: the window in its last segment is 0, its receive buffer \
             being full of what its process has not read."
        )
    })
}

/// The command that shows the socket, its queues and its process.
pub fn commands(flow: &Flow) -> Option<String> {
    let at = shut(flow)?;
    let port = at.tuple?.dport?;
    Some(next::Spot::new(at, None).run(&format!("ss -tinmp 'sport = :{port}'")))
}

#[cfg(test)]
mod tests {
    use crate::reconstruct::Story;
    use crate::reconstruct::testing::{HopExt, hop, tuple};
    use crate::record::HookName::{Deliver, TcEgress, TcIngress};
    use crate::record::{Hop, Outcome, TcpFlags, Verdict};

    /// A segment from the client (life 1, 3, …) or from the server, that arrives.
    fn segment(n: u64, from_client: bool, flags: &str, window: u16) -> Vec<Hop> {
        let forth = tuple("tcp", "10.0.0.1", 4000, "10.0.0.2", 80);
        let back = tuple("tcp", "10.0.0.2", 80, "10.0.0.1", 4000);
        let (way, from, to) =
            if from_client { (forth, "client", "server") } else { (back, "server", "client") };
        let one = |hook, ms, netns| {
            let mut hop = hop(hook, n * 10 + ms, n).on(netns, "eth0", Some("veth")).paired();
            hop = hop.tuple(way).tcp(flags).print(&n.to_string());
            let tcp = hop.tcp.as_mut().unwrap();
            tcp.flags = TcpFlags::parse(flags);
            (tcp.window, tcp.data, tcp.ack) = (Some(window), Some(0), 1);
            hop
        };
        vec![one(TcEgress, 0, from), one(TcIngress, 1, to), one(Deliver, 2, to)]
    }

    fn verdict(segments: &[(bool, &str, u16)]) -> Verdict {
        let mut story = Story::new();
        for (n, (from_client, flags, window)) in (1..).zip(segments) {
            for mut hop in segment(n, *from_client, flags, *window) {
                story.observe(&mut hop);
            }
        }
        story.finish(20_000_000_000).1.remove(0)
    }

    #[test]
    fn a_receiver_that_does_not_read_is_named() {
        let v = verdict(&[(true, "A", 60), (false, "A", 9), (true, "PA", 60), (false, "A", 0)]);
        assert_eq!(v.outcome, Outcome::Delivered);
        assert!(v.text.contains("10.0.0.2:80 lets nothing more come"), "{}", v.text);
        assert_eq!(v.next, ["ip netns exec server ss -tinmp 'sport = :80'"]);
        let v = verdict(&[(true, "A", 60), (false, "PA", 9), (true, "A", 0), (false, "A", 9)]);
        assert!(v.text.contains("10.0.0.1:4000 lets nothing more come"), "{}", v.text);
    }

    #[test]
    fn a_window_that_opens_again_is_no_matter() {
        for after in [("A", 1), ("RA", 0), ("R", 0)] {
            let (flags, window) = after;
            let v = verdict(&[(true, "PA", 60), (false, "A", 0), (false, flags, window)]);
            assert!(!v.text.contains("lets nothing more come"), "{flags}: {}", v.text);
            assert_eq!(v.next, [""; 0], "{flags}");
        }
    }
}
