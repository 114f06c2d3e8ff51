#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_netns lh-host
	guest=reads
	[ "$1" = healthy ] || guest=slow
	lh_hold guest.log lh-host tap --name tap0 --guest $guest
	# The tap's ring holds as many frames as its transmit queue is long.
	ip -n lh-host link set tap0 address $CLIENT_MAC txqueuelen 64 up
	lh_addr lh-host tap0 "$CLIENT"
	lh_neigh lh-host tap0 "$SERVER" $SERVER_MAC
}

lh_topology "$@"
