#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_vxlan lh-client eth0 "$CLIENT" "$SERVER" 42 "$INNER_CLIENT" 02:00:00:00:02:01
	lh_vxlan lh-server eth0 "$SERVER" "$CLIENT" 42 "$INNER_SERVER" 02:00:00:00:02:02
	lh_neigh lh-client vxlan0 "$INNER_SERVER" 02:00:00:00:02:02
	lh_neigh lh-server vxlan0 "$INNER_CLIENT" 02:00:00:00:02:01
	lh_hold listener.log lh-server udp-listen --on "$INNER_SERVER_AT:4444"
	# What the tunnel carries must not be taken for what the hook sees.
	port=4444
	[ "$1" = healthy ] || port=4789
	ip netns exec lh-server nft -f - <<-RULES
		table inet underlay {
			chain input {
				type filter hook input priority filter; policy accept;
				iifname eth0 udp dport 4444 counter drop
				iifname eth0 udp dport $port counter drop
			}
		}
	RULES
}

lh_topology "$@"
