#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	if [ "$1" = faulty ]; then
		lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444" --never-read --rcvbuf 4096
	else
		lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444" --never-read
	fi
}

lh_topology "$@"
