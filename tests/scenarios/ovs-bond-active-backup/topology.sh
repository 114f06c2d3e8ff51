#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_uplinks
	lh_ovs_bond active-backup
	lh_acquainted
	# Before anything breaks all know where all are.
	[ "$1" = healthy ] || ip -n lh-switch link set port1 nomaster
}

lh_topology "$@"
