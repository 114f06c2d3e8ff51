#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	ip netns exec lh-router nft -f - <<-RULES || lh_skip "this kernel has no synproxy (CONFIG_NFT_SYNPROXY)"
		table inet proxy {
			chain prerouting {
				type filter hook prerouting priority raw; policy accept;
				iifname eth-c tcp dport 8443 tcp flags syn notrack
			}
			chain forward {
				type filter hook forward priority filter; policy accept;
				tcp dport 8443 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
				ct state invalid drop
			}
		}
	RULES
	lh_set lh-router net/netfilter/nf_conntrack_tcp_loose 0
	[ "$1" = healthy ] || lh_refuse lh-server "tcp dport 8443"
}

lh_topology "$@"
