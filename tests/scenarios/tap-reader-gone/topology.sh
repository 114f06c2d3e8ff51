#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_netns lh-host
	if [ "$1" = faulty ]; then
		lh_peer lh-host tap --name tap0 --guest gone
	else
		lh_hold guest.log lh-host tap --name tap0 --guest reads
	fi
	ip -n lh-host link set tap0 address $CLIENT_MAC up
	lh_addr lh-host tap0 "$CLIENT"
	lh_neigh lh-host tap0 "$SERVER" $SERVER_MAC
}

lh_topology "$@"
