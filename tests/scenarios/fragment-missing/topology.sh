#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	lh_set lh-server "$PATIENCE" 1
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:5000"
	echo "$1" >"$LH_DIR/twin"
}

lh_topology "$@"
