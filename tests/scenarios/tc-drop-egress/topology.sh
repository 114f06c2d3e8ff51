#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_pair
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	answer=drop
	[ "$1" = faulty ] || answer=accept
	lh_hold tc.log lh-client bpf --dev eth0 --at tc-egress --answer $answer ||
		lh_skip "this kernel has no tcx (Linux 6.6)"
}

lh_topology "$@"
