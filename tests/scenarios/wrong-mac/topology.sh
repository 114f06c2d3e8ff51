#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_switched
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	lh_neigh lh-server eth0 "$CLIENT" $CLIENT_MAC
	if [ "$1" = faulty ]; then
		# What a stale neighbour entry does after the server's card was replaced.
		lh_neigh lh-client eth0 "$SERVER" 02:00:00:00:00:99
	else
		lh_neigh lh-client eth0 "$SERVER" $SERVER_MAC
	fi
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
}

lh_topology "$@"
