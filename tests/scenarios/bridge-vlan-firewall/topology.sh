#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_vlan_trunk
	vid=10
	[ "$1" = healthy ] || vid=20
	ip netns exec lh-switch nft -f - <<-RULES
		table bridge trunk {
			chain forward {
				type filter hook forward priority filter; policy accept;
				vlan id $vid counter drop
			}
		}
	RULES
}

lh_topology "$@"
