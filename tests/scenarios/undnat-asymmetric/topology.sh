#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_veth lh-client eth1 02:00:00:00:00:05 lh-server eth1 02:00:00:00:00:06
	lh_neigh lh-server eth1 "$CLIENT" 02:00:00:00:00:05
	[ "$1" = healthy ] || ip -n lh-server route add "$CLIENT" dev eth1
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	lh_service lh-router
}

lh_topology "$@"
