#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
	lh_twin "$1"
}

lh_topology "$@"
