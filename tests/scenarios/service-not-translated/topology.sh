#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443" --count 2
	lh_service lh-router
	[ "$1" = healthy ] || ip netns exec lh-router nft -f - <<-RULES
		table inet untracked {
			chain prerouting {
				type filter hook prerouting priority raw; policy accept;
				tcp sport 4000 notrack
			}
		}
	RULES
}

lh_topology "$@"
