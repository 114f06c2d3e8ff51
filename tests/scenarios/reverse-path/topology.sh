#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	# The client also owns an address that the router, in the faulty twin, would send elsewhere.
	ip -n lh-client addr add "$STRAY/32" dev lo
	if [ "$1" = faulty ]; then
		ip -n lh-router route add "$STRAY/32" via "$SERVER" dev eth-s
	else
		ip -n lh-router route add "$STRAY/32" via "$CLIENT" dev eth-c
	fi
	lh_set lh-router net/ipv4/conf/eth-c/rp_filter 1
}

lh_topology "$@"
