#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444" --count 3
	[ "$1" = healthy ] || ip -n lh-router link set eth-s mtu 1300
}

lh_topology "$@"
