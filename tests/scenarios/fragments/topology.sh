#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:5000"
	[ "$1" = healthy ] && return
	# Before conntrack would put fragments together.
	lh_chain lh-router firewall filter prerouting -450 "$LATER drop"
}

lh_topology "$@"
