#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	port=4445
	[ "$1" = healthy ] || port=4444
	for rule in "-j MARK --set-mark 7" "-p udp --dport $port -j REJECT" "-p tcp -j REJECT"; do
		ip netns exec lh-router "$IPTABLES" -w -A FORWARD $rule ||
			lh_skip "this kernel has no $IPTABLES"
	done
}

lh_topology "$@"
