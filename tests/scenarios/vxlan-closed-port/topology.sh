#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_vxlan lh-client eth0 "$CLIENT" "$SERVER" 42 "$INNER_CLIENT" 02:00:00:00:02:01
	lh_vxlan lh-server eth0 "$SERVER" "$CLIENT" 42 "$INNER_SERVER" 02:00:00:00:02:02
	lh_neigh lh-client vxlan0 "$INNER_SERVER" 02:00:00:00:02:02
	lh_neigh lh-server vxlan0 "$INNER_CLIENT" 02:00:00:00:02:01
	[ "$1" = faulty ] || lh_hold listener.log lh-server udp-listen --on "$INNER_SERVER_AT:4444"
}

lh_topology "$@"
