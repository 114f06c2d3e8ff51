#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444" --echo
}

lh_topology "$@"
