#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
	port=4445
	[ "$1" = healthy ] || port=4444
	lh_chain lh-router firewall filter forward filter "tcp dport $port counter drop"
}

lh_topology "$@"
