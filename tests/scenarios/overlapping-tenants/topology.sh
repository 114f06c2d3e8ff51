#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# client - server is one network, host - switch the other.
build() {
	lh_pair
	lh_netns lh-host lh-switch
	lh_veth lh-host eth0 $CLIENT_MAC lh-switch eth0 $SERVER_MAC
	lh_addr lh-host eth0 "$CLIENT"
	lh_addr lh-switch eth0 "$SERVER"
	lh_neigh lh-host eth0 "$SERVER" $SERVER_MAC
	lh_neigh lh-switch eth0 "$CLIENT" $CLIENT_MAC
	lh_hold one.log lh-server udp-listen --on "$SERVER_AT:4444" --echo
	lh_hold other.log lh-switch udp-listen --on "$SERVER_AT:4444" --echo
	[ "$1" = healthy ] || lh_refuse lh-switch "udp dport 4444"
}

lh_topology "$@"
