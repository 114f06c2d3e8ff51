#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	[ "$1" = healthy ] && return
	lh_chain lh-client firewall filter input 0 "$REFUSE"
}

lh_topology "$@"
