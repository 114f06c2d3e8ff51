#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444" --echo
	[ "$1" = healthy ] || lh_refuse lh-client "udp sport 4444"
}

lh_topology "$@"
