//! Why a packet was not sent on, where more is known than that it was not.

use std::net::IpAddr;

use crate::reconstruct::asked::is_tunnel;
use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::Routing;
use crate::verdict::netfilter::Explained;
use crate::verdict::{next, words};

/// Why, if the kernel's reason or what the namespace said of the destination can tell.
pub fn explain(flow: &Flow, loss: &Loss) -> Option<Explained> {
    let at = &*loss.at;
    not_its_own(flow, at).or_else(|| no_way_to_far_end(flow, at))
}

fn answer<'a>(flow: &'a Flow, at: &Sight) -> Option<&'a Routing> {
    let (netns, dev, dst) = (at.site.netns.as_ref()?.inode, at.site.dev.as_deref()?, at.tuple?.dst);
    let own = |a: &&Routing| a.netns.inode == netns && a.dev == dev.name && a.dst == dst;
    flow.routing.iter().map(|a| &**a).rfind(own)
}

/// A packet for another host, where nothing is forwarded: `ip_error` (`net/ipv4/route.c`; it gives
/// this reason only where forwarding is off on the device) and `ip6_forward`.
fn not_its_own(flow: &Flow, at: &Sight) -> Option<Explained> {
    let answer = answer(flow, at);
    let told = match (at.symbol()?, at.raw_reason()) {
        ("ip_error" | "ip6_forward", Some("IP_INADDRERRORS")) => true,
        ("ip_error", None) => answer.is_some_and(|a| a.forwarding == Some(false)),
        _ => false,
    };
    let tuple = at.tuple.filter(|_| told)?;
    let spot = next::Spot::new(at, None);
    let (dst, switch) = (tuple.dst, spot.forwarding());
    let off = format!("forwarding is off ({switch} = 0)");
    let on = answer.and_then(|a| a.forwarding) == Some(true);
    let device = at.site.dev.as_ref().map(|dev| dev.name.as_str());
    let lead = answer.and_then(|a| a.out.as_deref()).filter(|out| Some(*out) != device);
    let holder = answer.and_then(|a| Some((a.holder.as_deref()?, a.state.as_deref())));
    let addresses = spot.iproute("ip", if dst.is_ipv6() { "-6 addr" } else { "addr" });
    let sysctl = spot.run(&format!("sysctl {switch}"));
    let (words, next) = match (holder, lead) {
        (Some((dev, Some(state))), _) => {
            let dev = words::safe(dev);
            (format!("{dst} is on {dev} here, but {}", unusable(state)), vec![addresses, sysctl])
        }
        (Some((dev, None)), _) => (
            format!(
                "{dst} was no address of this host and {off}; right after, {} had it",
                words::safe(dev)
            ),
            vec![addresses, sysctl],
        ),
        (None, _) if on && stays_on_link(tuple.src) => (
            format!("its source, {}, is no address with which it may be forwarded", tuple.src),
            vec![addresses],
        ),
        (None, _) if on => (
            format!(
                "{dst} is no address of this host, and forwarding was off; right after, it was on"
            ),
            vec![sysctl, addresses],
        ),
        (None, Some(out)) => (
            format!(
                "{off}, and {dst} is no address of this host: the way there leads on, out of {}",
                words::safe(out)
            ),
            vec![sysctl, spot.way_on(), addresses],
        ),
        (None, None) => (
            format!("{dst} is no address of this host, and {off}: nobody here takes it"),
            vec![addresses, sysctl],
        ),
    };
    Some(Explained { words, next })
}

/// The states of an IPv6 address in which the host does not use it (RFC 4862, 5.4).
fn unusable(state: &str) -> &'static str {
    match state {
        "dadfailed" => {
            "duplicate address detection found another host that has it (dadfailed), so this one \
             does not use it"
        }
        _ => "duplicate address detection is not through with it (tentative)",
    }
}

/// Sources of which `ip6_forward` sends nothing on.
fn stays_on_link(src: IpAddr) -> bool {
    match src {
        IpAddr::V4(_) => false,
        IpAddr::V6(src) => {
            src.is_unspecified()
                || src.is_loopback()
                || src.is_multicast()
                || src.is_unicast_link_local()
        }
    }
}

/// A tunnel has a packet of its own to send, for whose destination there is no route.
fn no_way_to_far_end(flow: &Flow, at: &Sight) -> Option<Explained> {
    let dev = at.site.dev.as_deref()?;
    let kind = dev.kind.as_deref().filter(|kind| is_tunnel(kind))?;
    if at.raw_reason() != Some("IP_OUTNOROUTES") || at.tunnel.is_some() {
        return None;
    }
    let end = answer(flow, at).and_then(|a| a.far_end);
    let spot = next::Spot::new(at, None);
    let name = words::shell(&dev.name);
    let mut next: Vec<_> =
        end.iter().map(|end| spot.iproute("ip", &format!("route get {end}"))).collect();
    if kind == "vxlan" {
        next.push(spot.iproute("bridge", &format!("fdb show dev {name}")));
    }
    next.push(spot.iproute("ip", &format!("-d link show dev {name}")));
    let end = end.map(|end| format!(", {end}")).unwrap_or_default();
    let kind = words::safe(kind);
    Some(Explained { words: format!("no route to the far end of the {kind} tunnel{end}"), next })
}

#[cfg(test)]
mod tests;
