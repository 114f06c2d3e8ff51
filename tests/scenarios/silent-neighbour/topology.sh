#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	if [ "$1" = faulty ]; then
		# The server is there and does not answer for its address.
		ip -n lh-router neigh del "$SERVER" dev eth-s
		ip -n lh-server link set eth0 arp off
		ip -n lh-server link set eth0 multicast off
	fi
}

lh_topology "$@"
