#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	if [ "$1" = healthy ]; then
		lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
		return
	fi
	# One connection fills a queue that is 0 long; its client goes away and leaves it there.
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444" --backlog 0 --never-accept
	lh_peer lh-client --limit 1 tcp-connect --from "$CLIENT_AT:3999" --to "$SERVER_AT:4444" || true
}

lh_topology "$@"
