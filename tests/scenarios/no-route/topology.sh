#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	ip -n lh-server addr add "$BEYOND/$HOST_LENGTH" dev lo
	lh_hold listener.log lh-server udp-listen --on "$BEYOND_AT:4444"
	[ "$1" = faulty ] || ip -n lh-router route add "$BEYOND/$HOST_LENGTH" via "$SERVER"
}

lh_topology "$@"
