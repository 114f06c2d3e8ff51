#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443" --delay-ms 1000
	ip netns exec lh-router nft -f - <<-RULES
		table inet outward {
			chain postrouting {
				type nat hook postrouting priority srcnat; policy accept;
				oifname "eth-s" masquerade
			}
		}
	RULES
	lh_twin "$1"
}

lh_topology "$@"
