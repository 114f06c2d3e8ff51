#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	lh_service lh-router
	[ "$1" = healthy ] || lh_untracked lh-router "tcp sport 8443"
}

lh_topology "$@"
