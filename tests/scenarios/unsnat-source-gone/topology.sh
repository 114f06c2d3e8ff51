#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443" --delay-ms 1000
	lh_chain lh-router outward nat postrouting srcnat 'oifname "eth-s" masquerade'
	lh_twin "$1"
}

lh_topology "$@"
