#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	ip netns exec lh-client nft -f - <<-RULES
		table inet service {
			chain output {
				type nat hook output priority -100; policy accept;
				$NFT_IP daddr $SERVICE tcp dport 443 dnat $NFT_IP to $SERVER_AT:8443
			}
		}
	RULES
	[ "$1" = healthy ] || lh_untracked lh-client "tcp sport 8443"
}

lh_topology "$@"
