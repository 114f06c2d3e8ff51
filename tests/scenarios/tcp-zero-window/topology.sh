#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	stuck=
	[ "$1" = healthy ] || stuck=--never-accept
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444" $stuck
}

lh_topology "$@"
