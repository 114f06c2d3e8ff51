#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:5000"
	[ "$1" = healthy ] && return
	# Before conntrack would put fragments together.
	ip netns exec lh-router nft -f - <<-RULES
		table inet firewall {
			chain prerouting {
				type filter hook prerouting priority -450; policy accept;
				$LATER drop
			}
		}
	RULES
}

lh_topology "$@"
