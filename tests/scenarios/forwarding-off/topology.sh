#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	[ "$1" = faulty ] || return 0
	lh_set lh-router net/ipv4/ip_forward 0
	lh_set lh-router net/ipv6/conf/all/forwarding 0
}

lh_topology "$@"
