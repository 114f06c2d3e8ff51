#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	# A TTL (or hop limit) that does not survive the router, as of a loop that has used it up.
	[ "$1" = healthy ] || lh_chain lh-client worn filter output mangle "udp dport 4444 $TTL_FIELD set 1"
}

lh_topology "$@"
