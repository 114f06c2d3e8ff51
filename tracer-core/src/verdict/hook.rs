//! In which of netfilter's hooks a packet was, by the functions that call them.

use crate::reconstruct::sight::Cause;

/// A place in the network stack where netfilter's hooks are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as nft names its hooks")]
pub enum HookPoint {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

/// Whose hook it is: what the rules there look at, and which families of rules there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// A device's own, before and behind all protocols (`NFPROTO_NETDEV`).
    Device,
    /// A bridge's (`NFPROTO_BRIDGE`).
    Bridge,
    /// IP's, called for what a bridge carries (`net/bridge/br_netfilter_hooks.c`).
    Bridged,
    /// ARP's (`NFPROTO_ARP`).
    Arp,
    /// IP's.
    Ip,
}

impl HookPoint {
    /// As nft calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Egress => "egress",
        }
    }
}

/// One of netfilter's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hook {
    /// Where on the packet's way.
    pub point: HookPoint,
    /// Of what.
    pub layer: Layer,
}

impl Hook {
    /// Which hook was being run, by the function that called it: the innermost that calls any.
    /// `net/core/dev.c`, `net/bridge/`, `net/ipv4/ip_input.c`, `ip_forward.c`, `ip_output.c` and
    /// their IPv6 twins, `net/ipv4/arp.c`.
    pub fn of(cause: &Cause) -> Option<Self> {
        let mut symbols = cause.symbols().map(|s| s.split('.').next().unwrap_or(s));
        let found = symbols.by_ref().find_map(called_by)?;
        let is_own = |name: &&str| matches!(*name, "br_dev_xmit" | "br_handle_frame_finish");
        match found {
            // One function sends on what came in by a port and what the host itself sends.
            Self { point: HookPoint::Forward, layer: Layer::Bridge }
                if symbols.find(is_own) == Some("br_dev_xmit") =>
            {
                Some(Self { point: HookPoint::Output, ..found })
            }
            _ => Some(found),
        }
    }

    /// As nft calls it, and whose it is where that is not IP's: `bridge forward`.
    pub fn name(self) -> String {
        let point = self.point.name();
        match self.layer {
            Layer::Bridge => format!("bridge {point}"),
            Layer::Arp => format!("arp {point}"),
            Layer::Device | Layer::Bridged | Layer::Ip => point.to_owned(),
        }
    }
}

fn called_by(symbol: &str) -> Option<Hook> {
    use HookPoint::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
    let (point, layer) = match symbol {
        "__netif_receive_skb_core" => (Ingress, Layer::Device),
        "__dev_queue_xmit" => (Egress, Layer::Device),
        "br_handle_frame" | "br_nf_hook_thresh" => (Prerouting, Layer::Bridge),
        "br_pass_frame_up" => (Input, Layer::Bridge),
        "__br_forward" | "br_nf_forward_finish" => (Forward, Layer::Bridge),
        "br_forward_finish" => (Postrouting, Layer::Bridge),
        "br_nf_pre_routing" | "br_nf_pre_routing_ipv6" => (Prerouting, Layer::Bridged),
        "br_nf_forward" | "br_nf_forward_ip" => (Forward, Layer::Bridged),
        "br_nf_post_routing" => (Postrouting, Layer::Bridged),
        "br_nf_forward_arp" => (Forward, Layer::Arp),
        "arp_rcv" => (Input, Layer::Arp),
        "arp_xmit" => (Output, Layer::Arp),
        "ip_rcv" | "ipv6_rcv" | "ip_sublist_rcv" | "ip_list_rcv" | "ip6_sublist_rcv"
        | "ipv6_list_rcv" | "ip6_rcv_core" => (Prerouting, Layer::Ip),
        "ip_local_deliver" | "ip6_input" => (Input, Layer::Ip),
        "ip_forward" | "ip6_forward" => (Forward, Layer::Ip),
        "__ip_local_out" | "ip_local_out" | "__ip6_local_out" | "ip6_local_out" | "ip6_xmit"
        | "rawv6_send_hdrinc" | "raw_send_hdrinc" | "ndisc_send_skb" | "mld_sendpack" => {
            (Output, Layer::Ip)
        }
        "ip_output" | "ip_mc_output" | "ip6_output" | "ip6_finish_output" => {
            (Postrouting, Layer::Ip)
        }
        _ => return None,
    };
    Some(Hook { point, layer })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Stacks as Linux 6.18 shows them, cut after eight.
    #[test]
    fn the_innermost_function_that_calls_a_hook_tells_which() {
        for (stack, point, layer) in [
            (
                "nft_do_chain nft_do_chain_netdev nf_hook_slow __dev_queue_xmit ip_finish_output2 \
                 ip_output __netif_receive_skb_one_core process_backlog",
                HookPoint::Egress,
                Layer::Device,
            ),
            (
                "nft_do_chain nft_do_chain_bridge nf_hook_slow __br_forward br_handle_frame_finish \
                 br_nf_hook_thresh br_nf_pre_routing_finish br_nf_pre_routing",
                HookPoint::Forward,
                Layer::Bridge,
            ),
            (
                "nft_do_chain nft_do_chain_bridge nf_hook_slow __br_forward br_dev_xmit",
                HookPoint::Output,
                Layer::Bridge,
            ),
            (
                "nft_do_chain nft_do_chain_ipv4 nf_hook_slow br_nf_forward_ip nf_hook_slow \
                 __br_forward br_handle_frame_finish br_nf_hook_thresh",
                HookPoint::Forward,
                Layer::Bridged,
            ),
            (
                "nft_do_chain nft_do_chain_ipv4 nf_hook_slow ip_local_deliver \
                 __netif_receive_skb_one_core process_backlog",
                HookPoint::Input,
                Layer::Ip,
            ),
            ("nft_do_chain nft_do_chain_arp nf_hook_slow arp_rcv", HookPoint::Input, Layer::Arp),
            ("nf_hook_slow ip_output.isra.0", HookPoint::Postrouting, Layer::Ip),
        ] {
            let frames = stack.split_whitespace().map(|f| format!("{f}+0x10"));
            let stack: Arc<[String]> = frames.collect();
            let cause = Cause { stack: Some(stack), ..Cause::default() };
            assert_eq!(Hook::of(&cause), Some(Hook { point, layer }), "{cause:?}");
        }
        assert_eq!(Hook::of(&Cause::default()), None);
    }
}
