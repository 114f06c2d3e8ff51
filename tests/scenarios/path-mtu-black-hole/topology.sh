#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	ip -n lh-router link set eth-s mtu 1400
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	[ "$1" = healthy ] && return
	ip netns exec lh-router nft -f - <<-RULES
		table inet firewall {
			chain output {
				type filter hook output priority filter; policy accept;
				$TOO_BIG drop
			}
		}
	RULES
}

lh_topology "$@"
