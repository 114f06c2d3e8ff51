#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	ip -n lh-router link set eth-s mtu 1400
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	[ "$1" = healthy ] && return
	lh_chain lh-router firewall filter output filter "$TOO_BIG drop"
}

lh_topology "$@"
