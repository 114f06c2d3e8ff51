#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	if [ "$1" = faulty ]; then
		# The gateway is there and does not answer for its address.
		ip -n lh-client neigh del "$ROUTER_C" dev eth0
		ip -n lh-router link set eth-c arp off
		ip -n lh-router link set eth-c multicast off
	fi
}

lh_topology "$@"
