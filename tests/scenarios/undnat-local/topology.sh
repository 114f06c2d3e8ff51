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
	[ "$1" = healthy ] || ip netns exec lh-client nft -f - <<-RULES
		table inet untracked {
			chain prerouting {
				type filter hook prerouting priority raw; policy accept;
				tcp sport 8443 notrack
			}
		}
	RULES
}

lh_topology "$@"
