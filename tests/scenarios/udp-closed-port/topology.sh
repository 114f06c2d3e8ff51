#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	[ "$1" = faulty ] || lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
}

lh_topology "$@"
