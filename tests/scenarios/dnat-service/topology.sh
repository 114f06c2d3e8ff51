#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	ip netns exec lh-router nft -f - <<-RULES
		table inet service {
			chain prerouting {
				type nat hook prerouting priority dstnat; policy accept;
				$NFT_IP daddr $SERVICE tcp dport 443 dnat $NFT_IP to $SERVER_AT:8443
			}
		}
	RULES
}

lh_topology "$@"
