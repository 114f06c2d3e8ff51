#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_addr lh-server lo "$BEYOND" "$HOST_LENGTH"
	lh_hold listener.log lh-server udp-listen --on "$BEYOND_AT:4444"
	[ "$1" = faulty ] || ip -n lh-router route add "$BEYOND/$HOST_LENGTH" via "$SERVER"
}

lh_topology "$@"
