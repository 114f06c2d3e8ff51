#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_no_invalid lh-router
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
	lh_twin "$1"
}

lh_topology "$@"
