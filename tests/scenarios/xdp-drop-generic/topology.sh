#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	[ "$1" = healthy ] || lh_hold xdp.log lh-server bpf --dev eth0 --at xdp-generic
}

lh_topology "$@"
