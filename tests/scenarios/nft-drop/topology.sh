#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
	port=4445
	[ "$1" = healthy ] || port=4444
	ip netns exec lh-router nft -f - <<-RULES
		table inet firewall {
			chain forward {
				type filter hook forward priority filter; policy accept;
				tcp dport $port counter drop
			}
		}
	RULES
}

lh_topology "$@"
